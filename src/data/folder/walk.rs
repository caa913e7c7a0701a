//! What lies in folders, and in those below them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::data::entries::{Kind, entries};
use crate::data::picture::{self, Name};
use crate::{Error, Result};

/// Folders within folders beyond this are a mistake.
const MAX_DEPTH: usize = 64;
/// The files of a folder and of those below it, each kind in the order of paths.
#[derive(Debug, Default)]
pub struct Found {
    pub pictures: Vec<PathBuf>,
    /// How many of the pictures lie in folders below.
    pub deeper: usize,
    /// Pictures of forms that are not read.
    pub unread: Vec<PathBuf>,
    /// What is no picture.
    pub others: Vec<PathBuf>,
}

impl Found {
    pub fn add(&mut self, path: PathBuf, kind: Kind) -> Result<()> {
        match picture::by_name(&path) {
            Name::Picture => self.pictures.push(path),
            // A picture under any other name is one all the same.
            _ if kind == Kind::File && picture::is_picture(&path)? => self.pictures.push(path),
            Name::Unread => self.unread.push(path),
            Name::Other => self.others.push(path),
        }
        Ok(())
    }
}

/// Walks a folder. Errors where [`entries`] does, on links that lead round in a circle, and on folders nested without
/// end.
pub fn walk(dir: &Path) -> Result<Found> {
    let mut found = Found::default();
    below(dir, &mut Vec::new(), &mut found)?;
    for kind in [&mut found.pictures, &mut found.unread, &mut found.others] {
        kind.sort();
    }
    Ok(found)
}

/// `above` are the folders that lead here, without links.
fn below(dir: &Path, above: &mut Vec<PathBuf>, found: &mut Found) -> Result<()> {
    let real = fs::canonicalize(dir).map_err(|e| Error::io(dir, e))?;
    if above.contains(&real) {
        return Err(Error::format(dir, "a link to a folder that it lies in; take it away"));
    }
    if above.len() >= MAX_DEPTH {
        return Err(Error::format(
            dir,
            format!("lies {MAX_DEPTH} folders deep; give the path of the pictures themselves"),
        ));
    }
    above.push(real);
    for (path, kind) in entries(dir)? {
        match kind {
            Kind::Folder => below(&path, above, found)?,
            kind => {
                let before = found.pictures.len();
                found.add(path, kind)?;
                if above.len() > 1 {
                    found.deeper += found.pictures.len() - before;
                }
            }
        }
    }
    above.pop();
    Ok(())
}
