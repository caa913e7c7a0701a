//! Dropout.

mod cpu;
mod gpu;

use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::random::Draws;
use crate::random::variates;
use crate::tensor::Tensor;

/// `y = x / (1 - p)` with probability `1 - p`, else 0 (Srivastava et al. 2014), for `x` `[n, ...]` of any
/// floating-point dtype.
///
/// The mask is a function of the draws: an element is dropped if its random word is below `p 2^32`. The backward pass
/// makes it again; nothing is stored. `p = 0` returns `x` itself.
///
/// Errors unless `p` is in `[0, 1)`, or if the sample ids do not fit `x`.
pub fn dropout(x: impl Into<Var>, p: f64, draws: &Draws) -> Result<Var> {
    let x = &x.into();
    check_float("dropout", x.value())?;
    let threshold = match variates::threshold(p) {
        Some(threshold) if (0.0..1.0).contains(&p) => threshold,
        _ => return Err(Error::argument("dropout", format!("p must be in [0, 1), got {p}"))),
    };
    if threshold == 0 {
        return Ok(x.clone());
    }
    let y = mask(x.value(), threshold, 1.0 / (1.0 - p), draws)?;
    let draws = draws.clone();
    Var::record_higher("dropout", y, [x], move |dy, _| Ok([Some(dropout(dy, p, &draws)?)]))
}

fn mask(x: &Tensor, threshold: u32, scale: f64, draws: &Draws) -> Result<Tensor> {
    let rows = draws.check("dropout", x.shape(), &x.device())?;
    let mut y = x.empty_like()?;
    if !x.is_empty() {
        on!(x.device(), mask(x, threshold, scale, draws, rows, &mut y))?;
    }
    Ok(y)
}
