//! Euler-Maruyama steps of the reverse SDE `dx = (f - g^2 score) dt + g dw` (Song et al. 2021, arXiv 2011.13456,
//! equation 6 and appendix D).
//!
//! One denoiser call a step. A step to 0 returns the denoised samples, its mean.

use super::run::combine;
use super::sde::Update;
use super::{Run, Sde, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// The solver. On [`vp_sigmas`](crate::diffusion::vp_sigmas) for VP and an exponential grid for VE the steps are even
/// in time, as in the paper.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EulerMaruyama {
    /// The forward process.
    pub sde: Sde,
}

impl Solver for EulerMaruyama {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        run.steps(x, sigmas, |run, _, x, a, b| {
            let denoised = run.denoise(x, a)?;
            if b == 0.0 {
                return Ok(denoised);
            }
            let update = match self.sde {
                // f = -beta x / 2, g^2 = beta
                Sde::Vp { beta_d, beta_min } => {
                    let beta = Sde::beta_step(beta_d, beta_min, a, b);
                    Update { on_x: 1.0 + beta / 2.0, on_score: beta, deviation: beta.sqrt() }.unscaled(a, b)
                }
                // f = 0, g^2 dt = d sigma^2 = 2 sigma^2 d(ln sigma)
                Sde::Ve => {
                    let g2 = 2.0 * a * a * (a / b).ln();
                    Update { on_x: 1.0, on_score: g2, deviation: g2.sqrt() }
                }
            };
            predict(run, x, &denoised, &update, a, b)
        })
    }
}

/// The update with `score = (D - x) / a^2`.
pub(super) fn predict(run: &mut Run, x: &Tensor, denoised: &Tensor, update: &Update, a: f64, b: f64) -> Result<Tensor> {
    let c = update.on_score / (a * a);
    let mean = combine(&[(update.on_x - c, x), (c, denoised)])?;
    run.add_noise(&mean, update.deviation, a, b)
}
