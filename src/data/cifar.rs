//! CIFAR's binary version: records of one label (CIFAR-10) or two (CIFAR-100: coarse, fine) and 3 planes of 32 by 32
//! bytes.
//!
//! A. Krizhevsky, *Learning multiple layers of features from tiny images* (2009).

use std::path::Path;

use super::source;
use crate::{Error, Result};

const PLANE: usize = 32 * 32;
const IMAGE: usize = 3 * PLANE;

/// Records of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records {
    /// `[n, 32, 32, 3]`.
    pub pixels: Vec<u8>,
    /// The (fine) labels.
    pub labels: Vec<u32>,
    /// 10 or 100.
    pub classes: usize,
}

/// Reads a file of CIFAR-10 or CIFAR-100, packed or not; which of the two is told by its length and its labels.
///
/// Errors if the length is no whole number of records or more than 16 GiB, or a label is out of range.
pub fn read(path: impl AsRef<Path>) -> Result<Records> {
    read_within(path.as_ref(), source::MAX_BYTES)
}

fn read_within(path: &Path, limit: u64) -> Result<Records> {
    let bytes = source::all(path, &mut source::open(path)?, limit)?;
    let whole = |labels: usize| !bytes.is_empty() && bytes.len().is_multiple_of(labels + IMAGE);
    let below = |labels: usize, classes: u8| bytes.chunks(labels + IMAGE).all(|record| record[labels - 1] < classes);
    let (labels, classes) = match () {
        () if whole(1) && below(1, 10) => (1, 10),
        () if whole(2) && below(2, 100) => (2, 100),
        () if whole(1) => return Err(out_of_range(path, &bytes, 1, 10)),
        () if whole(2) => return Err(out_of_range(path, &bytes, 2, 100)),
        () => {
            let what = format!(
                "{} bytes are not a whole number of CIFAR records ({} bytes each, or {} for CIFAR-100)",
                bytes.len(),
                1 + IMAGE,
                2 + IMAGE
            );
            return Err(Error::format(path, what));
        }
    };
    let mut records = Records { classes, ..Records::default() };
    records.pixels.reserve_exact(bytes.len() / (labels + IMAGE) * IMAGE);
    for record in bytes.chunks_exact(labels + IMAGE) {
        let (label, planes) = record.split_at(labels);
        records.labels.push(u32::from(label[labels - 1]));
        records.pixels.extend((0..PLANE).flat_map(|i| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]]));
    }
    Ok(records)
}

fn out_of_range(path: &Path, bytes: &[u8], labels: usize, classes: u32) -> Error {
    let label = |record: &[u8]| u32::from(record[labels - 1]);
    let found = bytes.chunks_exact(labels + IMAGE).enumerate().find(|(_, record)| label(record) >= classes);
    let (at, label) = found.map_or((0, 0), |(at, record)| (at, label(record)));
    Error::format(path, format!("record {at} has label {label}, expected 0 to {}: not a CIFAR file", classes - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_limit_is_not_cut_in_silence() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![3; 2 * (1 + IMAGE)]).unwrap();
        let whole = 2 * (1 + IMAGE) as u64;
        assert_eq!(read_within(file.path(), whole).unwrap().labels, [3, 3]);
        // A limit on the edge of a record leaves a whole number of them.
        for limit in [whole / 2, whole - 1] {
            let error = read_within(file.path(), limit).unwrap_err().to_string();
            assert!(error.contains(&format!("more than the {limit} bytes")), "{error}");
        }
    }
}
