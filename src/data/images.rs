use std::borrow::Cow;

use super::npy::Values;
use super::{Numbers, Units};
use crate::pixels::of_byte;
use crate::{Error, Result};

/// Labelled images in memory: rows of `height * width * channels` values (NHWC), one label each.
///
/// Pixels are given out in f32, for pictures in `[-1, 1]`. Sets that come as bytes are kept as bytes, a quarter of the
/// memory; byte `b` is `b / 127.5 - 1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    pixels: Pixels,
    labels: Vec<u32>,
    size: [usize; 3],
    classes: usize,
    units: Units,
}

#[derive(Debug, Clone, PartialEq)]
enum Pixels {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Pixels {
    fn len(&self) -> usize {
        match self {
            Pixels::Bytes(bytes) => bytes.len(),
            Pixels::Floats(floats) => floats.len(),
        }
    }
}

impl Images {
    /// Takes pixels `[n, height, width, channels]` and `n` labels below `classes`; `size` is `[height, width,
    /// channels]`.
    ///
    /// Errors if there are no images, a size is zero, the lengths disagree, a label is out of range or a pixel is not
    /// finite.
    pub fn new(pixels: Vec<f32>, labels: Vec<u32>, size: [usize; 3], classes: usize) -> Result<Self> {
        let images = Self::checked(Pixels::Floats(pixels), labels, size, classes)?;
        if let Pixels::Floats(pixels) = &images.pixels
            && let Some(i) = pixels.iter().position(|pixel| !pixel.is_finite())
        {
            let values = images.values();
            return Err(Error::NonFinite {
                what: format!("pixel {} of image {}", i % values, i / values),
                found: pixels[i].to_string(),
            });
        }
        Ok(images)
    }

    /// As [`new`](Self::new), for pixels from 0 to 255.
    pub fn from_bytes(pixels: Vec<u8>, labels: Vec<u32>, size: [usize; 3], classes: usize) -> Result<Self> {
        Self::checked(Pixels::Bytes(pixels), labels, size, classes)
    }

    fn checked(pixels: Pixels, labels: Vec<u32>, size: [usize; 3], classes: usize) -> Result<Self> {
        let values = size.iter().try_fold(1usize, |product, &s| product.checked_mul(s)).unwrap_or(0);
        if values == 0 || labels.is_empty() {
            return Err(Error::argument("Images::new", format!("no images: {} labels, size {size:?}", labels.len())));
        }
        if labels.len().checked_mul(values) != Some(pixels.len()) {
            return Err(Error::shape(
                "Images::new",
                format!("{} images of {size:?}", labels.len()),
                format!("{} pixels", pixels.len()),
            ));
        }
        if let Some(i) = labels.iter().position(|&label| label as usize >= classes) {
            let what = format!("label {} of image {i} is not below the number of classes, {classes}", labels[i]);
            return Err(Error::argument("Images::new", what));
        }
        let units = match pixels {
            Pixels::Bytes(_) => Units::bytes(),
            Pixels::Floats(_) => Units::plain(),
        };
        Ok(Images { pixels, labels, size, classes, units })
    }

    /// The same images, whose pixels are numbers of a file in these units. Errors unless the units are for so many
    /// channels.
    pub fn with_units(self, units: Units) -> Result<Self> {
        units.check_channels(self.size[2])?;
        Ok(Images { units, ..self })
    }

    /// What the pixels are in the numbers of the files that they came from.
    pub fn units(&self) -> &Units {
        &self.units
    }

    /// Other pixels of the same kind, with labels: in the same units. Errors as [`new`](Self::new).
    pub fn with_pixels(&self, pixels: Vec<f32>, labels: Vec<u32>) -> Result<Self> {
        Self::new(pixels, labels, self.size, self.classes)?.with_units(self.units.clone())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true: a set holds at least one image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// `[height, width, channels]`.
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// Values in one image.
    pub fn values(&self) -> usize {
        self.size.iter().product()
    }

    /// Number of classes; labels lie below it. A set without labels has one class.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The least and the largest value that pixels have; of bytes, that they may have.
    pub fn range(&self) -> [f32; 2] {
        match &self.pixels {
            Pixels::Bytes(_) => [of_byte(0), of_byte(255)],
            Pixels::Floats(floats) => [
                floats.iter().copied().fold(f32::INFINITY, f32::min),
                floats.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            ],
        }
    }

    /// All pixels, `[n, height, width, channels]`; made on the spot where the set holds bytes.
    pub fn pixels(&self) -> Cow<'_, [f32]> {
        match &self.pixels {
            Pixels::Bytes(bytes) => Cow::Owned(bytes.iter().copied().map(of_byte).collect()),
            Pixels::Floats(floats) => Cow::Borrowed(floats),
        }
    }

