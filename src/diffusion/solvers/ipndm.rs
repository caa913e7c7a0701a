//! iPNDM (Zhang & Chen 2023, arXiv 2204.13902): Adams-Bashforth with the weights of evenly spaced levels, whatever the
//! grid.
//!
//! One denoiser call a step. Order `i + 1` in step i up to `order`, in the last step too.

use super::run::axpy;
use super::{Run, Solver};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The weights of the latest slope and those before it, by order.
const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// `x' = x + (b - a) sum_j w_j d_{i-j}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipndm {
    /// Slopes used, 1 to 4.
    pub order: usize,
}

impl Default for Ipndm {
    fn default() -> Self {
        Ipndm { order: 4 }
    }
}

impl Solver for Ipndm {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        if !(1..=WEIGHTS.len()).contains(&self.order) {
            return Err(Error::Config(format!("ipndm has order 1 to 4, got {}", self.order)));
        }
        let mut slopes = Vec::new(); // the latest first
        run.steps(x, sigmas, |run, _, x, a, b| {
            slopes.insert(0, run.slope(x, a)?);
            slopes.truncate(self.order);
            let weights = WEIGHTS[slopes.len() - 1];
            weights.iter().zip(&slopes).try_fold(x.clone(), |x, (w, d)| axpy(&x, (b - a) * w, d))
        })
    }
}
