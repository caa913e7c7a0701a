//! Data sets in NumPy's files.

use std::path::Path;

use super::axes::Axes;
use super::labels::MAX_CLASSES;
#[cfg(feature = "formats")]
use super::npy::Archive;
use super::npy::{self, Array, Kind, Type, Values};
use super::{AxisOrder, DataSet, Images, Numbers, ReadOptions, Reading, Standardise, Units, labels, source};
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
/// Numbers whose standard deviation lies between these are about unit size.
const UNIT: [f64; 2] = [0.1, 3.0];
/// Whole numbers that take up less than one part in so many of what their type holds are counts, not grey levels.
const NARROW: f64 = 8.0;

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
        if options.units.is_some() && !units.is_plain() {
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

/// The units of numbers that nothing else says the units of. Errors, in words, where all are the same.
fn units(
    array: &Array,
    numbers: Type,
    axes: &Axes,
    [least, most]: [f64; 2],
    options: &ReadOptions,
) -> Result<Units, String> {
    let whole = match (numbers.kind, numbers.width) {
        (Kind::Unsigned, 1) => Numbers::Uint8,
        (Kind::Unsigned, 2) => Numbers::Uint16,
        (Kind::Signed, 2) => Numbers::Int16,
        _ => Numbers::Float,
    };
    let fits_bytes = least >= 0.0 && most <= 255.0;
    if let Some(of) = options.units.as_ref().filter(|of| of.ends().is_some()) {
        // The same numbers mean the same: words beside words, and truth values that came back as bytes.
        let truth = whole == Numbers::Uint8 && of.ends() == Some([0.0, 1.0]) && most <= 1.0;
        if truth || whole == of.numbers() && whole != Numbers::Float && whole != Numbers::Uint8 {
            return Ok(of.clone());
        }
    }
    match (options.standardise, numbers.kind) {
        (_, Kind::Bool) => return Ok(Units::spread(Numbers::Uint8, [0.0, 1.0])),
        (Standardise::None, Kind::Unsigned) if numbers.width == 1 => return Ok(Units::bytes()),
        (Standardise::None, _) => return Ok(Units::plain()),
        (Standardise::Auto, Kind::Unsigned) if numbers.width == 1 => return Ok(Units::bytes()),
        (Standardise::Auto, kind)
            if kind != Kind::Float && whole != Numbers::Uint16 && fits_bytes && !axes.are_points() =>
        {
            return Ok(Units::bytes());
        }
        _ => {}
    }
    if let (Standardise::Auto, Some([low, high]), false) = (options.standardise, whole.bounds(), axes.are_points())
        && most - least >= (high - low) / NARROW
    {
        return Ok(Units::spread(whole, [low, high]));
    }
    let each = match options.standardise {
        Standardise::Channel => true,
        Standardise::All => false,
        _ => axes.are_points(),
    };
    let moments = moments(array, axes, each);
    if let (Some(of), Kind::Float) = (&options.units, numbers.kind) {
        // Beside images of whole numbers floating-point numbers are of [-1, 1] or of those, whatever noise they have.
        let ends = of.ends().filter(|[low, high]| high - low > 2.0);
        let possible = ends.is_some_and(|[low, high]| options.noisy || least >= low && most <= high);
        let spread = ends.is_some_and(|[low, high]| moments.iter().any(|[_, d]| *d >= (high - low) / 32.0));
        let bright = possible && spread;
        if !bright && !options.noisy && (least < -FAR || most > FAR) {
            return Err(format!(
                "numbers from {least} to {most}, but the data (or the model) that they belong to are of about unit size: {of}"
            ));
        }
        return Ok(match (bright, of.numbers()) {
            (true, Numbers::Uint8) => Units::spread(Numbers::Float, [0.0, 255.0]),
            (true, _) => of.clone(),
            (false, _) => Units::plain(),
        });
    }
    if options.standardise == Standardise::Auto && numbers.kind == Kind::Float {
        let unit = |&[mean, deviation]: &[f64; 2]| {
            let constant = deviation <= 1e-12 * mean.abs() || least == most;
            let spread = constant || (UNIT[0]..=UNIT[1]).contains(&deviation);
            spread && mean.abs() <= UNIT[1].max(10.0 * deviation)
        };
        let plain = match (axes.are_points(), least < 0.0) {
            (true, _) => moments.iter().all(unit),
            (false, true) if options.noisy => {
                moments.iter().all(|[mean, deviation]| mean.abs() <= NEAR_ONE.max(deviation / 2.0))
            }
            (false, true) => least >= -FAR && most <= FAR && moments.iter().all(unit),
            (false, false) => most <= NEAR_ONE && moments.iter().all(unit),
        };
        if plain {
            return Ok(Units::plain());
        }
        if !axes.are_points() && least >= 0.0 && (BRIGHT..=255.0).contains(&most) {
            return Ok(Units::spread(Numbers::Float, [0.0, 255.0]));
        }
    }
    Units::standardising(whole, &moments).map_err(|channel| {
        let which = match (moments.len(), axes.are_points()) {
            (1, _) => "all numbers".into(),
            (_, true) => match options.columns.get(channel) {
                Some(name) => format!("all numbers of the column {}", escaped(name)),
                None => format!("all numbers of column {} (counted from 1)", channel + 1),
            },
            (_, false) => format!("all numbers of channel {channel} (counted from 0)"),
        };
        let rest = if moments.len() > 1 { "take it away, or set" } else { "there is nothing to learn; set" };
        format!(
            "{which} are {}, which has no scale: {rest} data.standardise = \"none\" to take them as they are",
            moments[channel][0]
        )
    })
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

/// Words on numbers that hardly belong to the data whose units they are to be in.
fn strange(array: &Array, axes: &Axes, units: &Units) -> Option<String> {
    // More than any noise that models are made for.
    const MOST: f64 = 100.0;
    let far = |(channel, [mean, deviation]): (usize, &[f64; 2])| {
        let one = units.to_model(1.0, channel) - units.to_model(0.0, channel);
        deviation * one > MOST || units.to_model(*mean, channel).abs() > MOST
    };
    let moments = moments(array, axes, true);
    moments.iter().enumerate().any(far).then(|| {
        "these numbers lie so far from those that they are to belong to, by place or by spread, that they seem to be something else".into()
    })
}

/// Mean and standard deviation of all numbers, or of those of each channel.
fn moments(array: &Array, axes: &Axes, each: bool) -> Vec<[f64; 2]> {
    let channels = if each { axes.size[2] } else { 1 };
    let channel = |place: usize| if each { axes.channel(place) } else { 0 };
    // Squares of tiny numbers would vanish, those of huge ones overflow.
    let largest = match &array.values {
        Values::F64(v) => v.iter().fold(0f64, |most, x| most.max(x.abs())),
        _ => 1.0,
    };
    let unit = if (1e-100..1e100).contains(&largest) || largest == 0.0 { 1.0 } else { largest };
    let sums = |of: &dyn Fn(usize, f64) -> f64| {
        let mut sums = vec![0f64; channels];
        let mut add = |(place, x): (usize, f64)| sums[channel(place)] += of(channel(place), x);
        match &array.values {
            Values::U8(v) => v.iter().map(|&x| x.into()).enumerate().for_each(&mut add),
            Values::I64(v) => v.iter().map(|&x| x as f64).enumerate().for_each(&mut add),
            Values::F32(v) => v.iter().map(|&x| x.into()).enumerate().for_each(&mut add),
            Values::F64(v) => v.iter().map(|x| x / unit).enumerate().for_each(&mut add),
        }
        let count = array.values.len() as f64 / channels as f64;
        sums.into_iter().map(|sum| sum / count).collect::<Vec<f64>>()
    };
    let means = sums(&|_, x| x);
    let variances = sums(&|channel, x| (x - means[channel]).powi(2));
    means.iter().zip(variances).map(|(&mean, variance)| [mean * unit, variance.sqrt() * unit]).collect()
}

/// The mean correlation of neighbouring columns of a table.
fn resemblance(array: &Array) -> f64 {
    const ROWS: usize = 2000;
    let &[n, d] = &array.shape[..] else { return 0.0 };
    let stride = n.div_ceil(ROWS).max(1);
    let all = |i: usize| match &array.values {
        Values::U8(v) => v[i].into(),
        Values::I64(v) => v[i] as f64,
        Values::F32(v) => v[i].into(),
        Values::F64(v) => v[i],
    };
    let rows: Vec<usize> = (0..n).step_by(stride).collect();
    let column = |c: usize| -> Vec<f64> {
        let values: Vec<f64> = rows.iter().map(|row| all(row * d + c)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let centred: Vec<f64> = values.iter().map(|x| x - mean).collect();
        let norm = centred.iter().map(|x| x * x).sum::<f64>().sqrt();
        centred.iter().map(|x| if norm > 0.0 { x / norm } else { 0.0 }).collect()
    };
    let columns: Vec<Vec<f64>> = (0..d).map(column).collect();
    let product = |pair: &[Vec<f64>]| pair[0].iter().zip(&pair[1]).map(|(a, b)| a * b).sum::<f64>();
    columns.windows(2).map(product).sum::<f64>() / (d.max(2) - 1) as f64
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
