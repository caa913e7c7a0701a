//! Heun's method on the probability-flow ODE, with optional noise injection.
//!
//! Karras et al. 2022 (arXiv 2206.00364), algorithm 2; line numbers below are the algorithm's. Second order; two
//! denoiser calls a step, one in the last.

use super::run::axpy;
use super::{Churn, Denoise, FreshNoise, PathUse, Run, Solver, solve};
use crate::error::Result;
use crate::ops::random::SampleIds;
use crate::tensor::Tensor;

/// EDM's sampler.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Heun {
    /// Noise before each step; none makes it algorithm 1.
    pub churn: Churn,
}

impl Solver for Heun {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        self.churn.check()?;
        let steps = sigmas.len() - 1;
        run.steps(x, sigmas, |run, _, x, sigma, next| {
            let (x_hat, sigma_hat) = self.churn.apply(run, x, sigma, steps)?; // lines 4 to 6
            let d = run.slope(&x_hat, sigma_hat)?; // line 7
            let euler = axpy(&x_hat, next - sigma_hat, &d)?; // line 8
            if next == 0.0 {
                return Ok(euler); // line 9
            }
            let d_next = run.slope(&euler, next)?; // line 10
            let h = 0.5 * (next - sigma_hat);
            axpy(&axpy(&x_hat, h, &d)?, h, &d_next) // line 11
        })
    }

    fn path_use(&self) -> PathUse {
        self.churn.path_use()
    }
}

/// [`Heun`] without churn, from `x` at `sigmas[0]` down to the last level. Errors as [`solve`] does.
pub fn heun(denoise: &mut impl Denoise, x: &Tensor, sigmas: &[f64]) -> Result<Tensor> {
    let mut noise = FreshNoise::new(0, SampleIds::From(0));
    Ok(solve(&Heun::default(), denoise, x, sigmas, &mut noise, &mut |_| Ok(()))?.x)
}
