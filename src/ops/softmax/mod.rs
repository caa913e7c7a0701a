//! Softmax over the last axis, and its logarithm.

mod cpu;
mod gpu;

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// `y_i = exp(x_i) / sum_j exp(x_j)` over the last axis of `x`, which has at least one axis.
///
/// Computed in f32 (f64 for f64) relative to the largest element, so that nothing overflows. An element of -inf has
/// probability 0. A row of nothing but -inf has no distribution: it becomes all zeros, with zero gradient, on every
/// device, so that a masked row adds nothing (PyTorch returns NaN there). A row with NaN or +inf becomes NaN.
/// Errors on a scalar and on integers.
pub fn softmax(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    along_rows("softmax", false, x)
}

/// `y_i = x_i - log(sum_j exp(x_j))` over the last axis of `x`, which has at least one axis.
///
/// Computed as [`softmax`] is. An element of -inf stays -inf, also in a row of nothing but -inf; the gradient that
/// arrives there passes through unchanged. Errors on a scalar and on integers.
pub fn log_softmax(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    along_rows("log_softmax", true, x)
}

/// What is computed.
#[derive(Debug, Clone, Copy)]
struct Setting {
    op: &'static str,
    log: bool,
    rows: usize,
    columns: usize,
}

fn along_rows(op: &'static str, log: bool, x: &Var) -> Result<Var> {
    check_float(op, x.value())?;
    let Some((&columns, rows)) = x.shape().split_last() else {
        return Err(Error::shape(op, "x [..., k]", x.shape()));
    };
    let setting = Setting { op, log, rows: rows.iter().product(), columns };
    let x_value = x.value().clone();
    if x_value.is_empty() {
        return Var::record(op, x_value, [x], |dy, _| Ok([Some(dy.clone())]));
    }
    let mut y = x_value.empty_like()?;
    // The shift and the logarithm of the sum of each row: the gradient is exact to f32 also where y is bf16.
    let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let mut stats = Tensor::empty([setting.rows, 2], dtype, &x.device())?;
    on!(x.device(), forward(setting, &x_value, &mut y, &mut stats))?;
    Var::record(op, y, [x], move |dy, _| {
        let mut dx = x_value.empty_like()?;
        on!(dy.device(), backward(setting, dy, &x_value, &stats, &mut dx))?;
        Ok([Some(dx)])
    })
}
