//! What lies in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What file managers and archives leave behind; like what is hidden, nobody means it as data.
const LITTER: [&str; 4] = ["Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// A pipe, a device: reading it would say what is wrong.
    Else,
}

/// What a directory holds, sorted by name; hidden things and litter left out. Links are what they lead to.
///
/// Errors if the directory cannot be read, and on links that lead nowhere.
pub fn entries(dir: &Path) -> Result<Vec<(PathBuf, Kind)>> {
    let failed = |e| Error::io(dir, e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") || LITTER.iter().any(|litter| name == *litter) {
            continue;
        }
        let there = fs::metadata(&path).map_err(|e| Error::io(&path, e))?;
        let kind = match () {
            () if there.is_dir() => Kind::Folder,
            () if there.is_file() => Kind::File,
            () => Kind::Else,
        };
        found.push((path, kind));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// Whether there is something to read under this name. A pipe is, so that reading it says what is wrong; a folder is
/// not, for archives are often unpacked into folders of their own names.
pub fn is_meant(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}
