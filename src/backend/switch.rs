//! Environment variables that are on or off.

/// Whether the variable says `on`; `usual` where it says nothing. Any other word is reported on standard error, and
/// passed over.
pub(crate) fn is_on(variable: &str, usual: bool) -> bool {
    let (on, complaint) = read(variable, &std::env::var(variable).unwrap_or_default(), usual);
    if let Some(complaint) = complaint {
        eprintln!("veridical: {complaint}");
    }
    on
}

fn read(variable: &str, word: &str, usual: bool) -> (bool, Option<String>) {
    let using = if usual { "on" } else { "off" };
    match word.trim() {
        "" => (usual, None),
        "on" => (true, None),
        "off" => (false, None),
        _ => (usual, Some(format!("{variable}={word}: expected on or off; using {using}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_what_it_says_or_what_is_usual() {
        for usual in [true, false] {
            assert_eq!(read("X", "", usual), (usual, None));
            assert_eq!(read("X", " on ", usual), (true, None));
            assert_eq!(read("X", "off", usual), (false, None));
        }
        assert_eq!(read("X", "maybe", true), (true, Some("X=maybe: expected on or off; using on".into())));
        assert_eq!(read("X", "1", false), (false, Some("X=1: expected on or off; using off".into())));
    }
}
