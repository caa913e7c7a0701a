//! Many tensors into one flat buffer.

mod cpu;
mod gpu;

use super::{check_same_device, on};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

const OP: &str = "flatten";

/// Writes the elements of each part into `flat` `[n]`, in place, from the part's offset on; with `add`, adds them to
/// what is there.
///
/// So the gradients of all parameters become one buffer, which the norm, the optimiser and a sum over micro-batches
/// handle in one go. `flat` is f32 with parts in f32 or bf16, or f64 with parts in f64 (CPU). Elements that no part
/// covers stay as they are.
///
/// Errors if a part does not fit into `flat`, if parts overlap, or on other dtypes.
pub fn flatten(flat: &mut Tensor, parts: &[(usize, &Tensor)], add: bool) -> Result<()> {
    let [n] = flat.shape().dims(OP, "a flat buffer [n]")?;
    let mut spans = Vec::with_capacity(parts.len());
    for &(offset, part) in parts {
        check_same_device(OP, flat, part)?;
        let fits = match flat.dtype() {
            DType::F32 => matches!(part.dtype(), DType::F32 | DType::BF16),
            DType::F64 => part.dtype() == DType::F64,
            other => return Err(Error::dtype(OP, "an f32 (or, on the CPU, f64) buffer", other)),
        };
        if !fits {
            return Err(Error::dtype(OP, format!("parts that fit {}", flat.dtype()), part.dtype()));
        }
        match offset.checked_add(part.len()) {
            Some(end) if end <= n => spans.push((offset, end)),
            _ => return Err(Error::shape(OP, format!("room in [{n}] from {offset} on"), part.shape())),
        }
    }
    spans.retain(|(start, end)| start < end);
    spans.sort_unstable();
    if let Some(pair) = spans.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(Error::argument(OP, format!("parts at {} and {} overlap", pair[0].0, pair[1].0)));
    }
    let parts: Vec<(usize, &Tensor)> = parts.iter().copied().filter(|(_, part)| !part.is_empty()).collect();
    if parts.is_empty() {
        return Ok(());
    }
    on!(flat.device(), write(flat, &parts, add))
}
