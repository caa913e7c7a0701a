//! SDE-DPM-Solver++(3M): the stochastic solver of Lu et al. 2022 (arXiv 2211.01095, section 5) with three steps, as in
//! k-diffusion.
//!
//! One denoiser call a step. The first two steps are of first and second order, a step to 0 of first.

use super::phi::phi;
use super::run::{axpy, combine};
use super::{PathUse, Run, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// The stochastic solver with two steps of history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DpmPp3MSde {
    /// Share of the noise; 0 for none.
    pub eta: f64,
    /// Standard deviation of the noise, relative to what the SDE asks for.
    pub s_noise: f64,
}

impl Default for DpmPp3MSde {
    fn default() -> Self {
        DpmPp3MSde { eta: 1.0, s_noise: 1.0 }
    }
}

impl Solver for DpmPp3MSde {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        multistep(run, x, sigmas, self.eta, self.s_noise)
    }

    /// As in k-diffusion, though its ways do not overlap: runs of different step counts then compare.
    fn path_use(&self) -> PathUse {
        PathUse::Meant
    }
}

pub(super) fn multistep(run: &mut Run, x: Tensor, sigmas: &[f64], eta: f64, s_noise: f64) -> Result<Tensor> {
    let mut history: Vec<(Tensor, f64)> = Vec::new(); // D and h of the steps before, the latest first
    run.steps(x, sigmas, |run, _, x, a, b| {
        let denoised = run.denoise(x, a)?;
        if b == 0.0 {
            return Ok(denoised);
        }
        let h = (a / b).ln();
        let big_h = (1.0 + eta) * h;
        let keep = (-big_h).exp();
        let mut next = combine(&[(keep, x), (1.0 - keep, &denoised)])?;
        // phi_2 = (e^-H - 1) / H + 1 and phi_3 = phi_2 / H - 1/2
        let (phi_2, phi_3) = (big_h * phi(2, -big_h), -big_h * phi(3, -big_h));
        if let Some((d1, h1)) = history.first() {
            let r0 = h1 / h;
            let u = combine(&[(1.0 / r0, &denoised), (-1.0 / r0, d1)])?;
            next = axpy(&next, phi_2, &u)?;
            if let Some((d2, h2)) = history.get(1) {
                let r1 = h2 / h;
                let v = combine(&[(1.0 / r1, d1), (-1.0 / r1, d2)])?;
                let bend = combine(&[(1.0 / (r0 + r1), &u), (-1.0 / (r0 + r1), &v)])?;
                next = axpy(&next, phi_2 * r0 - phi_3, &bend)?;
            }
        }
        history.insert(0, (denoised, h));
        history.truncate(2);
        if eta > 0.0 {
            let deviation = s_noise * b * (-(-2.0 * eta * h).exp_m1()).sqrt();
            next = run.add_noise(&next, deviation, a, b)?;
        }
        Ok(next)
    })
}
