//! Running averages of weights, in place.

mod cpu;
mod gpu;

use super::{check_alike, on};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

const OP: &str = "average";

/// `average <- beta average + (1 - beta) weights`, in place; `beta = 0` copies. [`adam`](super::adam()) does the same
/// for one average on its way; this is for further ones.
///
/// Both f32 (or f64 on the CPU) and of one shape. Errors if they are not, or unless `beta` is in `[0, 1]`.
pub fn average(average: &mut Tensor, weights: &Tensor, beta: f64) -> Result<()> {
    if !matches!(weights.dtype(), DType::F32 | DType::F64) {
        return Err(Error::dtype(OP, "f32 (or f64 on the CPU)", weights.dtype()));
    }
    check_alike(OP, &[weights, average])?;
    if average.shape() != weights.shape() {
        return Err(Error::shape(OP, format!("an average {}", weights.shape()), average.shape()));
    }
    if !(0.0..=1.0).contains(&beta) {
        return Err(Error::argument(OP, format!("beta must be in [0, 1], got {beta}")));
    }
    if weights.is_empty() {
        return Ok(());
    }
    on!(weights.device(), update(average, weights, 1.0 - beta))
}
