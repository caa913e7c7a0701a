//! Weights in and out: safetensors, with the names and axis orders of the public EDM code.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::form::FileForm;
use super::layout::{Entry, Init, Layout};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::escape::escaped;
use crate::tensor::{Device, TensorFile, file};

/// Writes `weights` and `metadata` to `path`: beside it first, then renamed. Errors on input or output.
pub fn save(path: impl AsRef<Path>, weights: &Weights, metadata: &BTreeMap<String, String>) -> Result<()> {
    let entries = weights.layout().entries();
    let mut tensors = Vec::with_capacity(entries.len());
    for entry in entries {
        let values = permute(entry, &weights.view(entry)?.to_vec::<f32>()?, Direction::ToFile);
        tensors.push((entry.name.as_str(), file_shape(entry).into(), values));
    }
    file::write(path, tensors, metadata)
}

/// Reads the values of `layout` from the file at `path`; see [`load_from`].
pub fn load(path: impl AsRef<Path>, layout: &Arc<Layout>, device: &Device) -> Result<Weights> {
    load_from(&TensorFile::open(path)?, layout, device)
}

/// Reads the values of `layout` from `file`.
///
/// f32, f16, bf16 and f64 tensors are taken. Errors where [`check`] does, if a fixed buffer differs from the
/// architecture's, and on numbers that are not finite.
pub fn load_from(file: &TensorFile, layout: &Arc<Layout>, device: &Device) -> Result<Weights> {
    layout.check()?;
    check(file, layout)?;
    let mut values = Vec::with_capacity(layout.entries().len());
    for entry in layout.entries() {
        let stored = file.floats(&entry.name)?.unwrap_or_default();
        if let Init::Fixed(expected) = &entry.init
            && stored.iter().zip(expected).any(|(a, b)| (a - b).abs() > 1e-5 * b.abs().max(1.0))
        {
            return Err(Error::format(file.path(), format!("{} differs from what the configuration says", entry.name)));
        }
        values.push(permute(entry, &stored, Direction::FromFile));
    }
    Weights::from_values(layout, &values, device)
}

/// The metadata of the safetensors file at `path`. Errors on input or output and on files that are no sound
/// safetensors.
pub fn metadata(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>> {
    Ok(TensorFile::open(path)?.metadata())
}

/// Errors with the name and shape of every tensor of `layout` that `file` lacks or has in another shape, and of every
/// one that it has besides.
pub fn check(file: &TensorFile, layout: &Layout) -> Result<()> {
    let mut problems = Vec::new();
    for entry in layout.entries() {
        let (name, expected) = (&entry.name, file_shape(entry));
        match file.shape(name) {
            None => problems.push(format!("missing {name} {expected:?}")),
            Some(shape) if shape != expected => problems.push(format!("{name} is {shape:?}, expected {expected:?}")),
            Some(_) => {}
        }
    }
    let known: HashSet<&str> = layout.entries().iter().map(|entry| entry.name.as_str()).collect();
    for name in file.names().iter().filter(|name| !known.contains(name.as_str())) {
        problems.push(format!("unexpected {} {:?}", escaped(name), file.shape(name).unwrap_or_default()));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let what = format!("does not hold the tensors of this network:\n  {}", problems.join("\n  "));
    Err(Error::format(file.path(), what))
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
