//! Rows of length one.

mod cpu;
mod gpu;

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::Result;
use crate::tensor::{DType, Tensor};

const OP: &str = "l2_normalize";
/// Rows shorter than this are divided by this.
const EPS: f64 = 1e-12;

/// Each row of `x` `[n, d]` divided by `max(|row|, 1e-12)`, its Euclidean length: inner products of the results are
/// cosines.
///
/// Lengths are f32 (f64 for f64) whatever the dtype. The gradient goes through the division, `dx = (dy - y (y . dy)) /
/// |row|`; a row shorter than 1e-12, one of zeros among them, is divided by a number, and has the gradient `dy / 1e-12`.
/// Squares are summed relative to the row's largest element, so that no row overflows. Errors unless `x` has two axes,
/// and on integers.
pub fn l2_normalize(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    check_float(OP, x.value())?;
    let [n, d] = x.shape().dims(OP, "rows [n, d]")?;
    let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let mut y = x.value().empty_like()?;
    // Minus the inverse where the row is too short for its length to matter.
    let mut inverse = Tensor::empty([n], dtype, &x.device())?;
    let any = n > 0 && d > 0;
    if any {
        on!(x.device(), forward(x.value(), d, &mut y, &mut inverse))?;
    }
    let x_value = x.value().clone();
    Var::record(OP, y, [x], move |dy, _| {
        let mut dx = dy.empty_like()?;
        if any {
            on!(dy.device(), backward(dy, &x_value, d, &inverse, &mut dx))?;
        }
        Ok([Some(dx)])
    })
}
