//! Linear multistep: Adams-Bashforth with variable steps on the probability-flow ODE (in k-diffusion, and as iPNDM with
//! variable steps).
//!
//! One denoiser call a step. Order `i + 1` in step i until the history is long enough.

use super::lagrange::{basis, integral};
use super::run::axpy;
use super::{Run, Solver};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// `x' = x + sum_j c_j d_{i-j}`, with the integrals c_j of the interpolating polynomials in sigma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lms {
    /// Slopes used, 1 to 8.
    pub order: usize,
}

impl Default for Lms {
    fn default() -> Self {
        Lms { order: 4 }
    }
}

/// The weights of `d_i, d_{i-1}, ...` in step `i` of a grid: `min(order, i + 1)` of them.
///
/// c_j is the integral from `sigmas[i]` to `sigmas[i + 1]` of the Lagrange polynomial through `sigmas[i], sigmas[i-1],
/// ...` that is 1 at `sigmas[i-j]`. Errors unless the step is in the grid and the order is 1 to 8.
pub fn lms_coefficients(sigmas: &[f64], i: usize, order: usize) -> Result<Vec<f64>> {
    let nodes = history(sigmas, i, order)?;
    // 4 points are exact to degree 7.
    Ok((0..nodes.len()).map(|j| integral::<4>(sigmas[i], sigmas[i + 1], |t| basis(&nodes, j, t))).collect())
}

/// `sigmas[i], sigmas[i-1], ...`: the levels whose slopes step `i` uses.
pub(super) fn history(sigmas: &[f64], i: usize, order: usize) -> Result<Vec<f64>> {
    if !(1..=8).contains(&order) {
        return Err(Error::Config(format!("a multistep solver has order 1 to 8, got {order}")));
    }
    if i + 1 >= sigmas.len() {
        let what = format!("step {i} of a grid of {} levels", sigmas.len());
        return Err(Error::argument("multistep coefficients", what));
    }
    Ok(sigmas[..=i].iter().rev().take(order).copied().collect())
}

impl Solver for Lms {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        let mut slopes = Vec::new(); // the latest first
        run.steps(x, sigmas, |run, i, x, a, _| {
            slopes.insert(0, run.slope(x, a)?);
            slopes.truncate(self.order);
            let weights = lms_coefficients(sigmas, i, self.order)?;
            weights.iter().zip(&slopes).try_fold(x.clone(), |x, (c, d)| axpy(&x, *c, d))
        })
    }
}
