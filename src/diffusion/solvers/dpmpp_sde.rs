//! DPM-Solver++ for the SDE with single steps, as in k-diffusion: two ancestral sub-steps, the second with a slope that
//! both see.
//!
//! Two denoiser calls a step, one in a step to 0.

use super::run::combine;
use super::{PathUse, Run, Solver, ancestral_step};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The stochastic solver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DpmPpSde {
    /// Share of the noise; 0 for none.
    pub eta: f64,
    /// Standard deviation of the noise, relative to what the split asks for.
    pub s_noise: f64,
    /// Where between the levels the second call lies, in ln sigma: above 0, at most 1.
    pub r: f64,
}

impl Default for DpmPpSde {
    fn default() -> Self {
        DpmPpSde { eta: 1.0, s_noise: 1.0, r: 0.5 }
    }
}

impl Solver for DpmPpSde {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        if !(self.r > 0.0 && self.r <= 1.0) {
            return Err(Error::Config(format!("dpmpp-sde needs 0 < r <= 1, got {}", self.r)));
        }
        let (eta, s_noise) = (self.eta, self.s_noise);
        run.steps(x, sigmas, |run, _, x, a, b| {
            let denoised = run.denoise(x, a)?;
            if b == 0.0 {
                return Ok(denoised);
            }
            let ancestral = |run: &mut Run, denoised: &Tensor, to: f64| -> Result<Tensor> {
                let (down, up) = ancestral_step(a, to, eta);
                let y = combine(&[(down / a, x), (1.0 - down / a, denoised)])?;
                if up > 0.0 { run.add_noise(&y, s_noise * up, a, to) } else { Ok(y) }
            };
            let m = a.powf(1.0 - self.r) * b.powf(self.r);
            let y = ancestral(run, &denoised, m)?;
            let second = run.denoise(&y, m)?;
            let factor = 0.5 / self.r;
            let both = combine(&[(1.0 - factor, &denoised), (factor, &second)])?;
            ancestral(run, &both, b)
        })
    }

    /// The noise to the middle is a part of the noise to the end of a step.
    fn path_use(&self) -> PathUse {
        PathUse::Meant
    }
}
