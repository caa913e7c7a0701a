//! Euler's method on the probability-flow ODE: DDIM with eta = 0 (Song, Meng & Ermon 2021, arXiv 2010.02502).
//!
//! First order, one denoiser call a step. With churn: Karras et al. 2022, algorithm 2 without its lines 9 to 11.

use super::run::axpy;
use super::{Churn, PathUse, Run, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// `x' = x_hat + (b - sigma_hat) d(x_hat; sigma_hat)`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Euler {
    /// Noise before each step.
    pub churn: Churn,
}

impl Solver for Euler {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        self.churn.check()?;
        let steps = sigmas.len() - 1;
        run.steps(x, sigmas, |run, _, x, a, b| {
            let (x_hat, sigma_hat) = self.churn.apply(run, x, a, steps)?;
            let d = run.slope(&x_hat, sigma_hat)?;
            axpy(&x_hat, b - sigma_hat, &d)
        })
    }

    fn path_use(&self) -> PathUse {
        self.churn.path_use()
    }
}
