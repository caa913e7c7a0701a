//! NumPy's files: `.npy` holds one array, `.npz` several by name.
//!
//! Format: NumPy Enhancement Proposal 1. Numbers of any width are read, in either byte order, rows or columns first;
//! objects and structures are not.

#[cfg(feature = "formats")]
mod archive;
mod header;
mod rows;

use std::io::Read;
use std::path::Path;

#[cfg(feature = "formats")]
pub(super) use archive::{ADM, Archive};
#[cfg(feature = "formats")]
pub use archive::{read_npz, read_npz_members, write_images, write_npz};
use header::Header;
pub(super) use header::{Kind, Type};
pub(super) use rows::{NpyRows, Rows};

use super::source;
use crate::files::write_atomic;
use crate::tensor::{DType, Device, Tensor};
use crate::{Error, Result};

/// An array on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extents; none for a single number.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub values: Values,
}

/// Numbers, in the types that the crate works with; other types of the file are widened to the next of these.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Bytes, and truth values as 0 and 1.
    U8(Vec<u8>),
    /// All other integers.
    I64(Vec<i64>),
    /// 16- and 32-bit floating-point numbers.
    F32(Vec<f32>),
    /// 64-bit floating-point numbers.
    F64(Vec<f64>),
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::U8(v) => v.len(),
            Values::I64(v) => v.len(),
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
        }
    }

    /// Puts more of the same type behind these. Errors, in words, on another type.
    pub(super) fn append(&mut self, more: Values) -> Result<(), String> {
        match (self, more) {
            (Values::U8(all), Values::U8(more)) => all.extend(more),
            (Values::I64(all), Values::I64(more)) => all.extend(more),
            (Values::F32(all), Values::F32(more)) => all.extend(more),
            (Values::F64(all), Values::F64(more)) => all.extend(more),
            _ => return Err("numbers of another kind than the first".into()),
        }
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Array {
    /// The array of a tensor: f32, f64, bf16 (as f32) or u32 (as 64-bit integers).
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let values = match tensor.dtype() {
            DType::F64 => Values::F64(tensor.to_vec()?),
            DType::F32 => Values::F32(tensor.to_vec()?),
            DType::U32 => Values::I64(tensor.to_vec::<u32>()?.into_iter().map(i64::from).collect()),
            DType::BF16 => Values::F32(tensor.to_f64()?.into_iter().map(|x| x as f32).collect()),
        };
        Ok(Array { shape: tensor.shape().to_vec(), values })
    }

    /// The numbers as f32, rounded where they have more digits.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.values {
            Values::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Values::I64(v) => v.iter().map(|&x| x as f32).collect(),
            Values::F32(v) => v.clone(),
            Values::F64(v) => v.iter().map(|&x| x as f32).collect(),
        }
    }

    /// The numbers as f64.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.values {
            Values::U8(v) => v.iter().map(|&x| x.into()).collect(),
            Values::I64(v) => v.iter().map(|&x| x as f64).collect(),
            Values::F32(v) => v.iter().map(|&x| x.into()).collect(),
            Values::F64(v) => v.clone(),
        }
    }

    /// Whole numbers from 0 on, such as labels. Errors on others.
    pub fn to_labels(&self) -> Result<Vec<u32>> {
        let whole = |x: f64| (x >= 0.0 && x <= f64::from(u32::MAX) && x.fract() == 0.0).then_some(x as u32);
        let labels: Option<Vec<u32>> = self.to_f64().into_iter().map(whole).collect();
        labels.ok_or_else(|| Error::argument("labels", "an array with numbers that are not whole or below 0"))
    }

    /// A tensor of the same shape: f64 stays f64 on the CPU, integers become u32, everything else f32.
    pub fn tensor(&self, device: &Device) -> Result<Tensor> {
        let shape = self.shape.clone();
        match (&self.values, device) {
            (Values::F64(v), Device::Cpu) => Tensor::from_slice(v, shape, device),
            (Values::I64(_), _) => Tensor::from_slice(&self.to_labels()?, shape, device),
            _ => Tensor::from_slice(&self.to_f32(), shape, device),
        }
    }

    /// The bytes of a `.npy` file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        if self.shape.iter().try_fold(1usize, |n, &e| n.checked_mul(e)) != Some(self.values.len()) {
            return Err(Error::shape("npy", format!("{} values", self.values.len()), format!("{:?}", self.shape)));
        }
        let (descr, body): (&str, Vec<u8>) = match &self.values {
            Values::U8(v) => ("|u1", v.clone()),
            Values::I64(v) => ("<i8", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Values::F32(v) => ("<f4", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Values::F64(v) => ("<f8", v.iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        let mut bytes = header::write(descr, &self.shape);
        bytes.extend(body);
        Ok(bytes)
    }
}

/// Reads a `.npy` file, packed with gzip or not.
///
/// Errors with the field that is wrong, and if the file is shorter or longer than its header says.
pub fn read(path: impl AsRef<Path>) -> Result<Array> {
    let path = path.as_ref();
    Ok(typed(path)?.0)
}

/// Writes a `.npy` file, whole or not at all.
pub fn write(path: impl AsRef<Path>, array: &Array) -> Result<()> {
    write_atomic(path, &array.to_bytes()?)
}

/// An array with the type that its numbers have in the file: see [`Values`] for what becomes of it.
pub(super) fn typed(path: &Path) -> Result<(Array, Type)> {
    array(path, "", &mut source::open(path)?, &mut { source::MAX_BYTES })
}

/// The same of the bytes of a file, which messages call `path` and `member`.
pub(super) fn of_bytes(path: &Path, member: &str, mut bytes: &[u8]) -> Result<(Array, Type)> {
    array(path, member, &mut bytes, &mut { source::MAX_BYTES })
}

/// Reads up to the numbers; `length` of the result is where these begin.
fn head(path: &Path, member: &str, file: &mut dyn Read) -> Result<(Header, u64)> {
    let at = |what: String| Error::format(path, format!("{member}{what}"));
    let head = format!("{member}the .npy header");
    let mut start = [0; 10];
    source::fill(path, file, &mut start[..6], &head)?;
    if start[..6] != *b"\x93NUMPY" {
        return Err(at(format!("not a .npy file: starts with {:02x?}, not as .npy files do", &start[..6])));
    }
    source::fill(path, file, &mut start[6..], &head)?;
    let (length, before) = match start[6] {
        1 => (u64::from(u16::from_le_bytes([start[8], start[9]])), 10),
        2 | 3 => {
            let mut high = [0; 2];
            source::fill(path, file, &mut high, &head)?;
            (u64::from(u32::from_le_bytes([start[8], start[9], high[0], high[1]])), 12)
        }
        other => return Err(at(format!("version {other} of the .npy format, expected 1 to 3"))),
    };
    if length > header::MAX_BYTES {
        return Err(at(format!("a header of {length} bytes; the file is damaged")));
    }
    let mut text = vec![0; length as usize];
    source::fill(path, file, &mut text, &head)?;
    Ok((header::parse(&text).map_err(at)?, before + length))
}

/// `left` is what the array may take in memory, and is less by that afterwards.
fn array(path: &Path, member: &str, file: &mut dyn Read, left: &mut u64) -> Result<(Array, Type)> {
    let at = |what: String| Error::format(path, format!("{member}{what}"));
    let (header, _) = head(path, member, file)?;
    let Header { numbers, columns_first, shape, .. } = &header;
    let count = header.count().filter(|&count| count <= source::MAX_BYTES);
    let count = count.ok_or_else(|| at(format!("shape {shape:?}; the file is damaged")))?;
    // As in the file, and as held: see `Values`.
    let held = match (numbers.kind, numbers.width) {
        (Kind::Bool | Kind::Unsigned, 1) => 1,
        (Kind::Float, 2 | 4) => 4,
        _ => 8,
    };
    let takes = count * held.max(numbers.width) as u64;
    *left = left.checked_sub(takes).ok_or_else(|| {
        let limit = source::MAX_BYTES;
        at(format!("an array {shape:?} takes {takes} bytes, but {left} are left of the {limit} that a file may take"))
    })?;
    let bytes = source::exactly(path, file, count * numbers.width as u64, &format!("{member}an array {shape:?}"))?;
    let values = values(bytes, *numbers, header.big_endian).map_err(at)?;
    let values = if *columns_first { rows_first(values, shape) } else { values };
    Ok((Array { values, shape: header.shape }, header.numbers))
}

/// The numbers that are written in these bytes.
pub(super) fn values(mut bytes: Vec<u8>, Type { kind, width }: Type, big_endian: bool) -> Result<Values, String> {
    if big_endian && width > 1 {
        bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    Ok(match (kind, width) {
        (Kind::Bool, 1) => Values::U8(bytes.into_iter().map(|b| u8::from(b != 0)).collect()),
        (Kind::Unsigned, 1) => Values::U8(bytes),
        (Kind::Unsigned, 2) => Values::I64(bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b).into()).collect()),
        (Kind::Unsigned, 4) => Values::I64(bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b).into()).collect()),
        (Kind::Unsigned, 8) => {
            let widened: Option<Vec<i64>> =
                bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b).try_into().ok()).collect();
            Values::I64(widened.ok_or("whole numbers beyond 2^63")?)
        }
        (Kind::Signed, 1) => Values::I64(bytes.iter().map(|&b| (b as i8).into()).collect()),
        (Kind::Signed, 2) => Values::I64(bytes.as_chunks().0.iter().map(|&b| i16::from_le_bytes(b).into()).collect()),
        (Kind::Signed, 4) => Values::I64(bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect()),
        (Kind::Signed, 8) => Values::I64(bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
        (Kind::Float, 2) => {
            Values::F32(bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect())
        }
        (Kind::Float, 4) => Values::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        (Kind::Float, 8) => Values::F64(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
        (_, width) => return Err(format!("numbers of {width} bytes, which are not read")),
    })
}

/// From Fortran's order to C's.
fn rows_first(values: Values, shape: &[usize]) -> Values {
    fn reorder<T: Copy>(v: &[T], shape: &[usize]) -> Vec<T> {
        let strides: Vec<usize> = shape
            .iter()
            .scan(1, |stride, &extent| {
                let this = *stride;
                *stride *= extent;
                Some(this)
            })
            .collect();
        let mut index = vec![0; shape.len()];
        let mut out = Vec::with_capacity(v.len());
        for _ in 0..v.len() {
            out.push(v[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        out
    }
    match values {
        Values::U8(v) => Values::U8(reorder(&v, shape)),
        Values::I64(v) => Values::I64(reorder(&v, shape)),
        Values::F32(v) => Values::F32(reorder(&v, shape)),
        Values::F64(v) => Values::F64(reorder(&v, shape)),
    }
}
