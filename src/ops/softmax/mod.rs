//! Softmax over the last axis, and its logarithm.

mod cpu;
mod gpu;

use super::{check_float, mul, neg, on, sub, sum_to};
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
        return Var::record_higher(op, x_value, [x], |dy, _| Ok([Some(dy.clone())]));
    }
    let mut y = x_value.empty_like()?;
    // The shift and the logarithm of the sum of each row: the gradient is exact to f32 also where y is bf16.
    let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let mut stats = Tensor::empty([setting.rows, 2], dtype, &x.device())?;
    on!(x.device(), forward(setting, &x_value, &mut y, &mut stats))?;
    Var::record_higher(op, y, [x], move |dy, at| Ok([Some(gradient(setting, dy, &at.input(0, &x_value), &stats)?)]))
}

/// The gradient of `x`: `y (dy - sum(y dy))`, or with a logarithm `dy - y sum(dy)`, where `y = softmax(x)`.
fn gradient(setting: Setting, dy: &Var, x: &Var, stats: &Tensor) -> Result<Var> {
    let mut dx = x.value().empty_like()?;
    on!(dy.device(), backward(setting, dy.value(), x.value(), stats, &mut dx))?;
    let (cotangent, argument, stats) = (dy.value().clone(), x.value().clone(), stats.clone());
    Var::record_higher(setting.op, dx, [dy, x], move |g, at| {
        let (dy, x) = (&at.input(0, &cotangent), &at.input(1, &argument));
        let d_dy = at.wanted(0, || match setting.log {
            // The matrix of the softmax's derivatives is symmetric.
            false => gradient(setting, g, x, &stats),
            true => sub(g, row_sum(&mul(softmax(x)?, g)?)?),
        })?;
        // What reaches the softmax, and through it the argument.
        let reaches = |dy: &Var| match setting.log {
            false => {
                let y = &softmax(x)?;
                let first = mul(g, sub(dy, row_sum(&mul(y, dy)?)?)?)?;
                sub(first, mul(dy, row_sum(&mul(y, g)?)?)?)
            }
            true => neg(mul(g, row_sum(dy)?)?),
        };
        let dx = at.wanted(1, || gradient(Setting { log: false, ..setting }, &reaches(dy)?, x, &stats))?;
        Ok([d_dy, dx])
    })
}

/// The sum over the last axis, which stays with an extent of 1.
fn row_sum(x: &Var) -> Result<Var> {
    let last = x.shape().rank() - 1;
    sum_to(x, [&x.shape()[..last], &[1]].concat())
}
