//! The norm of all gradients together, and what clipping makes of it.

mod cpu;
mod gpu;

use super::{check_alike, check_float, on};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

const OP: &str = "gradient norm";

/// `[norm, factor]`: the L2 norm of all elements of all `gradients` together, and `factor = min(1, max_norm / (norm +
/// 1e-6))`, by which they are to be multiplied so that the norm does not pass `max_norm` (infinite: no clipping).
///
/// The result is f32 (f64 for f64 gradients) and stays on the device, where [`adam`](super::adam()) reads it: nothing
/// waits. If the norm is not finite, the factor is NaN. Squares are summed in f64 in a fixed order, whatever the number
/// of threads.
///
/// Errors without gradients, if their dtypes or devices differ, or unless `max_norm` is positive.
pub fn gradient_norm(gradients: &[&Tensor], max_norm: f64) -> Result<Tensor> {
    let Some(first) = gradients.first() else {
        return Err(Error::argument(OP, "there are no gradients"));
    };
    check_float(OP, first)?;
    check_alike(OP, gradients)?;
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Error::argument(OP, format!("max_norm must be positive (infinite: no clipping), got {max_norm}")));
    }
    let dtype = if first.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let mut result = Tensor::empty([2], dtype, &first.device())?;
    on!(first.device(), norm(gradients, max_norm, &mut result))?;
    Ok(result)
}
