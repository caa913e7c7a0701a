//! Which files a multi-label set consists of.

use std::path::{Path, PathBuf};

use crate::data::entries::{Kind, entries};
use crate::escape::escaped;
use crate::{Error, Result};

/// The files of a set.
#[derive(Debug, PartialEq, Eq)]
pub struct Files {
    pub train: PathBuf,
    /// `None`: the one file is split.
    pub test: Option<PathBuf>,
}

/// The part of a file's name before `.arff`, also of `.arff.gz`; `None` for other files.
pub fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_suffix(".gz").unwrap_or(&lower);
    // ASCII letters keep their places when they become small.
    plain.strip_suffix(".arff").map(|stem| name[..stem.len()].to_string())
}

/// The name with `test` where the last `train` stands, whatever its case; `None` where there is none.
fn other_part(name: &str, from: &str, to: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let at = lower.rfind(from)?;
    let found = &name[at..at + from.len()];
    let to = match found {
        upper if upper.bytes().all(|byte| byte.is_ascii_uppercase()) => to.to_ascii_uppercase(),
        title if title.starts_with(|c: char| c.is_ascii_uppercase()) => to[..1].to_ascii_uppercase() + &to[1..],
        _ => to.to_string(),
    };
    Some(format!("{}{to}{}", &name[..at], &name[at + from.len()..]))
}

/// The file of the other part beside this one, packed or not whatever this one is.
fn beside(path: &Path, from: &str, to: &str) -> Option<PathBuf> {
    let name = other_part(&path.file_name()?.to_string_lossy(), from, to)?;
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    [name.clone(), plain.to_string(), format!("{plain}.gz")]
        .map(|name| path.with_file_name(name))
        .into_iter()
        .find(|path| path.exists() && !path.is_dir())
}

/// The files of a set that is given by a folder or by a file.
pub fn find(given: &Path) -> Result<Files> {
    if !given.is_dir() {
        if beside(given, "train", "test").is_none()
            && let Some(train) = beside(given, "test", "train")
        {
            let what = format!("the rows to test with; give {} or the folder", escaped(&train));
            return Err(Error::format(given, what));
        }
        return Ok(Files { train: given.into(), test: beside(given, "train", "test") });
    }
    let listed = list(given, |path| stem(path).is_some())?;
    let pairs: Vec<Files> = listed
        .iter()
        .filter_map(|path| Some(Files { train: path.clone(), test: Some(beside(path, "train", "test")?) }))
        .collect();
    let candidates = match (pairs.len(), listed.len()) {
        (1, _) => return pairs.into_iter().next().ok_or_else(|| Error::format(given, "no set")),
        (0, 1) => return Ok(Files { train: listed[0].clone(), test: None }),
        (0, 0) => return Err(Error::format(given, "no .arff file in this folder (nor .arff.gz)")),
        (0, _) => listed,
        _ => pairs.into_iter().map(|files| files.train).collect(),
    };
    let what =
        format!("more than one set in this folder; give the file of the one that is meant: {}", few(&candidates));
    Err(Error::format(given, what))
}

/// The files in a folder for which `is` holds.
pub fn list(folder: &Path, is: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let found = entries(folder)?.into_iter();
    Ok(found.filter(|(path, kind)| *kind != Kind::Folder && is(path)).map(|(path, _)| path).collect())
}

/// The list of labels of `arff`, and a word on why that one where its name does not say so: of the XML files beside it
/// that whose name it begins with, the longest; else the only one.
pub fn labels_beside(arff: &Path) -> Result<Option<(PathBuf, Option<String>)>> {
    let folder = arff.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let xml = |path: &Path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("xml"));
    let found = list(folder, xml)?;
    let own = stem(arff).unwrap_or_default().to_lowercase();
    let begins = |path: &&PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        own.strip_prefix(&name).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    if let Some(path) = found.iter().filter(begins).max_by_key(|path| path.as_os_str().len()) {
        return Ok(Some((path.clone(), None)));
    }
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some((only.clone(), Some("the only XML file beside the rows".into())))),
        many => {
            let what = format!(
                "none of the XML files beside it has its name ({}); give the right one that name, or leave only it there",
                few(many)
            );
            Err(Error::format(arff, what))
        }
    }
}

/// The names of the first of some files.
pub fn few(paths: &[PathBuf]) -> String {
    let shown = paths.iter().take(4).map(|path| escaped(path.file_name().unwrap_or_default()).to_string());
    shown.collect::<Vec<_>>().join(", ") + if paths.len() > 4 { ", …" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        for (name, expected) in [
            ("scene-train.arff", Some("scene-test.arff")),
            ("Corel5k-train-sparse.arff.gz", Some("Corel5k-test-sparse.arff.gz")),
            ("training/Train.arff", Some("training/Test.arff")),
            ("trains-TRAIN.arff", Some("trains-TEST.arff")),
            ("scene.arff", None),
        ] {
            assert_eq!(other_part(name, "train", "test").as_deref(), expected);
        }
        for (name, expected) in [("a.arff", Some("a")), ("a.b.ARFF.gz", Some("a.b")), ("arff", None), ("a.gz", None)] {
            assert_eq!(stem(Path::new(name)).as_deref(), expected);
        }
    }
}
