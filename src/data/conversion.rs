//! How the numbers of an array become pixels.

use super::axes::Axes;
use super::npy::{Array, Kind, Type, Values};
use super::scale::{constant, resemblance, strange, units};
use super::stored::Row;
use super::{ReadOptions, Reading, Units};

/// What was found out of an array, or of some of its rows, and makes pixels in the order and in the units of
/// [`Images`](super::Images) of all of them.
#[derive(Debug)]
pub struct Conversion {
    axes: Axes,
    numbers: Type,
    pub units: Units,
    bytes: bool,
}

impl Conversion {
    /// Judges an array of numbers of a type by its values, and tells `said` what it was; `shape` is that of the whole,
    /// of which these may be some rows.
    ///
    /// Errors, in words, on axes that cannot be told, on values that are not finite, and where all are the same.
    pub fn of(
        array: &Array,
        shape: &[usize],
        numbers: Type,
        options: &ReadOptions,
        said: &mut Reading,
    ) -> Result<Self, String> {
        let shown = format!("{shape:?}");
        said.form = format!("{} {shown} of {numbers}", said.form).trim_start().into();
        let floats = matches!(array.values, Values::F32(_) | Values::F64(_));
        let (axes, guess) = Axes::of(shape, options.layout, options.like, !floats, || resemblance(array))?;
        if array.values.is_empty() {
            return Err(format!("no images: an array {shown}"));
        }
        said.converted.extend(guess);
        if axes.channels_first {
            let [h, w, c] = axes.size;
            let there = if h == 1 { format!("[{c}, {w}]") } else { format!("[{c}, {h}, {w}]") };
            said.converted.push(format!("channels last: the images are {there} there"));
        }
        let range = range(&array.values, axes.size.iter().product(), 0)?;
        let found = match &options.units {
            Some(units) if !units.is_unit_size() => Ok(units.clone()),
            _ => units(array, numbers, &axes, range, options),
        };
        let fitting = |units: Units| units.check_channels(axes.size[2]).map(|()| units).map_err(|e| e.to_string());
        // Numbers of another kind of sample have other units, too: what is wrong with them is the shape.
        let units = found.and_then(fitting).map_err(|e| other_shape(&axes, options).unwrap_or(e))?;
        said.range = Some(range);
        said.exact = options.exact;
        said.units = units.clone();
        said.warnings.extend(constant(array, &axes, options));
        if options.units.is_some() && !options.exact {
            said.warnings.extend(strange(array, &axes, &units));
        }
        #[cfg(feature = "formats")]
        said.converted.extend(options.sizing.said());
        if matches!(array.values, Values::F64(_)) {
            said.converted.push("64-bit numbers rounded to 32 bits".into());
        }
        let bytes = units == Units::bytes() && range[0] >= 0.0 && range[1] <= 255.0;
        Ok(Conversion { axes, numbers, units, bytes })
    }

    /// Number of images in the whole array.
    pub fn count(&self) -> usize {
        self.axes.count
    }

    /// `[height, width, channels]` of an image.
    pub fn size(&self) -> [usize; 3] {
        self.axes.size
    }

    /// The pixels of whole images.
    pub fn pixels(&self, values: Values) -> Row {
        let channel = |place: usize| self.axes.channel(place);
        let pixels = match values {
            Values::U8(bytes) if self.numbers.kind == Kind::Bool && self.units.is_unit_size() => {
                Row::Bytes(bytes.into_iter().map(|truth| 255 * truth).collect())
            }
            Values::U8(values) if self.bytes => Row::Bytes(values),
            Values::I64(values) if self.bytes => Row::Bytes(values.into_iter().map(|x| x as u8).collect()),
            values => {
                let seen = |(place, x): (usize, f64)| self.units.to_model(x, channel(place)) as f32;
                Row::Floats(match values {
                    Values::U8(v) => v.into_iter().map(f64::from).enumerate().map(seen).collect(),
                    Values::I64(v) => v.into_iter().map(|x| x as f64).enumerate().map(seen).collect(),
                    Values::F32(v) if self.units.is_plain() => v,
                    Values::F32(v) => v.into_iter().map(f64::from).enumerate().map(seen).collect(),
                    Values::F64(v) => v.into_iter().enumerate().map(seen).collect(),
                })
            }
        };
        match (self.axes.channels_first, pixels) {
            (false, pixels) => pixels,
            (true, Row::Bytes(pixels)) => Row::Bytes(channels_last(&pixels, self.axes.size)),
            (true, Row::Floats(pixels)) => Row::Floats(channels_last(&pixels, self.axes.size)),
        }
    }

    /// The pixels of image `index`, which was perhaps not among those that this was found out of. Errors, in words, on
    /// values that are not finite, and on those that are no bytes beside others that are.
    pub fn image(&self, values: Values, index: u32) -> Result<Row, String> {
        let [least, most] = range(&values, self.axes.size.iter().product(), index as usize)?;
        match self.bytes && (least < 0.0 || most > 255.0) {
            false => Ok(self.pixels(values)),
            true => Err(format!(
                "image {index} has values from {least} to {most}, where the images that were looked at first have bytes \
                 from 0 to 255; say --standardise all (or channel)"
            )),
        }
    }
}

/// Words on samples of another shape than those that they belong beside, unless they are yet to be cut or resized.
fn other_shape(axes: &Axes, options: &ReadOptions) -> Option<String> {
    let like = options.like.filter(|like| *like != axes.size)?;
    #[cfg(feature = "formats")]
    if options.sizing.said().is_some() {
        return None;
    }
    let shape = |size: [usize; 3]| match size {
        [1, 1, 1] => "rows of 1 number".into(),
        [1, 1, dims] => format!("rows of {dims} numbers"),
        [1, length, channels] => format!("signals of {length}x{channels} (length, channels)"),
        [h, w, c] => format!("images of {h}x{w}x{c} (height, width, channels)"),
    };
    let (here, there) = (shape(axes.size), shape(like));
    Some(format!(
        "{here}, but those that they belong to (the model's, or the other data's) are {there}: give data of that shape"
    ))
}

/// The least and the greatest of the values of images of so many values, counted from `first`. Errors, in words, on one
/// that is not finite.
fn range(all: &Values, values: usize, first: usize) -> Result<[f64; 2], String> {
    let widen = |[least, most]: [f64; 2], x: f64| [least.min(x), most.max(x)];
    let none = [f64::INFINITY, f64::NEG_INFINITY];
    let finite = |found: Option<usize>, shown: &dyn Fn(usize) -> String| match found {
        None => Ok(()),
        Some(i) => {
            let what = format!("pixel {} of image {} is not finite: {}", i % values, first + i / values, shown(i));
            Err(format!("{what}; every number must be"))
        }
    };
    Ok(match all {
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
