//! Noise on samples.

use crate::autograd::Var;
use crate::error::Result;
use crate::ops;
use crate::ops::random::Draws;
use crate::ops::solver_update::Coefficient;
use crate::tensor::{Device, Tensor};

/// `y + sigma n` for samples `y` `[n, ...]`, standard normal `n`, and a noise level `sigma` for all, or one for each (a
/// [`column()`]), in one pass.
///
/// Errors unless there is a level for each sample.
pub fn noised(y: impl Into<Var>, sigma: impl Into<Coefficient>, draws: &Draws) -> Result<Var> {
    ops::solver_update(y, None, Some((sigma.into(), draws)))
}

/// One number for each sample, `[n]` f32, as [`ops::solver_update()`] takes it.
pub fn column(values: &[f64], device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Tensor::from_slice(&values, [values.len()], device)
}
