//! Data sets in NumPy's files.

pub(super) mod folder;
mod given;
pub(super) mod on_demand;

use std::path::Path;

pub use given::of_npy;

use super::conversion::Conversion;
use super::labels::MAX_CLASSES;
#[cfg(feature = "formats")]
use super::npy::Archive;
use super::npy::{self, Array, Type};
use super::stored::Row;
use super::{AxisOrder, DataSet, Images, ReadOptions, Reading, Units, labels, source};
use crate::escape::escaped;
use crate::{Error, Result};

/// Names of images and labels to train on, the first that there is; then of those to compare with.
const TRAIN: [&[&str]; 2] = [
    &["images", "x", "x_train", "train_images", "data", "arr_0"],
    &["labels", "y", "y_train", "train_labels", "target", "arr_1"],
];
const TEST: [&[&str]; 2] = [&["x_test", "test_images"], &["y_test", "test_labels"]];
/// The number of classes, which labels alone do not tell.
const CLASSES: &str = "classes";

/// Reads the images (or points) of a `.npy` or `.npz` file.
///
/// | array | read as |
/// |---|---|
/// | `[n, h, w]`, `[n, h, w, c]` | images; `[n, c, h, w]` too, where that can be told |
/// | `[n, l, c]`, `[n, c, l]` | signals, where there are few channels |
/// | `[n, dims]` | points; squares of bytes are images `[n, s, s]`, numbers that resemble their neighbours signals |
///
/// Errors on axes that cannot be told, on labels that do not fit, on values that are not finite, and where all are the
/// same.
pub(super) fn open(path: &Path, name: &str, options: &ReadOptions) -> Result<DataSet> {
    let mut start = [0; 2];
    source::fill(path, &mut source::open(path)?, &mut start, "the header")?;
    if start != *b"PK" {
        return match npy::NpyRows::larger_than(path, options.may_take())? {
            Some(rows) => on_demand::open(rows, name, ".npy", options),
            None => whole(path, name, ".npy", npy::typed(path)?, options),
        };
    }
    archived(path, name, options)
}

/// All images of one array, of a file of this form. Errors as [`open`].
pub(super) fn whole(
    path: &Path,
    name: &str,
    form: &str,
    array: (Array, Type),
    options: &ReadOptions,
) -> Result<DataSet> {
    let named = |what: String| Error::format(path, what);
    let mut said = Reading { form: form.into(), ..Reading::default() };
    let set = Read::of(array, options, &mut said).map_err(named)?;
    let count = set.count;
    let images = set.images(vec![0; count], 1, options).map_err(|e| named(e.to_string()))?;
    Ok(DataSet::read(name, images, None, Vec::new(), said))
}

/// The points of a table, with their classes and the names of these if it has some; `said` are its form and what there
/// is to say of it. Errors, in words, as [`open`].
#[cfg(feature = "formats")]
pub(super) fn table(
    name: &str,
    array: (Array, Type),
    labels: Option<(Vec<u32>, Vec<String>)>,
    (form, note): (String, Option<String>),
    options: &ReadOptions,
) -> Result<DataSet, String> {
    let points = ReadOptions { layout: AxisOrder::Points, ..options.clone() };
    let mut said = Reading::default();
    let read = Read::of(array, &points, &mut said)?;
    said.form = form;
    said.converted.extend(note);
    said.without_labels = [labels.is_none(), false];
    let (labels, names) = labels.unwrap_or_else(|| (vec![0; read.count], Vec::new()));
    let classes = names.len().max(1);
    let images = read.images(labels, classes, options).map_err(|e| e.to_string())?;
    Ok(DataSet::read(name, images, None, names, said))
}

#[cfg(not(feature = "formats"))]
fn archived(path: &Path, _: &str, _: &ReadOptions) -> Result<DataSet> {
    Err(Error::format(path, "an archive, which this build does not read: its feature `formats` is off"))
}

