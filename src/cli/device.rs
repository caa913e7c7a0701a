//! `--device`.

/// A device's name, as clap checks it; whether there is such a device is found out when it is opened.
pub fn name(name: &str) -> Result<String, String> {
    let numbered = name.strip_prefix("cuda:").is_some_and(|ordinal| ordinal.parse::<u16>().is_ok());
    if numbered || ["cpu", "cuda", "emulator", "best"].contains(&name) {
        return Ok(name.into());
    }
    Err(format!("`{name}` is no device; there are cpu, cuda, cuda:N, emulator and best"))
}
