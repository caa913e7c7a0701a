//! Fixture files: small cases with inputs, outputs and gradients, and the rule by which a result is compared with them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One entry of the metadata key `veridical.cases`.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    pub id: String,
    pub op: String,
    pub params: Map<String, Value>,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// The inputs whose gradient is stored; the others are constants.
    pub grads: Vec<String>,
    /// By precision; without a number there is nothing to compare.
    pub tol: HashMap<String, Option<f64>>,
    /// Where a tensor is a small difference of larger terms: their size, by `out/name` or `grad/name`.
    #[serde(default)]
    pub scale: HashMap<String, f64>,
}

/// A stored tensor, as f64.
#[derive(Debug, Clone)]
pub struct Stored {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
    /// Labels and counts, which stay whole numbers in every precision.
    pub integer: bool,
}

/// What a file holds, by its metadata.
pub enum Kind {
    Cases(Vec<Case>),
    /// A network with its weights: `veridical.model`.
    Model,
    Other,
}

pub struct File {
    pub path: PathBuf,
    pub kind: Kind,
    bytes: Vec<u8>,
}

impl File {
    pub fn read(path: &Path) -> Result<File, String> {
        let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| e.to_string())?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let kind = match metadata.get("veridical.cases") {
            Some(cases) => Kind::Cases(serde_json::from_str(cases).map_err(|e| e.to_string())?),
            None if metadata.contains_key("veridical.model") => Kind::Model,
            None => Kind::Other,
        };
        Ok(File { path: path.to_path_buf(), kind, bytes })
    }

    /// The tensors by name.
    pub fn tensors(&self) -> Result<SafeTensors<'_>, String> {
        SafeTensors::deserialize(&self.bytes).map_err(|e| e.to_string())
    }
}

/// The tensor called `name`, or none.
pub fn stored(tensors: &SafeTensors, name: &str) -> Option<Stored> {
    let view = tensors.tensor(name).ok()?;
    let bytes = view.data();
    let words = || bytes.as_chunks::<8>().0.iter();
    let (data, integer) = match view.dtype() {
        Dtype::F64 => (words().map(|&b| f64::from_le_bytes(b)).collect(), false),
        Dtype::I64 => (words().map(|&b| i64::from_le_bytes(b) as f64).collect(), true),
        Dtype::F32 => (bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(), false),
        _ => return None,
    };
    Some(Stored { shape: view.shape().to_vec(), data, integer })
}

/// Every fixture file of a folder, by name.
pub fn files(folder: &Path) -> Vec<File> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    let read = |path: &PathBuf| File::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    paths.iter().map(read).collect()
}

/// What is smaller is rounding of the references themselves, which are computed in f64 from numbers around 1.
const NOISE: f64 = 1e-13;

/// `max |got - expected| <= tolerance * max(max |expected|, scale)` over the finite entries; the others must be equal.
pub fn compare(got: &[f64], expected: &[f64], tolerance: f64, scale: f64) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{} elements, expected {}", got.len(), expected.len()));
    }
    let finite = || expected.iter().enumerate().filter(|(_, x)| x.is_finite());
    let largest = finite().fold(scale, |largest, (_, x)| largest.max(x.abs()));
    let allowed = (tolerance * largest).max(NOISE);
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let off = (got - expected).abs();
        let fits = match expected.is_finite() {
            true => off <= allowed,
            false => got == expected || got.is_nan() && expected.is_nan(),
        };
        if !fits {
            return Err(format!("element {i} is {got}, expected {expected} (off by {off:.2e}, allowed {allowed:.2e})"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn the_rule_can_fail() {
        assert!(compare(&[1.0, 2.0], &[1.0, 2.0], 0.0, 0.0).is_ok());
        assert!(compare(&[1.0, 2.1], &[1.0, 2.0], 1e-2, 0.0).is_err());
        assert!(compare(&[1.0, 2.1], &[1.0, 2.0], 1e-2, 20.0).is_ok());
        assert!(compare(&[f64::NAN], &[1.0], 1.0, 1.0).is_err());
        assert!(compare(&[1e9], &[f64::INFINITY], 1.0, 1.0).is_err());
        assert!(compare(&[f64::NEG_INFINITY], &[f64::NEG_INFINITY], 0.0, 0.0).is_ok());
        assert!(compare(&[1.0], &[1.0, 1.0], 1.0, 1.0).is_err());
        assert!(compare(&[1e-9], &[0.0], 1e-5, 0.0).is_err());
    }
}
