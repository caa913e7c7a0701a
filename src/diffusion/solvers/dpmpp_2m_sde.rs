//! SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, section 5), as in k-diffusion.
//!
//! One denoiser call a step. The first step and a step to 0 are of first order.

use super::phi::phi;
use super::run::{axpy, combine};
use super::{PathUse, Run, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// How the second-order term is weighted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Correction {
    /// `(1 - e^-H) / 2`, the paper's.
    #[default]
    Midpoint,
    /// `(e^-H - 1) / H + 1`.
    Heun,
}

/// The stochastic solver with one step of history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DpmPp2MSde {
    /// Share of the noise; 0 makes it DPM-Solver++(2M).
    pub eta: f64,
    /// Standard deviation of the noise, relative to what the SDE asks for.
    pub s_noise: f64,
    /// The weight of the second-order term.
    pub correction: Correction,
}

impl Default for DpmPp2MSde {
    fn default() -> Self {
        DpmPp2MSde { eta: 1.0, s_noise: 1.0, correction: Correction::default() }
    }
}

impl Solver for DpmPp2MSde {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        let mut last: Option<(Tensor, f64)> = None; // D and h of the step before
        run.steps(x, sigmas, |run, _, x, a, b| {
            let denoised = run.denoise(x, a)?;
            if b == 0.0 {
                return Ok(denoised);
            }
            let h = (a / b).ln();
            let big_h = (1.0 + self.eta) * h;
            let gain = -(-big_h).exp_m1(); // 1 - e^-H
            let mut next = combine(&[(b / a * (-self.eta * h).exp(), x), (gain, &denoised)])?;
            if let Some((before, h_before)) = &last {
                let r = h_before / h;
                let c = match self.correction {
                    Correction::Midpoint => gain / 2.0,
                    Correction::Heun => big_h * phi(2, -big_h),
                };
                next = axpy(&axpy(&next, c / r, &denoised)?, -c / r, before)?;
            }
            last = Some((denoised, h));
            if self.eta > 0.0 {
                let deviation = self.s_noise * b * (-(-2.0 * self.eta * h).exp_m1()).sqrt();
                next = run.add_noise(&next, deviation, a, b)?;
            }
            Ok(next)
        })
    }

    /// As in k-diffusion, though its ways do not overlap: runs of different step counts then compare.
    fn path_use(&self) -> PathUse {
        PathUse::Meant
    }
}
