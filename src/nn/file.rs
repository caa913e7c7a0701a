//! Weights in and out: safetensors, with the names and axis orders of the public EDM code.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::layout::{Entry, FileForm, Init, Layout};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::tensor::Device;

/// Writes `weights` and `metadata` to `path`: beside it first, then renamed. Errors on input or output.
pub fn save(path: impl AsRef<Path>, weights: &Weights, metadata: &BTreeMap<String, String>) -> Result<()> {
    let path = path.as_ref();
    let mut tensors = Vec::new();
    for entry in weights.layout().entries() {
        let values = permute(entry, &weights.view(entry)?.to_vec::<f32>()?, Direction::ToFile);
        tensors.push((
            entry.name.clone(),
            Owned { shape: file_shape(entry), bytes: bytemuck::cast_slice(&values).to_vec() },
        ));
    }
    let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
    let bytes =
        safetensors::serialize(tensors, Some(metadata)).map_err(|error| Error::format(path, error.to_string()))?;
    write_atomic(path, &bytes)
}

/// Reads the values of `layout` from `path`, and the file's metadata.
///
/// f32, f16, bf16 and f64 tensors are taken. Errors with the whole list if tensors are missing, unexpected or of another
/// shape, if a fixed buffer differs from the architecture's, on numbers that are not finite, and on files that are no
/// sound safetensors. A reader that only wants the metadata uses [`metadata`].
pub fn load(path: impl AsRef<Path>, layout: &Arc<Layout>, device: &Device) -> Result<Weights> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| unsound(path, &bytes, error))?;
    check_names(path, layout, &tensors)?;
    let mut values = Vec::with_capacity(layout.entries().len());
    for entry in layout.entries() {
        let view = tensors.tensor(&entry.name).map_err(|error| unsound(path, &bytes, error))?;
        let file = floats(path, &entry.name, &view)?;
        if let Some(bad) = file.iter().find(|value| !value.is_finite()) {
            return Err(Error::format(
                path,
                format!("{} holds {bad}; the weights are damaged or diverged", entry.name),
            ));
        }
        if let Init::Fixed(expected) = &entry.init
            && file.iter().zip(expected).any(|(a, b)| (a - b).abs() > 1e-5 * b.abs().max(1.0))
        {
            return Err(Error::format(path, format!("{} differs from what the configuration says", entry.name)));
        }
        values.push(permute(entry, &file, Direction::FromFile));
    }
    Weights::from_values(layout, &values, device)
}

/// The metadata of the safetensors file at `path`. Errors on input or output and on files that are no sound safetensors.
pub fn metadata(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| unsound(path, &bytes, error))?;
    Ok(metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn unsound(path: &Path, bytes: &[u8], error: safetensors::SafeTensorError) -> Error {
    let what = format!("not a sound safetensors file ({error}); it has {} bytes, is it complete?", bytes.len());
    Error::format(path, what)
}

fn check_names(path: &Path, layout: &Layout, tensors: &SafeTensors) -> Result<()> {
    let mut problems = Vec::new();
    for entry in layout.entries() {
        match tensors.tensor(&entry.name) {
            Err(_) => problems.push(format!("missing {}", entry.name)),
            Ok(view) if view.shape() != file_shape(entry) => {
                problems.push(format!("{} is {:?}, expected {:?}", entry.name, view.shape(), file_shape(entry)));
            }
            Ok(_) => {}
        }
    }
    let known: std::collections::HashSet<&str> = layout.entries().iter().map(|entry| entry.name.as_str()).collect();
    let mut unexpected: Vec<&str> = tensors.names().into_iter().filter(|name| !known.contains(name)).collect();
    unexpected.sort_unstable();
    problems.extend(unexpected.into_iter().map(|name| format!("unexpected {name}")));
    if problems.is_empty() {
        return Ok(());
    }
    const SHOWN: usize = 8;
    let more = problems.len().saturating_sub(SHOWN);
    let mut text = problems[..problems.len() - more].join("; ");
    if more > 0 {
        text += &format!("; and {more} more");
    }
    Err(Error::format(path, format!("does not hold the tensors of this network: {text}")))
}

fn floats(path: &Path, name: &str, view: &TensorView) -> Result<Vec<f32>> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|&b| half::bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect(),
        other => return Err(Error::format(path, format!("{name} has dtype {other:?}, expected a floating-point one"))),
    })
}

fn file_shape(entry: &Entry) -> Vec<usize> {
    let dims = entry.shape.to_vec();
    match (entry.form, dims.as_slice()) {
        (FileForm::Convolution, &[out, kh, kw, input]) => vec![out, input, kh, kw],
        (FileForm::Pointwise | FileForm::QueryKeyValue, &[out, input]) => vec![out, input, 1, 1],
        _ => dims,
    }
}

#[derive(Clone, Copy)]
enum Direction {
    ToFile,
    FromFile,
}

/// The values in the other order.
fn permute(entry: &Entry, values: &[f32], direction: Direction) -> Vec<f32> {
    let place: Box<dyn Fn(usize) -> usize> = match (entry.form, &entry.shape[..]) {
        (FileForm::Convolution, &[_, kh, kw, input]) => Box::new(move |memory| {
            let (tap, i) = (memory / input, memory % input);
            let (o, y, x) = (tap / kw / kh, tap / kw % kh, tap % kw);
            ((o * input + i) * kh + y) * kw + x
        }),
        (FileForm::QueryKeyValue, &[rows, input]) => Box::new(move |memory| {
            let (row, i) = (memory / input, memory % input);
            interleaved(row, rows / 3) * input + i
        }),
        (FileForm::QueryKeyValueBias, &[rows]) => Box::new(move |memory| interleaved(memory, rows / 3)),
        _ => return values.to_vec(),
    };
    let mut out = vec![0.0; values.len()];
    for memory in 0..values.len() {
        match direction {
            Direction::ToFile => out[place(memory)] = values[memory],
            Direction::FromFile => out[memory] = values[place(memory)],
        }
    }
    out
}

/// The file's row for row `{q, k, v} * channels + c`.
fn interleaved(row: usize, channels: usize) -> usize {
    3 * (row % channels) + row / channels
}

struct Owned {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl safetensors::View for Owned {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
