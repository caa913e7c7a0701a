//! `config.toml` of a run's directory: the settings that `--resume` goes on with.

use std::path::Path;

use super::continues;
use crate::checksum::{self, BLANK, Seal};
use crate::error::{Error, Result};
use crate::files::{read_text, write_atomic};

/// The file's name.
pub const NAME: &str = "config.toml";
/// What shows that a run was there, whose settings are lost.
const CHECKPOINTS: &str = "checkpoints";
/// A settings file is some kilobytes.
pub const MAX_BYTES: u64 = 1 << 18;
/// What stands before the checksum, in the first line: a file that is cut short has lost its end.
const MARK: &str = "# checksum ";

/// Settings that a run wrote into its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The file's text.
    pub text: String,
    /// Whether it has a checksum, by which it was found to be as the run wrote it. Earlier versions gave it none.
    pub checked: bool,
}

/// Writes the settings of the run in `directory`, under a line with their checksum. Errors on output.
pub fn store(directory: &Path, document: &str) -> Result<()> {
    let line = "this file is good for --config, changed or not; --resume wants it as it is (--set changes what has no part in the result)";
    let mut bytes = format!("{MARK}{BLANK}: {line}\n{document}").into_bytes();
    checksum::seal(&mut bytes, MARK);
    write_atomic(directory.join(NAME), &bytes)
}

/// Errors if the run in `directory`, which these settings are to go on with, was started with others or by another
/// method, apart from what may differ (`free`, what always may, and `branches`). Where there is no run yet there is no
/// error.
pub fn check_same(
    directory: &Path,
    document: &str,
    free: &[impl AsRef<str>],
    branches: &[impl AsRef<str>],
) -> Result<()> {
    if !directory.join(NAME).exists() {
        return Ok(());
    }
    let there = stored(directory)?;
    let named = |e| Error::Config(format!("{}: {e}", directory.display()));
    continues(document, &there.text, free, branches).map(|_| ()).map_err(named)
}

/// The settings of the run in `directory`.
///
/// Errors if there are none, on input, and on a file that is not as the run wrote it.
pub fn stored(directory: &Path) -> Result<Stored> {
    let path = directory.join(NAME);
    if !path.exists() {
        let shown = directory.display();
        return Err(Error::Config(match directory.join(CHECKPOINTS).is_dir() {
            true => format!(
                "{shown}: {NAME} is missing, without which the run there cannot go on; put it back, or give the same \
                 settings by --config FILE"
            ),
            false => format!("{shown}: there is no run of veridical to resume"),
        }));
    }
    let text = read_text(&path, MAX_BYTES, "settings file")?;
    let first = text.lines().next().unwrap_or_default();
    match checksum::check(text.as_bytes(), MARK, first.len()) {
        Seal::Sound => Ok(Stored { text, checked: true }),
        Seal::Broken { .. } => Err(Error::format(
            &path,
            "not as the run wrote it: torn or changed. To go on with other settings, leave the file as it was and give \
             them by --set; if a change is meant to stay, remove the first line, which holds the checksum",
        )),
        // A first line that is cut short: nothing but a comment is left.
        Seal::None if text.parse::<toml::Table>().is_ok_and(|table| table.is_empty()) => {
            Err(Error::format(&path, "holds no settings: cut short; start the run again with --overwrite"))
        }
        Seal::None => Ok(Stored { text, checked: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_changed_or_shortened_file_is_refused_and_an_old_one_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert!(stored(folder.path()).unwrap_err().to_string().contains("no run of veridical to resume"));
        fs::create_dir(folder.path().join(CHECKPOINTS)).unwrap();
        assert!(stored(folder.path()).unwrap_err().to_string().contains("config.toml is missing"));
        let document = "[train]\nimages = 480\n# checksum 00000000\n";
        store(folder.path(), document).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let taken = stored(folder.path()).unwrap();
        assert!(taken.checked && taken.text == whole && whole.ends_with(document), "{whole}");
        // It still is the file of settings that it was.
        assert_eq!(whole.parse::<toml::Table>().unwrap(), document.parse::<toml::Table>().unwrap());
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(stored(folder.path()).is_err(), "cut at {cut}");
        }
        fs::write(&path, whole.replace("480", "980")).unwrap();
        assert!(stored(folder.path()).unwrap_err().to_string().contains("not as the run wrote it"));
        fs::write(&path, document).unwrap();
        assert_eq!(stored(folder.path()).unwrap(), Stored { text: document.into(), checked: false });
    }
}
