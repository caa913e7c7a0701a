//! IDX files by the names that such sets have: images, their labels beside them, and a part to compare with.

use std::path::{Path, PathBuf};

use super::entries::is_meant;
use super::{DataSet, Images, Reading, idx, labels};
use crate::escape::escaped;
use crate::{Error, Result};

/// The labels' file of images that are given by their own, packed or not whatever those are.
pub fn labels_beside(images: &Path) -> Option<PathBuf> {
    const WORDS: [(&str, &str); 5] =
        [("images", "labels"), ("Images", "Labels"), ("IMAGES", "LABELS"), ("idx3", "idx1"), ("IDX3", "IDX1")];
    let name = images.file_name()?.to_string_lossy();
    let labels = WORDS.iter().fold(name.to_string(), |name, (images, labels)| name.replace(images, labels));
    if labels == name {
        return None;
    }
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
    let other = format!("{plain}.gz");
    [&labels, plain, &other].map(|name| images.with_file_name(name)).into_iter().find(|path| is_meant(path))
}

/// Images and labels of a part, by the names that such files have.
pub fn pair(dir: &Path, parts: &[&str]) -> Option<(PathBuf, Option<PathBuf>)> {
    let find = |part: &str, what: &str, axes: usize| {
        let names = ["-", "."].map(|dot| format!("{part}-{what}{dot}idx{axes}-ubyte"));
        names.iter().flat_map(|name| [dir.join(name), dir.join(format!("{name}.gz"))]).find(|path| is_meant(path))
    };
    parts.iter().find_map(|part| Some((find(part, "images", 3)?, find(part, "labels", 1))))
}

/// A data set of images, with their labels if there are any. Errors where images and labels do not fit each other.
pub fn sets(
    name: &str,
    train: (PathBuf, Option<PathBuf>),
    test: Option<(PathBuf, Option<PathBuf>)>,
) -> Result<DataSet> {
    let read = |(images, labels): &(PathBuf, Option<PathBuf>)| {
        let (pixels, size) = idx::images(images)?;
        let count = pixels.len() / size.iter().product::<usize>();
        let classes = match labels {
            None => vec![0; count],
            Some(path) => {
                let labels = idx::labels(path)?;
                if labels.len() != count {
                    let what = format!("{} labels for the {count} images of {}", labels.len(), escaped(images));
                    return Err(Error::format(path, what));
                }
                labels
            }
        };
        Ok((pixels, classes, size))
    };
    let train_without = train.1.is_none();
    let (pixels, mut labels, size) = read(&train)?;
    let test_files = test.as_ref();
    let mut test = test_files.map(read).transpose()?;
    if let (Some((path, _)), Some((_, _, other))) = (test_files, &test)
        && *other != size
    {
        return Err(Error::format(path, format!("images of {other:?}, but those to train on are {size:?}")));
    }
    let highest = |labels: &[u32]| labels.iter().copied().max().unwrap_or(0) as usize;
    let mut classes = 1 + highest(&labels).max(test.as_ref().map_or(0, |(_, labels, _)| highest(labels)));
    let mut labelled: Vec<&mut Vec<u32>> = Vec::new();
    if train.1.is_some() {
        labelled.push(&mut labels);
    }
    if let (Some((_, Some(_))), Some((_, labels, _))) = (test_files, &mut test) {
        labelled.push(labels);
    }
    let all = labelled.len() == 1 + usize::from(test_files.is_some());
    let (names, shifted) = match all.then(|| labels::from_one(&mut labelled, &mut classes)).flatten() {
        Some((names, word)) => (names, Some(word)),
        None => (Vec::new(), None),
    };
    let (some, test) = (!labelled.is_empty(), test);
    let train = Images::from_bytes(pixels, labels, size, classes)?;
    let test = test.map(|(pixels, labels, size)| Images::from_bytes(pixels, labels, size, classes)).transpose()?;
    let mut reading = Reading::of_bytes("IDX bytes".into(), &train);
    reading.converted.extend(shifted);
    let test_without = test_files.is_some_and(|(_, labels)| labels.is_none());
    reading.without_labels = [train_without, test_without];
    if some && !all {
        reading
            .warnings
            .push("only one of training and test images has labels; the others all count as of class 0".into());
    }
    Ok(DataSet::read(name, train, test, names, reading))
}
