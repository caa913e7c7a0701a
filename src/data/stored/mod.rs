//! Images that stay in their files and are read when they are wanted: sets larger than the memory start at once.

mod cache;

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;

use crate::pixels::of_byte;
use crate::{Result, memory};
use cache::Cache;
pub use cache::Reader;

/// One image as it is held: bytes, or what a model sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Row {
    /// Bytes that it takes in memory.
    fn takes(&self) -> usize {
        match self {
            Row::Bytes(bytes) => bytes.len(),
            Row::Floats(floats) => 4 * floats.len(),
        }
    }

    /// Puts more of the same kind behind these. Errors, in words, on another kind.
    pub fn append(&mut self, more: Row) -> Result<(), String> {
        match (self, more) {
            (Row::Bytes(all), Row::Bytes(more)) => all.extend(more),
            (Row::Floats(all), Row::Floats(more)) => all.extend(more),
            _ => return Err("images of another kind than the first".into()),
        }
        Ok(())
    }

    /// Puts the pixels, as a model sees them, behind others.
    pub fn append_to(&self, pixels: &mut Vec<f32>) {
        match self {
            Row::Bytes(bytes) => pixels.extend(bytes.iter().copied().map(of_byte)),
            Row::Floats(floats) => pixels.extend_from_slice(floats),
        }
    }
}

/// What was found of a set in some of its images, evenly spaced, before all are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Standard deviation of the values that a model sees.
    pub deviation: f64,
    /// The least and the greatest of them.
    pub range: [f32; 2],
    /// A checksum that changes when the files or what is made of them do.
    pub identity: u32,
}

/// How many images a set is judged by, at most, and how many bytes these may take.
const SAMPLE: (usize, usize) = (4096, 1 << 28);

/// The images by which a set of `count` images of `bytes` bytes each is judged: the first, and others evenly spaced.
pub fn sample(count: usize, bytes: usize) -> Vec<u32> {
    let some = count.min(SAMPLE.0).min((SAMPLE.1 / bytes.max(1)).max(1));
    (0..some).map(|i| (i as u128 * count as u128 / some as u128) as u32).collect()
}

/// A set of images, or some of one, behind a cache that they share.
#[derive(Clone)]
pub struct Stored {
    cache: Arc<Cache>,
    /// Which images of the files these are; all of them, in order, if nothing is said.
    picks: Option<Arc<[u32]>>,
    facts: Facts,
    /// Values of an image, and whether they are bytes.
    values: usize,
    bytes: bool,
}

impl Stored {
    /// Images of so many values that `reader` reads, with a cache of `limit` bytes.
    pub fn new(reader: impl Reader + 'static, (values, bytes): (usize, bool), limit: u64, facts: Facts) -> Self {
        let cache = Cache::new(Box::new(reader), usize::try_from(limit).unwrap_or(usize::MAX));
        Stored { cache: Arc::new(cache), picks: None, facts, values, bytes }
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether the files' images are held as bytes.
    pub fn are_bytes(&self) -> bool {
        self.bytes
    }

    /// Bytes that `count` images take in memory.
    pub fn takes(&self, count: usize) -> u128 {
        count as u128 * self.values as u128 * if self.bytes { 1 } else { 4 }
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> usize {
        self.cache.limit()
    }

    fn place(&self, index: u32) -> u32 {
        self.picks.as_ref().map_or(index, |picks| picks[index as usize])
    }

    /// Some of these images, which stay in their files too. The indices are sound.
    pub fn pick(&self, indices: &[u32]) -> Self {
        let picks = indices.iter().map(|&index| self.place(index)).collect();
        Stored { picks: Some(picks), ..self.clone() }
    }

    /// A checksum of which images these are of which files.
    pub fn identity(&self) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(&self.facts.identity.to_le_bytes());
        self.picks.iter().for_each(|picks| crc.update(bytemuck::cast_slice(picks)));
        if self.picks.is_some() { crc.sum() } else { self.facts.identity }
    }

    /// Begins to read images that will be wanted soon, in this order.
    pub fn ahead(&self, indices: &[u32]) {
        self.cache.ahead(indices.iter().map(|&index| self.place(index)));
    }

    /// The images at sound indices, those that are not held read on all threads.
    pub fn rows(&self, indices: &[u32]) -> Result<Vec<Arc<Row>>> {
        let places: Vec<u32> = indices.iter().map(|&index| self.place(index)).collect();
        match places.len() {
            1 => Ok(vec![self.cache.get(places[0])?]),
            _ => places.par_iter().map(|&place| self.cache.get(place)).collect(),
        }
    }

    /// The pixels of the images at sound indices, one after the other.
    pub fn gather(&self, indices: &[u32]) -> Result<Vec<f32>> {
        let mut pixels = Vec::with_capacity(indices.len() * self.values);
        self.rows(indices)?.iter().for_each(|row| row.append_to(&mut pixels));
        Ok(pixels)
    }

    /// All pixels of `count` images at once, past the cache. Errors where the memory has no room for them.
    pub fn all(&self, count: usize) -> Result<Vec<f32>> {
        let takes = 4 * count as u128 * self.values as u128;
        memory::check(
            takes,
            "a data set that is wanted as a whole",
            "take fewer images, or a machine with more memory",
        )?;
        let mut pixels = vec![0f32; count * self.values];
        let each = pixels.par_chunks_mut(self.values).enumerate().map(|(i, pixels)| {
            match self.cache.read(self.place(i as u32))? {
                Row::Bytes(bytes) => pixels.iter_mut().zip(bytes).for_each(|(x, byte)| *x = of_byte(byte)),
                Row::Floats(floats) => pixels.copy_from_slice(&floats),
            }
            Ok(())
        });
        each.collect::<Result<()>>()?;
        Ok(pixels)
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.cache, &other.cache) && self.picks == other.picks
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("facts", &self.facts).field("picks", &self.picks.is_some()).finish()
    }
}

/// What a sample shows of the values of all; `parts` are what is known of all files.
pub fn facts<'a>(parts: impl Iterator<Item = &'a [u8]>, sample: &Row) -> Facts {
    let mut crc = flate2::Crc::new();
    parts.for_each(|part| crc.update(part));
    let (deviation, range) = match sample {
        Row::Bytes(bytes) => {
            crc.update(bytes);
            (deviation(bytes.iter().map(|&byte| of_byte(byte).into())), [of_byte(0), of_byte(255)])
        }
        Row::Floats(floats) => {
            crc.update(bytemuck::cast_slice(floats));
            let range = floats.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], &x| [a.min(x), b.max(x)]);
            (deviation(floats.iter().map(|&x| x.into())), range)
        }
    };
    Facts { deviation, range, identity: crc.sum() }
}

/// Population standard deviation around the mean.
pub fn deviation(values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let count = values.len() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt()
}
