//! Whether results can be written, asked before the work that makes them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use veridical::{Error, Result};

/// Errors unless a file can be written under every path that was given; flags by name. Nothing is left behind.
pub fn check<'a>(outputs: impl IntoIterator<Item = (&'a str, Option<&'a PathBuf>)>) -> Result<()> {
    let mut taken: Vec<(&str, &PathBuf)> = Vec::new();
    for (flag, path) in outputs {
        let Some(path) = path else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, known)| *known == path) {
            let what = format!("{other} and {flag} both name {}: give each a file of its own", path.display());
            return Err(Error::Config(what));
        }
        writable(flag, path)?;
        taken.push((flag, path));
    }
    Ok(())
}

/// Errors unless `path`, which `flag` names, can become a file: its folder is there and takes files, and it is not something else.
fn writable(flag: &str, path: &Path) -> Result<()> {
    let refused = |what: String| Err(Error::format(path, format!("{flag}: {what}")));
    let Some(name) = path.file_name() else { return refused("not the name of a file".into()) };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return refused(format!("{} is no folder; make it first", folder.display()));
    }
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => return refused("a directory; give the name of a file".into()),
        Ok(there) if !there.is_file() => return refused("not a regular file, which would be replaced".into()),
        _ => {}
    }
    // Named as `write_atomic` names the file that it writes first.
    let mut trial = std::ffi::OsString::from(".");
    trial.push(name);
    trial.push(format!(".{}.part", std::process::id()));
    let trial = folder.join(trial);
    File::create(&trial).map_err(|e| Error::format(path, format!("{flag}: cannot be written: {e}")))?;
    fs::remove_file(&trial).map_err(|e| Error::io(&trial, e))
}