#[cfg(feature = "formats")]
fn archived(path: &Path, name: &str, options: &ReadOptions) -> Result<DataSet> {
    let named = |what: String| Error::format(path, what);
    let mut archive = Archive::open(path)?;
    let [images, marks] = TRAIN.map(|names| first(&archive, names));
    let Some(images) = images else {
        let found: Vec<String> = archive.names().map(|name| escaped(name).to_string()).collect();
        let found = if found.is_empty() { "nothing".into() } else { found.join(", ") };
        return Err(named(format!(
            "no array of a name that is looked for ({}); found {found}: save the array anew as `images`, or in a .npy file",
            TRAIN[0].join(", ")
        )));
    };
    let mut said = Reading { form: format!(".npz array {}", escaped(&images)), ..Reading::default() };
    let mut used = vec![images.clone()];
    let mut part = |archive: &mut Archive,
                    images: &str,
                    marks: Option<&str>,
                    options: &ReadOptions,
                    said: &mut Reading|
     -> Result<Part> {
        let Some(array) = archive.get(images)? else { return Err(named(format!("no array {images}"))) };
        let read = Read::of(array, options, said).map_err(|e| named(format!("{}: {e}", escaped(images))))?;
        let labels = match marks.map(|name| Ok::<_, Error>((name, archive.get(name)?))).transpose()? {
            Some((name, Some((array, _)))) => {
                used.push(name.into());
                let found = labels::classes(&array, read.count);
                Some(found.map_err(|e| named(format!("{}: {e}", escaped(name))))?)
            }
            _ => None,
        };
        used.push(images.into());
        Ok(Part { read, labels })
    };
    let mut train = part(&mut archive, &images, marks.as_deref(), options, &mut said)?;
    let [images, marks] = TEST.map(|names| first(&archive, names));
    let mut of_test = Reading::default();
    // Of the same kind, whatever their own range is.
    let alike = options.clone().in_units(&train.read.units);
    let mut test =
        images.map(|images| part(&mut archive, &images, marks.as_deref(), &alike, &mut of_test)).transpose()?;
    if let Some(test) = test.as_ref().filter(|test| test.read.size != train.read.size) {
        return Err(named(format!("test images are {:?}, the others {:?}", test.read.size, train.read.size)));
    }
    if test.as_ref().is_some_and(|test| test.read.units.ends() != train.read.units.ends()) {
        return Err(named("test images have another scale than the others; store both alike".into()));
    }
    let stated = match archive.get(CLASSES)? {
        Some((array, _)) if array.values.len() == 1 => Some(array.to_labels()?[0] as usize),
        _ => None,
    };
    let known = [Some(&train), test.as_ref()].into_iter().flatten().filter_map(|part| part.labels.as_ref());
    let mut classes = known.map(|(_, classes)| *classes).max().unwrap_or(1).max(stated.unwrap_or(1));
    if classes > MAX_CLASSES {
        return Err(named(format!("{classes} classes, at most {MAX_CLASSES}")));
    }
    let mut names = Vec::new();
    if stated.is_none() && train.labels.is_some() {
        let parts = [Some(&mut train), test.as_mut()].into_iter().flatten();
        let mut parts: Vec<&mut Vec<u32>> =
            parts.filter_map(|part| part.labels.as_mut().map(|(labels, _)| labels)).collect();
        if let Some((found, word)) = labels::from_one(&mut parts, &mut classes) {
            names = found;
            said.converted.push(word);
        }
    }
    // As `write_images` has them: the same under two names.
    let used_name = |name: &str| {
        let twice = name == npy::ADM && used.iter().any(|used| used == "images");
        name == CLASSES || twice || used.iter().any(|used| used == name)
    };
    let unused: Vec<String> =
        archive.names().filter(|name| !used_name(name)).map(|name| escaped(name).to_string()).collect();
    if !unused.is_empty() {
        said.left_out.push(format!("the members {}", unused.join(", ")));
    }
    if train.labels.is_some() && test.as_ref().is_some_and(|test| test.labels.is_none()) {
        said.warnings.push("the test images have no labels and all count as of the first class".into());
    }
    said.without_labels = [train.labels.is_none(), test.as_ref().is_some_and(|test| test.labels.is_none())];
    said.converted.extend(of_test.converted.into_iter().map(|clause| format!("of the test images, {clause}")));
    let train = train.images(classes, options).map_err(|e| named(e.to_string()))?;
    let test = test.map(|test| test.images(classes, options)).transpose().map_err(|e| named(e.to_string()))?;
    Ok(DataSet::read(name, train, test, names, said))
}

/// The first of `names` that the archive has.
#[cfg(feature = "formats")]
fn first(archive: &Archive, names: &[&str]) -> Option<String> {
    names.iter().find(|name| archive.names().any(|there| there == **name)).map(ToString::to_string)
}

/// Images and, if there are any, their labels with the number of classes.
struct Part {
    read: Read,
    labels: Option<(Vec<u32>, usize)>,
}

impl Part {
    fn images(self, classes: usize, options: &ReadOptions) -> Result<Images> {
        let labels = self.labels.map_or_else(|| vec![0; self.read.count], |(labels, _)| labels);
        self.read.images(labels, classes, options)
    }
}

/// Pixels in the order and in the units of [`Images`].
struct Read {
    count: usize,
    /// `[height, width, channels]`.
    size: [usize; 3],
    pixels: Row,
    units: Units,
}

impl Read {
    /// Takes an array as images, and tells `said` what it was.
    fn of((array, numbers): (Array, Type), options: &ReadOptions, said: &mut Reading) -> Result<Self, String> {
        let conversion = Conversion::of(&array, &array.shape, numbers, options, said)?;
        let pixels = conversion.pixels(array.values);
        Ok(Read { count: conversion.count(), size: conversion.size(), pixels, units: conversion.units })
    }

    fn images(self, labels: Vec<u32>, classes: usize, options: &ReadOptions) -> Result<Images> {
        let images = match self.pixels {
            Row::Bytes(bytes) => Images::from_bytes(bytes, labels, self.size, classes),
            Row::Floats(floats) => Images::new(floats, labels, self.size, classes),
        }?
        .with_units(self.units)?;
        sized(images, options)
    }
}

/// The images in the size that is asked for.
pub(super) fn sized(images: Images, options: &ReadOptions) -> Result<Images> {
    #[cfg(feature = "formats")]
    return options.sizing.images(images).map_err(Error::Config);
    #[cfg(not(feature = "formats"))]
    {
        let _ = options;
        Ok(images)
    }
}
