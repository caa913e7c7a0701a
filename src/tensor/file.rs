//! Named tensors in safetensors files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use super::{DType, Device, Shape, Tensor};
use crate::checksum;
use crate::error::{Error, Result};
use crate::files::{self, write_atomic};

/// The metadata key under which a file states the CRC-32 of all its bytes, with zeros in the place of its eight digits.
const CHECKSUM: &str = "veridical.crc32";

/// A safetensors file in memory: metadata, and tensors by name.
///
/// It is checked as it is opened: header, names, shapes, that the bytes are all there, and, in a file that [`write()`]
/// made, that they are those which were written.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where the first tensor starts.
    data: usize,
    header: Metadata,
}

impl TensorFile {
    /// Reads the file at `path`. Errors on input, on files that are no sound safetensors, and on those whose bytes are
    /// not the ones of their checksum; files of other programs have none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let bytes = files::read(&path)?;
        let (header_len, header) = SafeTensors::read_metadata(&bytes).map_err(|error| {
            let complete =
                || format!("not a sound safetensors file ({error}); it has {} bytes, is it complete?", bytes.len());
            Error::format(&path, something_else(&path, &bytes).unwrap_or_else(complete))
        })?;
        if let checksum::Seal::Broken { .. } = checksum::check(&bytes, &checksum_mark(), header_len + 8) {
            let what = format!(
                "its bytes are not those of its checksum: torn or changed since it was written; take another copy, or, \
                 if the change was meant, remove {CHECKSUM} from its metadata"
            );
            return Err(Error::format(&path, what));
        }
        Ok(TensorFile { path, data: header_len + 8, bytes, header })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// What it says about itself, without its checksum.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let entries = self.header.metadata().iter().flatten();
        entries.filter(|(key, _)| *key != CHECKSUM).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.header.offset_keys();
        names.sort_unstable();
        names
    }

    /// The shape of the tensor called `name`, or none.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|info| info.shape.as_slice())
    }

    /// The dtype of the tensor called `name` as the file calls it, such as `F32`, or none.
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.header.info(name).map(|info| format!("{:?}", info.dtype))
    }

    /// The tensor called `name` in f32 or f64, on `device`; none if there is none. f32, f64, f16 and bf16 are taken.
    ///
    /// Errors on integers, on numbers that are not finite (in the dtype asked for), and if another dtype is asked for.
    pub fn tensor(&self, name: &str, dtype: DType, device: &Device) -> Result<Option<Tensor>> {
        let Some(info) = self.header.info(name) else { return Ok(None) };
        let shape = info.shape.clone();
        match dtype {
            DType::F32 => Tensor::from_slice(&self.values(name, info, |value| value as f32)?, shape, device).map(Some),
            DType::F64 => Tensor::from_slice(&self.values(name, info, |value| value)?, shape, device).map(Some),
            other => Err(Error::dtype("tensor", "f32 or f64", other)),
        }
    }

    /// The values of the tensor called `name` in f32, row by row; none if there is none. Errors as
    /// [`tensor`](Self::tensor).
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        self.header.info(name).map(|info| self.values(name, info, |value| value as f32)).transpose()
    }

    fn values<T: Copy + Into<f64>>(&self, name: &str, info: &TensorInfo, make: impl Fn(f64) -> T) -> Result<Vec<T>> {
        let (first, end) = info.data_offsets;
        let bytes = self.bytes.get(self.data + first..self.data + end).unwrap_or_default();
        let mut bad = None;
        let mut take = |value: f64| {
            let made = make(value);
            if !made.into().is_finite() {
                bad.get_or_insert(value);
            }
            made
        };
        let values = match info.dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| take(f32::from_le_bytes(b).into())).collect(),
            Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| take(f64::from_le_bytes(b))).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|&b| take(bf16::from_le_bytes(b).into())).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|&b| take(f16::from_le_bytes(b).into())).collect(),
            other => {
                let what = format!("{name} has dtype {other:?}, expected a floating-point one");
                return Err(Error::format(&self.path, what));
            }
        };
        match bad {
            Some(bad) => {
                let as_what = if bad.is_finite() { " as f32, too" } else { "" };
                Err(Error::format(&self.path, format!("{name} holds {bad}; every number must be finite{as_what}")))
            }
            None => Ok(values),
        }
    }
}

