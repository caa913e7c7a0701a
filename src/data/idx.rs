//! IDX files, the form of MNIST and its likes: packed with gzip or not.
//!
//! Two zero bytes, the type (8: unsigned bytes, the only one that image sets use), the number of extents, the extents
//! as big-endian 32-bit numbers, then the values (Y. LeCun, C. Cortes, C. Burges, *The MNIST database*).

use std::path::Path;

use super::source;
use crate::{Error, Result};

/// An array of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// Extents, at least one.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<u8>,
}

/// Reads a file, packed or not.
///
/// Errors with what is wrong if it is not IDX of bytes, or shorter or longer than its header says.
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let mut file = source::open(path)?;
    let mut magic = [0; 4];
    source::fill(path, &mut file, &mut magic, "the magic number")?;
    let axes = match magic {
        [0, 0, 8, axes @ 1..=4] => usize::from(axes),
        [0, 0, 8, axes] => return Err(Error::format(path, format!("{axes} extents, expected 1 to 4"))),
        [0, 0, kind @ (9 | 11 | 12 | 13 | 14), _] => {
            return Err(Error::format(path, format!("IDX values of type {kind:#04x}, expected bytes (0x08)")));
        }
        _ => {
            let what = format!("starts with {magic:02x?}, which is not IDX (00 00 08 and the number of extents)");
            return Err(Error::format(path, what));
        }
    };
    let mut extents = vec![0; 4 * axes];
    source::fill(path, &mut file, &mut extents, "the extents")?;
    let shape: Vec<usize> = extents.as_chunks().0.iter().map(|&e| u32::from_be_bytes(e) as usize).collect();
    let count = shape.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent as u64));
    let count = count.ok_or_else(|| Error::format(path, format!("extents {shape:?}; the file is damaged")))?;
    let values = source::exactly(path, &mut file, count, &format!("an array {shape:?}"))?;
    Ok(Idx { shape, values })
}

/// Images `[n, height, width]` or `[n, height, width, channels]`: their bytes and `[height, width, channels]`.
pub(super) fn images(path: &Path) -> Result<(Vec<u8>, [usize; 3])> {
    let idx = read(path)?;
    let size = match idx.shape[..] {
        [_, h, w] => [h, w, 1],
        [_, h, w, c] => [h, w, c],
        _ => return Err(Error::format(path, format!("extents {:?}, expected images [n, height, width]", idx.shape))),
    };
    if idx.values.is_empty() {
        return Err(Error::format(path, format!("no images: extents {:?}", idx.shape)));
    }
    Ok((idx.values, size))
}

/// Labels `[n]`.
pub(super) fn labels(path: &Path) -> Result<Vec<u32>> {
    let idx = read(path)?;
    match idx.shape[..] {
        [_] => Ok(idx.values.into_iter().map(u32::from).collect()),
        _ => Err(Error::format(path, format!("extents {:?}, expected labels [n]", idx.shape))),
    }
}