    /// All pixels in the units of the files that they came from: bytes as bytes, everything else in
    /// f32, or in f64 where that would lose what tells the numbers apart.
    pub fn user_values(&self) -> Values {
        let channels = self.size[2];
        match (&self.pixels, self.units.numbers()) {
            (Pixels::Bytes(bytes), _) if self.units == Units::bytes() => Values::U8(bytes.clone()),
            (_, Numbers::Uint8) => {
                let [low, high] = self.units.ends().unwrap_or([0.0, 255.0]);
                let user = |x: f32| self.units.to_user(x.into(), 0).round_ties_even().clamp(low, high) as u8;
                Values::U8(self.pixels().iter().map(|&x| user(x)).collect())
            }
            _ if self.units.need_f64() => Values::F64(self.units.all_to_user_f64(&self.pixels(), channels)),
            _ => Values::F32(self.units.all_to_user(&self.pixels(), channels)),
        }
    }

    /// All labels, `[n]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The images at `indices`, in that order, and their labels.
    ///
    /// Errors if an index is out of range.
    pub fn gather(&self, indices: &[u32]) -> Result<(Vec<f32>, Vec<u32>)> {
        let values = self.values();
        let mut pixels = Vec::with_capacity(indices.len() * values);
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            let i = index as usize;
            let Some(&label) = self.labels.get(i) else {
                return Err(Error::argument("Images::gather", format!("index {i} of {} images", self.len())));
            };
            match &self.pixels {
                Pixels::Bytes(bytes) => {
                    pixels.extend(bytes[i * values..(i + 1) * values].iter().copied().map(of_byte));
                }
                Pixels::Floats(floats) => pixels.extend_from_slice(&floats[i * values..(i + 1) * values]),
            }
            labels.push(label);
        }
        Ok((pixels, labels))
    }

    /// The images at `indices`, in that order, as a set of their own with as many classes. Bytes stay bytes.
    ///
    /// Errors if there are none or an index is out of range.
    pub fn select(&self, indices: &[u32]) -> Result<Self> {
        let values = self.values();
        if let Some(i) = indices.iter().find(|&&index| index as usize >= self.len()) {
            return Err(Error::argument("Images::select", format!("index {i} of {} images", self.len())));
        }
        let range = |&index: &u32| index as usize * values..(index as usize + 1) * values;
        let pixels = match &self.pixels {
            Pixels::Bytes(bytes) => Pixels::Bytes(indices.iter().flat_map(|i| &bytes[range(i)]).copied().collect()),
            Pixels::Floats(floats) => Pixels::Floats(indices.iter().flat_map(|i| &floats[range(i)]).copied().collect()),
        };
        let labels = indices.iter().map(|&index| self.labels[index as usize]).collect();
        Self::checked(pixels, labels, self.size, self.classes)?.with_units(self.units.clone())
    }

    /// Indices of the images with this label, rising.
    pub fn of_class(&self, label: u32) -> Vec<u32> {
        (0..self.len() as u32).filter(|&i| self.labels[i as usize] == label).collect()
    }

    /// Number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// The least and the greatest byte, of a set that is kept as bytes.
    pub(super) fn byte_range(&self) -> Option<[f64; 2]> {
        match &self.pixels {
            Pixels::Bytes(bytes) => Some([bytes.iter().min()?, bytes.iter().max()?].map(|&byte| byte.into())),
            Pixels::Floats(_) => None,
        }
    }

    /// Population standard deviation of all pixel values around their mean: what a model's `sigma_data` should be near.
    pub fn deviation(&self) -> f64 {
        let mean_of = |of: &dyn Fn(f64) -> f64| {
            let sum: f64 = match &self.pixels {
                Pixels::Bytes(bytes) => bytes.iter().map(|&b| of(f64::from(of_byte(b)))).sum(),
                Pixels::Floats(floats) => floats.iter().map(|&f| of(f64::from(f))).sum(),
            };
            sum / self.pixels.len() as f64
        };
        let mean = mean_of(&|v| v);
        mean_of(&|v| (v - mean) * (v - mean)).sqrt()
    }

    /// A short text that changes when anything of the set does: extents, classes, and checksums (CRC-32) of pixels and
    /// labels.
    pub fn fingerprint(&self) -> String {
        let crc = |bytes: &mut dyn Iterator<Item = &[u8]>| {
            let mut crc = flate2::Crc::new();
            bytes.for_each(|part| crc.update(part));
            crc.sum()
        };
        let (kind, pixels) = match &self.pixels {
            Pixels::Bytes(bytes) => ("u8", crc(&mut std::iter::once(&bytes[..]))),
            Pixels::Floats(floats) => ("f32", crc(&mut floats.iter().map(bytemuck::bytes_of))),
        };
        let labels = crc(&mut self.labels.iter().map(bytemuck::bytes_of));
        let [h, w, c] = self.size;
        let standardised = !self.units.is_plain() && self.units.ends().is_none();
        let units = if standardised { format!(", {}", self.units) } else { String::new() };
        format!("{}x{h}x{w}x{c} {kind}{units}, {} classes, {pixels:08x}-{labels:08x}", self.len(), self.classes)
    }
}
