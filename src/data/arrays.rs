//! Data sets in NumPy's files.

use std::path::Path;

use super::axes::Axes;
use super::labels::MAX_CLASSES;
#[cfg(feature = "formats")]
use super::npy::Archive;
use super::npy::{self, Array, Kind, Type, Values};
use super::scale::{resemblance, strange, units};
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
        return whole(path, name, ".npy", npy::typed(path)?, options);
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
        return Err(named(format!("no array `images` or `x`; found {}", found.join(", "))));
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
    pixels: Pixels,
    units: Units,
}

enum Pixels {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Read {
    /// Takes an array as images, and tells `said` what it was.
    fn of((array, numbers): (Array, Type), options: &ReadOptions, said: &mut Reading) -> Result<Self, String> {
        let shape = format!("{:?}", array.shape);
        said.form = format!("{} {shape} of {numbers}", said.form).trim_start().into();
        let floats = matches!(array.values, Values::F32(_) | Values::F64(_));
        let resemblance = || resemblance(&array);
        let (axes, guess) = Axes::of(&array.shape, options.layout, options.like, !floats, resemblance)?;
        if array.values.is_empty() {
            return Err(format!("no images: an array {shape}"));
        }
        said.converted.extend(guess);
        if axes.channels_first {
            let [h, w, c] = axes.size;
            let there = if h == 1 { format!("[{c}, {w}]") } else { format!("[{c}, {h}, {w}]") };
            said.converted.push(format!("channels last: the images are {there} there"));
        }
        let range = range(&array, axes.size.iter().product())?;
        let units = match &options.units {
            Some(units) if !units.is_unit_size() => units.clone(),
            _ => units(&array, numbers, &axes, range, options)?,
        };
        units.check_channels(axes.size[2]).map_err(|e| e.to_string())?;
        said.range = Some(range);
        said.units = units.clone();
        if options.units.is_some() {
            said.warnings.extend(strange(&array, &axes, &units));
        }
        #[cfg(feature = "formats")]
        said.converted.extend(options.sizing.said());
        if matches!(array.values, Values::F64(_)) {
            said.converted.push("64-bit numbers rounded to 32 bits".into());
        }
        let bytes = units == Units::bytes() && range[0] >= 0.0 && range[1] <= 255.0;
        let mut pixels = match array.values {
            Values::U8(bytes) if numbers.kind == Kind::Bool && units.is_unit_size() => {
                Pixels::Bytes(bytes.into_iter().map(|truth| 255 * truth).collect())
            }
            Values::U8(values) if bytes => Pixels::Bytes(values),
            Values::I64(values) if bytes => Pixels::Bytes(values.into_iter().map(|x| x as u8).collect()),
            values => {
                let seen = |(place, x): (usize, f64)| units.to_model(x, axes.channel(place)) as f32;
                Pixels::Floats(match values {
                    Values::U8(v) => v.into_iter().map(f64::from).enumerate().map(seen).collect(),
                    Values::I64(v) => v.into_iter().map(|x| x as f64).enumerate().map(seen).collect(),
                    Values::F32(v) if units.is_plain() => v,
                    Values::F32(v) => v.into_iter().map(f64::from).enumerate().map(seen).collect(),
                    Values::F64(v) => v.into_iter().enumerate().map(seen).collect(),
                })
            }
        };
        if axes.channels_first {
            pixels = match pixels {
                Pixels::Bytes(pixels) => Pixels::Bytes(channels_last(&pixels, axes.size)),
                Pixels::Floats(pixels) => Pixels::Floats(channels_last(&pixels, axes.size)),
            };
        }
        Ok(Read { count: axes.count, size: axes.size, pixels, units })
    }

    fn images(self, labels: Vec<u32>, classes: usize, options: &ReadOptions) -> Result<Images> {
        let images = match self.pixels {
            Pixels::Bytes(bytes) => Images::from_bytes(bytes, labels, self.size, classes),
            Pixels::Floats(floats) => Images::new(floats, labels, self.size, classes),
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

/// The least and the greatest value. Errors on one that is not finite.
fn range(array: &Array, values: usize) -> Result<[f64; 2], String> {
    let widen = |[least, most]: [f64; 2], x: f64| [least.min(x), most.max(x)];
    let none = [f64::INFINITY, f64::NEG_INFINITY];
    let finite = |found: Option<usize>, shown: &dyn Fn(usize) -> String| match found {
        None => Ok(()),
        Some(i) => {
            let what = format!("pixel {} of image {} is not finite: {}", i % values, i / values, shown(i));
            Err(format!("{what}; every number must be"))
        }
    };
    Ok(match &array.values {
        Values::U8(v) => v.iter().fold(none, |range, &x| widen(range, x.into())),
        Values::I64(v) => v.iter().fold(none, |range, &x| widen(range, x as f64)),
        Values::F32(v) => {
            finite(v.iter().position(|x| !x.is_finite()), &|i| format!("{:?}", v[i]))?;
            v.iter().fold(none, |range, &x| widen(range, x.into()))
        }
        Values::F64(v) => {
            finite(v.iter().position(|x| !x.is_finite()), &|i| format!("{:?}", v[i]))?;
            v.iter().fold(none, |range, &x| widen(range, x))
        }
    })
}

/// `[n, c, h, w]` as `[n, h, w, c]`; `size` is `[h, w, c]`.
fn channels_last<T: Copy>(pixels: &[T], [h, w, c]: [usize; 3]) -> Vec<T> {
    let area = h * w;
    let mut out = Vec::with_capacity(pixels.len());
    for image in pixels.chunks_exact((area * c).max(1)) {
        out.extend((0..area).flat_map(|pixel| (0..c).map(move |channel| image[channel * area + pixel])));
    }
    out
}