/// Words on a file that is clearly something else than safetensors, by its first bytes or by what its name ends in.
fn something_else(path: &Path, bytes: &[u8]) -> Option<String> {
    const STARTS: [(&[u8], &str); 9] = [
        (b"\x93NUMPY", "an array of NumPy's (.npy)"),
        (b"PK\x03\x04", "a zip archive, such as .npz"),
        (b"\x1f\x8b", "packed with gzip"),
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"II*\0", "a TIFF picture"),
        (b"MM\0*", "a TIFF picture"),
        (b"SIMPLE  =", "a FITS file"),
        (b"<!DOCTYPE", "a page of HTML"),
    ];
    // Behind eight bytes of length the header begins.
    if bytes.get(8) == Some(&b'{') {
        return None;
    }
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let found = match STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, what)) => format!("it is {what}"),
        None if ending != "safetensors" && !ending.is_empty() => format!("its name ends in .{ending}"),
        None => return None,
    };
    Some(format!("not a model: models and tensors are safetensors files, and {found}"))
}

/// What stands before the checksum in a header.
fn checksum_mark() -> String {
    format!("\"{CHECKSUM}\":\"")
}

/// Writes f32 tensors under their names, in this order, with metadata and a checksum: beside `path` first, then
/// renamed. Equal contents give equal bytes.
///
/// Errors on output, on names that occur twice, and if a shape does not fit its values.
pub fn write<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, Shape, Vec<f32>)>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let mut header = Map::new();
    let mut metadata = metadata.clone();
    metadata.insert(CHECKSUM.into(), checksum::BLANK.into());
    header.insert("__metadata__".into(), json!(metadata));
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, values) in tensors {
        if shape.elements() != values.len() {
            return Err(Error::shape("write", format!("{} values for {name}", shape.elements()), values.len()));
        }
        let first = data.len();
        values.iter().for_each(|value| data.extend(value.to_le_bytes()));
        let entry = json!({ "dtype": "F32", "shape": shape.to_vec(), "data_offsets": [first, data.len()] });
        if name == "__metadata__" || header.insert(name.to_string(), entry).is_some() {
            return Err(Error::argument("write", format!("two tensors called {name}")));
        }
    }
    let mut text = Value::Object(header).to_string();
    // The tensors start on a multiple of 8.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.into_bytes());
    bytes.extend(data);
    checksum::seal(&mut bytes, &checksum_mark());
    write_atomic(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let metadata = BTreeMap::from([("note".to_string(), "\"veridical.crc32\":\"00000000\"".to_string())]);
        write(&path, [("x", [3].into(), vec![1.0, 2.0, 4.0])], &metadata).unwrap();
        assert_eq!(TensorFile::open(&path).unwrap().metadata(), metadata);
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            // In the checksum's own name a change is not seen, and changes nothing else.
            let values = TensorFile::open(&path).and_then(|file| file.floats("x"));
            assert!(!values.is_ok_and(|values| values != Some(vec![1.0, 2.0, 4.0])), "byte {i}");
            std::fs::write(&path, &whole[..i]).unwrap();
            assert!(TensorFile::open(&path).is_err(), "cut at {i}");
        }
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(TensorFile::open(&path).unwrap_err().to_string().contains("torn or changed"));
    }

    #[test]
    fn what_f32_cannot_hold_is_no_f32() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wide.safetensors");
        let bytes: Vec<u8> = [1.0, 1e300].iter().flat_map(|x: &f64| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F64, vec![2], &bytes).unwrap();
        std::fs::write(&path, safetensors::serialize([("x", view)], None).unwrap()).unwrap();
        let file = TensorFile::open(&path).unwrap();
        let error = file.tensor("x", DType::F32, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("finite as f32") && file.floats("x").is_err(), "{error}");
        assert_eq!(file.tensor("x", DType::F64, &Device::Cpu).unwrap().unwrap().to_f64().unwrap(), [1.0, 1e300]);
    }
}
