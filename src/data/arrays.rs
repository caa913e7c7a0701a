//! Data sets in NumPy's files.

use std::path::Path;

use super::labels::MAX_CLASSES;
#[cfg(feature = "formats")]
use super::npy::Archive;
use super::npy::{self, Array, Kind, Type, Values};
use super::{DataSet, Images, Reading, labels, source};
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

/// Floating-point images within this are taken to be in [-1, 1], for noise and samples leave it a little.
const NEAR_ONE: f64 = 2.0;
/// As far as values of images without a scale of their own may go.
const FAR: f64 = 16.0;
/// The brightest value of floating-point images from 0 to 255 is no smaller.
const BRIGHT: f64 = 64.0;

/// Reads the images (or points) of a `.npy` or `.npz` file. `noisy` images may have any values.
///
/// | array | read as |
/// |---|---|
/// | `[n, h, w]`, `[n, h, w, c]` | images; `[n, c, h, w]` too, where that can be told |
/// | `[n, dims]` | points; squares of bytes are images `[n, s, s]` |
///
/// Errors on scales that cannot be told, on labels that do not fit, and on values that are not finite.
pub(super) fn open(path: &Path, name: &str, noisy: bool) -> Result<DataSet> {
    let named = |what: String| Error::format(path, what);
    let mut start = [0; 2];
    source::fill(path, &mut source::open(path)?, &mut start, "the header")?;
    if start != *b"PK" {
        let mut said = Reading { form: ".npy".into(), ..Reading::default() };
        let set = Read::of(npy::typed(path)?, noisy, &mut said).map_err(named)?;
        let count = set.count;
        let images = set.images(vec![0; count], 1).map_err(|e| named(e.to_string()))?;
        return Ok(DataSet::read(name, images, None, Vec::new(), said));
    }
    archived(path, name, noisy)
}

#[cfg(not(feature = "formats"))]
fn archived(path: &Path, _: &str, _: bool) -> Result<DataSet> {
    Err(Error::format(path, "an archive, which this build does not read: its feature `formats` is off"))
}

