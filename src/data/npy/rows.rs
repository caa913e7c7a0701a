//! Arrays of which rows are read when they are wanted.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::header::{Header, Kind, Type};
use super::{Values, head, values};
use crate::{Error, Result, files};

/// An array in a file, of which one row after the other can be had.
pub trait Rows: Send + Sync {
    /// The file.
    fn path(&self) -> &Path;
    /// Extents, the number of rows first.
    fn shape(&self) -> &[usize];
    /// What its numbers are in the file.
    fn numbers(&self) -> Type;
    /// Bytes of the file.
    fn length(&self) -> Result<u64> {
        files::length(self.path())
    }
    /// The numbers of a row. Errors where the file does not give them.
    fn read(&self, index: u32) -> Result<Values>;
}

/// A `.npy` file, row after row.
#[derive(Debug)]
pub struct NpyRows {
    path: PathBuf,
    file: Mutex<File>,
    header: Header,
    /// Where the first row begins, and how many bytes each has.
    first: u64,
    row: usize,
}

impl NpyRows {
    /// The rows of a file that would take more than `limit` bytes in memory; `None` of a smaller one, and where rows
    /// do not lie in one piece: in files that are packed or have columns first.
    ///
    /// Errors on a header that is not sound, and on files that are shorter or longer than it says.
    pub fn larger_than(path: &Path, limit: u64) -> Result<Option<Self>> {
        let mut file = files::open(path)?;
        let length = files::length(path)?;
        let mut magic = [0; 2];
        if length < 10 || file.read_exact(&mut magic).is_err() || magic == [0x1f, 0x8b] {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::io(path, e))?;
        let (header, first) = head(path, "", &mut file)?;
        let Header { numbers: Type { kind, width }, columns_first, shape, .. } = &header;
        let held = if *width == 1 && matches!(kind, Kind::Bool | Kind::Unsigned) { 1 } else { 4 };
        let takes = header.count().map(|count| u128::from(count) * held);
        let small = takes.is_none_or(|takes| takes <= u128::from(limit));
        if small || *columns_first || shape.len() < 2 || u32::try_from(shape[0]).is_err() {
            return Ok(None);
        }
        let row = shape[1..].iter().product::<usize>() * width;
        let (expected, found) = (row as u128 * shape[0] as u128, u128::from(length.saturating_sub(first)));
        if expected != found {
            let what = if found < expected { "the file is cut short" } else { "more follows" };
            return Err(Error::format(
                path,
                format!("an array {shape:?} takes {expected} bytes, found {found}: {what}"),
            ));
        }
        Ok(Some(NpyRows { path: path.into(), file: Mutex::new(file), header, first, row }))
    }
}

impl Rows for NpyRows {
    fn path(&self) -> &Path {
        &self.path
    }

    fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    fn numbers(&self) -> Type {
        self.header.numbers
    }

    fn read(&self, index: u32) -> Result<Values> {
        let mut bytes = vec![0; self.row];
        let start = self.first + u64::from(index) * self.row as u64;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        drop(file);
        read.map_err(|e| Error::io(&self.path, e))?;
        values(bytes, self.header.numbers, self.header.big_endian).map_err(|what| Error::format(&self.path, what))
    }
}
