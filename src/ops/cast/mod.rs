//! Conversion between floating-point dtypes.

mod cpu;
mod gpu;

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Device, Tensor};

const OP: &str = "cast";

/// `x` of any shape with its elements rounded to `dtype` (nearest, ties to even); `x` itself if that is its dtype.
///
/// The gradient is cast back. Errors on integers on either side, and on f64 on a GPU, which has none.
pub fn cast(x: impl Into<Var>, dtype: DType) -> Result<Var> {
    let x = &x.into();
    if x.dtype() == dtype && dtype.is_float() {
        return Ok(x.clone());
    }
    cast_to(x, convert(x.value(), dtype)?)
}

/// As [`cast`], where the rounded values are at hand.
pub(crate) fn cast_to(x: &Var, rounded: Tensor) -> Result<Var> {
    let from = x.dtype();
    Var::record_higher(OP, rounded, [x], move |dy, _| Ok([Some(cast(dy, from)?)]))
}

/// As [`cast`], without a tape: for weights, inputs and optimiser state.
pub fn convert(x: &Tensor, dtype: DType) -> Result<Tensor> {
    check_float(OP, x)?;
    if !dtype.is_float() {
        return Err(Error::dtype(OP, "a floating-point dtype to convert to", dtype));
    }
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    if dtype == DType::F64 && matches!(x.device(), Device::Gpu(_)) {
        return Err(Error::dtype(OP, "f32 or bf16 on a GPU (f64 lives on the CPU only)", dtype));
    }
    let mut y = Tensor::empty(x.shape(), dtype, &x.device())?;
    if !x.is_empty() {
        on!(x.device(), convert(x, &mut y))?;
    }
    Ok(y)
}
