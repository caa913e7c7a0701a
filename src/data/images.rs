use std::borrow::Cow;

use super::npy::Values;
use super::stored::{Row, Stored, deviation};
use super::{Numbers, Units};
use crate::pixels::of_byte;
use crate::{Error, Result};

/// Labelled images: rows of `height * width * channels` values (NHWC), one label each.
///
/// Pixels are given out in f32, for pictures in `[-1, 1]`. Sets that come as bytes are kept as bytes, a quarter of the
/// memory; byte `b` is `b / 127.5 - 1`. Sets that take more memory than [they may](super::ReadOptions::in_memory) stay
/// in their files: images are read when they are wanted, and kept in a cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    pixels: Pixels,
    labels: Vec<u32>,
    size: [usize; 3],
    classes: usize,
    units: Units,
    columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Pixels {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    Stored(Stored),
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

    /// As [`new`](Self::new), for images that stay in their files, as many as there are labels.
    pub(super) fn stored(stored: Stored, labels: Vec<u32>, size: [usize; 3], classes: usize) -> Result<Self> {
        Self::checked(Pixels::Stored(stored), labels, size, classes)
    }

    fn checked(pixels: Pixels, labels: Vec<u32>, size: [usize; 3], classes: usize) -> Result<Self> {
        let values = size.iter().try_fold(1usize, |product, &s| product.checked_mul(s)).unwrap_or(0);
        if values == 0 || labels.is_empty() {
            return Err(Error::argument("Images::new", format!("no images: {} labels, size {size:?}", labels.len())));
        }
        let found = match &pixels {
            Pixels::Bytes(bytes) => Some(bytes.len()),
            Pixels::Floats(floats) => Some(floats.len()),
            Pixels::Stored(_) => labels.len().checked_mul(values),
        };
        if let Some(found) = found.filter(|&found| labels.len().checked_mul(values) != Some(found)) {
            return Err(Error::shape(
                "Images::new",
                format!("{} images of {size:?}", labels.len()),
                format!("{found} pixels"),
            ));
        }
        if let Some(i) = labels.iter().position(|&label| label as usize >= classes) {
            let what = format!("label {} of image {i} is not below the number of classes, {classes}", labels[i]);
            return Err(Error::argument("Images::new", what));
        }
        let units = match &pixels {
            Pixels::Bytes(_) => Units::bytes(),
            Pixels::Stored(stored) if stored.are_bytes() => Units::bytes(),
            Pixels::Floats(_) | Pixels::Stored(_) => Units::plain(),
        };
        Ok(Images { pixels, labels, size, classes, units, columns: Vec::new() })
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

    /// The same points, whose numbers are of columns of these names. Errors unless there are none, or one for each
    /// channel.
    pub fn with_columns(self, columns: &[String]) -> Result<Self> {
        if !columns.is_empty() && columns.len() != self.size[2] {
            let what = format!("{} names for {} columns; give one for each, or none", columns.len(), self.size[2]);
            return Err(Error::argument("Images::with_columns", what));
        }
        Ok(Images { columns: columns.to_vec(), ..self })
    }

    /// The names of the columns of the table that the points came from; none where nobody said them.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Other pixels of the same kind, with labels: in the same units and columns. Errors as [`new`](Self::new).
    pub fn with_pixels(&self, pixels: Vec<f32>, labels: Vec<u32>) -> Result<Self> {
        Self::new(pixels, labels, self.size, self.classes)?.with_units(self.units.clone())?.with_columns(&self.columns)
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

    /// Whether the images stay in their files, and are read when they are wanted.
    pub fn is_stored(&self) -> bool {
        matches!(self.pixels, Pixels::Stored(_))
    }

    /// Begins to read images that will be wanted soon, on threads of its own; nothing where all are in memory.
    ///
    /// Errors if an index is out of range.
    pub fn ahead(&self, indices: &[u32]) -> Result<()> {
        if let Pixels::Stored(stored) = &self.pixels {
            self.check_indices("Images::ahead", indices)?;
            stored.ahead(indices);
        }
        Ok(())
    }

    fn check_indices(&self, op: &'static str, indices: &[u32]) -> Result<()> {
        match indices.iter().find(|&&index| index as usize >= self.len()) {
            None => Ok(()),
            Some(i) => Err(Error::argument(op, format!("index {i} of {} images", self.len()))),
        }
    }

    /// The least and the largest value that pixels have; of bytes, that they may have; of a set that stays in its
    /// files, those of some of its images.
    pub fn range(&self) -> [f32; 2] {
        match &self.pixels {
            Pixels::Stored(stored) => stored.facts().range,
            Pixels::Bytes(_) => [of_byte(0), of_byte(255)],
            Pixels::Floats(floats) => [
                floats.iter().copied().fold(f32::INFINITY, f32::min),
                floats.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            ],
        }
    }

    /// All pixels, `[n, height, width, channels]`; made on the spot where the set holds bytes.
    ///
    /// Errors where a set that stays in its files cannot be read, or the memory has no room for it.
    pub fn pixels(&self) -> Result<Cow<'_, [f32]>> {
        Ok(match &self.pixels {
            Pixels::Bytes(bytes) => Cow::Owned(bytes.iter().copied().map(of_byte).collect()),
            Pixels::Floats(floats) => Cow::Borrowed(floats),
            Pixels::Stored(stored) => Cow::Owned(stored.all(self.len())?),
        })
    }

    /// All pixels in the units of the files that they came from: bytes as bytes, everything else in
    /// f32, or in f64 where that would lose what tells the numbers apart. Errors as [`pixels`](Self::pixels).
    pub fn user_values(&self) -> Result<Values> {
        let channels = self.size[2];
        Ok(match (&self.pixels, self.units.numbers()) {
            (Pixels::Bytes(bytes), _) if self.units == Units::bytes() => Values::U8(bytes.clone()),
            (_, Numbers::Uint8) => {
                let [low, high] = self.units.ends().unwrap_or([0.0, 255.0]);
                let user = |x: f32| self.units.to_user(x.into(), 0).round_ties_even().clamp(low, high) as u8;
                Values::U8(self.pixels()?.iter().map(|&x| user(x)).collect())
            }
            _ if self.units.need_f64() => Values::F64(self.units.all_to_user_f64(&self.pixels()?, channels)),
            _ => Values::F32(self.units.all_to_user(&self.pixels()?, channels)),
        })
    }

    /// All labels, `[n]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The images at `indices`, in that order, and their labels.
    ///
    /// Errors if an index is out of range, and where a set that stays in its files cannot be read.
    pub fn gather(&self, indices: &[u32]) -> Result<(Vec<f32>, Vec<u32>)> {
        self.check_indices("Images::gather", indices)?;
        let values = self.values();
        let range = |&index: &u32| index as usize * values..(index as usize + 1) * values;
        let pixels = match &self.pixels {
            Pixels::Bytes(bytes) => indices.iter().flat_map(|i| &bytes[range(i)]).copied().map(of_byte).collect(),
            Pixels::Floats(floats) => indices.iter().flat_map(|i| &floats[range(i)]).copied().collect(),
            Pixels::Stored(stored) => stored.gather(indices)?,
        };
        Ok((pixels, self.labels_of(indices)))
    }

    fn labels_of(&self, indices: &[u32]) -> Vec<u32> {
        indices.iter().map(|&index| self.labels[index as usize]).collect()
    }

    /// The images at `indices`, in that order, as a set of their own with as many classes. Bytes stay bytes; of a set
    /// that stays in its files, more than the cache may hold stay there.
    ///
    /// Errors if there are none or an index is out of range, and where images cannot be read.
    pub fn select(&self, indices: &[u32]) -> Result<Self> {
        let values = self.values();
        self.check_indices("Images::select", indices)?;
        let range = |&index: &u32| index as usize * values..(index as usize + 1) * values;
        let pixels = match &self.pixels {
            Pixels::Bytes(bytes) => Pixels::Bytes(indices.iter().flat_map(|i| &bytes[range(i)]).copied().collect()),
            Pixels::Floats(floats) => Pixels::Floats(indices.iter().flat_map(|i| &floats[range(i)]).copied().collect()),
            Pixels::Stored(stored) if stored.takes(indices.len()) > stored.limit() as u128 => {
                Pixels::Stored(stored.pick(indices))
            }
            Pixels::Stored(stored) => {
                let (mut bytes, mut floats) = (Vec::new(), Vec::new());
                for row in stored.rows(indices)? {
                    match &*row {
                        Row::Bytes(row) => bytes.extend_from_slice(row),
                        Row::Floats(row) => floats.extend_from_slice(row),
                    }
                }
                if stored.are_bytes() { Pixels::Bytes(bytes) } else { Pixels::Floats(floats) }
            }
        };
        Self::checked(pixels, self.labels_of(indices), self.size, self.classes)?
            .with_units(self.units.clone())?
            .with_columns(&self.columns)
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
            Pixels::Floats(_) | Pixels::Stored(_) => None,
        }
    }

    /// Population standard deviation of all pixel values around their mean: what a model's `sigma_data` should be near.
    /// Of a set that stays in its files, that of some of its images.
    pub fn deviation(&self) -> f64 {
        match &self.pixels {
            Pixels::Bytes(bytes) => deviation(bytes.iter().map(|&byte| of_byte(byte).into())),
            Pixels::Floats(floats) => deviation(floats.iter().map(|&x| x.into())),
            Pixels::Stored(stored) => stored.facts().deviation,
        }
    }

    /// A short text that changes when anything of the set does: extents, classes, and checksums (CRC-32) of pixels and
    /// labels. Of a set that stays in its files it is names and lengths of these, and the pixels of some images, that
    /// count.
    pub fn fingerprint(&self) -> String {
        let crc = |bytes: &mut dyn Iterator<Item = &[u8]>| {
            let mut crc = flate2::Crc::new();
            bytes.for_each(|part| crc.update(part));
            crc.sum()
        };
        let (kind, pixels) = match &self.pixels {
            Pixels::Bytes(bytes) => ("u8", crc(&mut std::iter::once(&bytes[..]))),
            Pixels::Floats(floats) => ("f32", crc(&mut floats.iter().map(bytemuck::bytes_of))),
            Pixels::Stored(stored) => {
                (if stored.are_bytes() { "u8 in files" } else { "f32 in files" }, stored.identity())
            }
        };
        let labels = crc(&mut self.labels.iter().map(bytemuck::bytes_of));
        let [h, w, c] = self.size;
        let standardised = !self.units.is_plain() && self.units.ends().is_none();
        let units = if standardised { format!(", {}", self.units) } else { String::new() };
        format!("{}x{h}x{w}x{c} {kind}{units}, {} classes, {pixels:08x}-{labels:08x}", self.len(), self.classes)
    }
}