#[cfg(feature = "formats")]
fn archived(path: &Path, name: &str, noisy: bool) -> Result<DataSet> {
    let named = |what: String| Error::format(path, what);
    let mut archive = Archive::open(path)?;
    let [images, marks] = TRAIN.map(|names| first(&archive, names));
    let Some(images) = images else {
        let found: Vec<String> = archive.names().map(|name| escaped(name).to_string()).collect();
        return Err(named(format!("no array `images` or `x`; found {}", found.join(", "))));
    };
    let mut said = Reading { form: format!(".npz array {}", escaped(&images)), ..Reading::default() };
    let mut used = vec![images.clone()];
    let mut part = |archive: &mut Archive, images: &str, marks: Option<&str>, said: &mut Reading| -> Result<Part> {
        let Some(array) = archive.get(images)? else { return Err(named(format!("no array {images}"))) };
        let read = Read::of(array, noisy, said).map_err(|e| named(format!("{}: {e}", escaped(images))))?;
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
    let mut train = part(&mut archive, &images, marks.as_deref(), &mut said)?;
    let [images, marks] = TEST.map(|names| first(&archive, names));
    let mut of_test = Reading::default();
    let mut test = images.map(|images| part(&mut archive, &images, marks.as_deref(), &mut of_test)).transpose()?;
    if let Some(test) = &test {
        if test.read.size != train.read.size {
            return Err(named(format!("test images are {:?}, the others {:?}", test.read.size, train.read.size)));
        }
        if of_test.scale != said.scale {
            return Err(named("test images have another scale than the others; store both alike".into()));
        }
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
    let used_name = |name: &str| name == CLASSES || used.iter().any(|used| used == name);
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
    let train = train.images(classes).map_err(|e| named(e.to_string()))?;
    let test = test.map(|test| test.images(classes)).transpose().map_err(|e| named(e.to_string()))?;
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
    fn images(self, classes: usize) -> Result<Images> {
        let labels = self.labels.map_or_else(|| vec![0; self.read.count], |(labels, _)| labels);
        self.read.images(labels, classes)
    }
}

/// Pixels in the order and on the scale of [`Images`].
struct Read {
    count: usize,
    /// `[height, width, channels]`.
    size: [usize; 3],
    pixels: Pixels,
}

enum Pixels {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Read {
    /// Takes an array as images, and tells `said` what it was.
    fn of((array, numbers): (Array, Type), noisy: bool, said: &mut Reading) -> Result<Self, String> {
        let shape = format!("{:?}", array.shape);
        said.form = format!("{} {shape} of {numbers}", said.form).trim_start().into();
        let floats = matches!(array.values, Values::F32(_) | Values::F64(_));
        let (count, size, channels_first) = layout(&array.shape, floats)?;
        if array.values.is_empty() {
            return Err(format!("no images: an array {shape}"));
        }
        if size != [1, 1, array.shape.last().copied().unwrap_or(0)] && array.shape.len() == 2 {
            said.converted
                .push(format!("rows of {} numbers taken as images of {} x {}", array.shape[1], size[0], size[1]));
        }
        let range = range(&array, size.iter().product())?;
        said.range = Some(range);
        let points = size[0] == 1 && size[1] == 1;
        let pixels = match array.values {
            Values::F32(_) | Values::F64(_) => {
                if matches!(array.values, Values::F64(_)) {
                    said.converted.push("64-bit numbers rounded to 32 bits".into());
                }
                let scale = if points { None } else { float_scale(range, noisy)? };
                let side = size[2].isqrt();
                if points && side >= 8 && side * side == size[2] && range[0] >= 0.0 {
                    let what =
                        format!("rows of {} numbers are taken as points; store images as [n, {side}, {side}]", size[2]);
                    said.warnings.push(what);
                }
                said.scale = scale;
                let mut floats = array.to_f32();
                if scale.is_some() {
                    floats.iter_mut().for_each(|x| *x = *x / 127.5 - 1.0);
                }
                Pixels::Floats(floats)
            }
            Values::U8(bytes) if numbers.kind == Kind::Bool => {
                said.scale = Some([0.0, 1.0]);
                Pixels::Bytes(bytes.into_iter().map(|truth| 255 * truth).collect())
            }
            Values::U8(bytes) => {
                said.scale = Some([0.0, 255.0]);
                Pixels::Bytes(bytes)
            }
            Values::I64(integers) => {
                let (scale, pixels) = whole(integers, range, numbers)?;
                said.scale = Some(scale);
                pixels
            }
        };
        let mut read = Read { count, size, pixels };
        if channels_first {
            said.converted.push(format!("channels last: the images are [{}, {}, {}] there", size[2], size[0], size[1]));
            read.pixels = match read.pixels {
                Pixels::Bytes(pixels) => Pixels::Bytes(channels_last(&pixels, size)),
                Pixels::Floats(pixels) => Pixels::Floats(channels_last(&pixels, size)),
            };
        }
        Ok(read)
    }

    fn images(self, labels: Vec<u32>, classes: usize) -> Result<Images> {
        match self.pixels {
            Pixels::Bytes(bytes) => Images::from_bytes(bytes, labels, self.size, classes),
            Pixels::Floats(floats) => Images::new(floats, labels, self.size, classes),
        }
    }
}

/// Number and size of the images, and whether their channels come first.
fn layout(shape: &[usize], floats: bool) -> Result<(usize, [usize; 3], bool), String> {
    match *shape {
        // As PyTorch has them: three rows of many channels are no image.
        [n, c @ 1..=4, h, w] if w > 4 && h > 4 => Ok((n, [h, w, c], true)),
        [n, h, w, c] => Ok((n, [h, w, c], false)),
        [n, h, w] => Ok((n, [h, w, 1], false)),
        [n, dims] if floats || dims < 16 => Ok((n, [1, 1, dims], false)),
        [n, dims] => {
            let side = dims.isqrt();
            if side * side == dims {
                return Ok((n, [side, side, 1], false));
            }
            let third = (dims / 3).isqrt();
            if 3 * third * third == dims {
                return Err(format!(
                    "shape {shape:?} may be {third} x {third} pixels of three colours, each pixel or each colour in one piece; \
                     store [n, {third}, {third}, 3], or floating-point numbers if these are points"
                ));
            }
            Ok((n, [1, 1, dims], false))
        }
        _ => Err(format!("shape {shape:?}, expected [n, h, w, c], [n, h, w] or [n, dims]")),
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
            // As f32, too, which holds less.
            finite(v.iter().position(|&x| !(x as f32).is_finite()), &|i| format!("{:?}", v[i]))?;
            v.iter().fold(none, |range, &x| widen(range, x))
        }
    })
}

/// The values of floating-point images that are to become -1 and 1; `None`: they are taken as they are.
///
/// Images in [-1, 1] have values below 0, or none above 1 but for a little noise. Images from 0 to 255 have none below
/// 0, and bright ones.
fn float_scale([least, most]: [f64; 2], noisy: bool) -> Result<Option<[f64; 2]>, String> {
    let fits = if least < 0.0 { noisy || (least >= -FAR && most <= FAR) } else { most <= NEAR_ONE };
    if fits {
        return Ok(None);
    }
    if least >= 0.0 && (BRIGHT..=255.0).contains(&most) {
        return Ok(Some([0.0, 255.0]));
    }
    Err(format!(
        "floating-point images with values from {least} to {most}, which are neither in [-1, 1] nor from 0 to 255; scale them to [-1, 1] before, \
         such as x / {:?} - 1",
        0.5 * most.abs().max(least.abs())
    ))
}

/// Pixels of integers of more than a byte, and which of them became -1 and 1.
fn whole(integers: Vec<i64>, [least, most]: [f64; 2], numbers: Type) -> Result<([f64; 2], Pixels), String> {
    let small = least >= 0.0 && most <= 255.0;
    let scaled = |low: f64| {
        let shifted = integers.iter().map(|&x| ((x as f64 - low) / 32767.5 - 1.0) as f32);
        Pixels::Floats(shifted.collect())
    };
    match (numbers.kind, numbers.width) {
        (Kind::Unsigned, 2) if !small => Ok(([0.0, 65535.0], scaled(0.0))),
        (Kind::Signed, 2) if least < 0.0 => Ok(([-32768.0, 32767.0], scaled(-32768.0))),
        (kind, width) if small && (kind, width) != (Kind::Unsigned, 2) => {
            Ok(([0.0, 255.0], Pixels::Bytes(integers.into_iter().map(|x| x as u8).collect())))
        }
        _ => Err(format!(
            "images of {numbers} with values from {least} to {most}, whose scale cannot be told; store bytes from 0 to 255 as uint8, \
             or floating-point numbers in [-1, 1]"
        )),
    }
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
