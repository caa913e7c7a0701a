//! DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927, algorithm 1 with r = 1/2) in the form that k-diffusion made common:
//! the midpoint rule with the middle in ln sigma.
//!
//! Second order; two denoiser calls a step, one in a step to 0.

use super::run::axpy;
use super::{Churn, PathUse, Run, Solver, ancestral_step};
use crate::error::Result;
use crate::tensor::Tensor;

/// One step from `a` to `b`: the slope at `m = sqrt(a b)`, reached by Euler, serves for the whole step. Euler's where
/// `b` is 0.
fn midpoint(run: &mut Run, x: &Tensor, a: f64, b: f64) -> Result<Tensor> {
    let d = run.slope(x, a)?;
    if b == 0.0 {
        return axpy(x, b - a, &d);
    }
    let m = (a * b).sqrt();
    let middle = axpy(x, m - a, &d)?;
    let d = run.slope(&middle, m)?;
    axpy(x, b - a, &d)
}

/// The deterministic solver, with optional churn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Dpm2 {
    /// Noise before each step.
    pub churn: Churn,
}

impl Solver for Dpm2 {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        self.churn.check()?;
        let steps = sigmas.len() - 1;
        run.steps(x, sigmas, |run, _, x, a, b| {
            let (x_hat, sigma_hat) = self.churn.apply(run, x, a, steps)?;
            midpoint(run, &x_hat, sigma_hat, b)
        })
    }

    fn path_use(&self) -> PathUse {
        self.churn.path_use()
    }
}

/// With ancestral noise after each step: see [`ancestral_step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dpm2Ancestral {
    /// Share of the noise; 0 for none.
    pub eta: f64,
    /// Standard deviation of the noise, relative to what the split asks for.
    pub s_noise: f64,
}

impl Default for Dpm2Ancestral {
    fn default() -> Self {
        Dpm2Ancestral { eta: 1.0, s_noise: 1.0 }
    }
}

impl Solver for Dpm2Ancestral {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        run.steps(x, sigmas, |run, _, x, a, b| {
            let (down, up) = ancestral_step(a, b, self.eta);
            let x = midpoint(run, x, a, down)?;
            if up > 0.0 { run.add_noise(&x, self.s_noise * up, a, b) } else { Ok(x) }
        })
    }
}
