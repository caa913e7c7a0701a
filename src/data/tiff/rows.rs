//! Stacks that are larger than the memory, page by page.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tiff::decoder::Decoder;

use super::{Type, Values, channels, numbers, words};
use crate::data::npy::Rows;
use crate::{Error, Result, files};

/// A stack as an array `[n, h, w]` or `[n, h, w, c]`.
pub struct Pages {
    path: PathBuf,
    decoder: Mutex<Decoder<BufReader<File>>>,
    shape: Vec<usize>,
    kind: Type,
}

impl Pages {
    /// The pages of a file that would take more than `limit` bytes in memory; `None` of a smaller one.
    ///
    /// Errors on files that are damaged, and on pages of different sizes.
    pub fn larger_than(path: &Path, limit: u64) -> Result<Option<Self>> {
        // Nothing that is packed so well is a stack of measurements.
        const PACKED: u64 = 64;
        let at = |page: usize, what: String| Error::format(path, format!("page {page} (counted from 0): {what}"));
        if files::length(path)?.saturating_mul(PACKED) <= limit {
            return Ok(None);
        }
        let file = BufReader::new(files::open(path)?);
        let mut decoder = Decoder::new(file).map_err(|e| at(0, words(&e)))?;
        let kind = numbers(decoder.read_image().map_err(|e| at(0, words(&e)))?).1;
        let (mut count, mut first) = (0, None);
        loop {
            let size = size(&mut decoder).map_err(|what| at(count, what))?;
            match *first.get_or_insert(size) {
                first if first != size => {
                    return Err(at(count, format!("{size:?} (height, width, channels), but the first is {first:?}")));
                }
                _ => count += 1,
            }
            if !decoder.more_images() {
                break;
            }
            decoder.next_image().map_err(|e| at(count, words(&e)))?;
        }
        let [h, w, c] = first.unwrap_or_default();
        let shape = if c == 1 { vec![count, h, w] } else { vec![count, h, w, c] };
        let held = if kind.width == 1 { 1 } else { 4 };
        match shape.iter().map(|&extent| extent as u128).product::<u128>() * held > u128::from(limit) {
            true => Ok(Some(Pages { path: path.into(), decoder: Mutex::new(decoder), shape, kind })),
            false => Ok(None),
        }
    }

    fn page(&self, index: u32) -> Result<Values, String> {
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        decoder.seek_to_image(index as usize).map_err(|e| words(&e))?;
        let (values, kind) = numbers(decoder.read_image().map_err(|e| words(&e))?);
        match kind == self.kind {
            true => Ok(values),
            false => Err(format!("numbers of {kind}, but the first has {}", self.kind)),
        }
    }
}

/// `[height, width, channels]` of the page that the decoder is at.
fn size(decoder: &mut Decoder<BufReader<File>>) -> Result<[usize; 3], String> {
    let (width, height) = decoder.dimensions().map_err(|e| words(&e))?;
    let colour = decoder.colortype().map_err(|e| words(&e))?;
    Ok([height as usize, width as usize, channels(colour)?])
}

impl Rows for Pages {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn numbers(&self) -> Type {
        self.kind
    }

    fn read(&self, index: u32) -> Result<Values> {
        self.page(index).map_err(|what| Error::format(&self.path, format!("page {index} (counted from 0): {what}")))
    }
}
