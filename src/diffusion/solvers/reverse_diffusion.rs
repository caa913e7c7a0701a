//! Reverse diffusion sampling: the forward steps' own discretisation, reversed (Song et al. 2021, arXiv 2011.13456,
//! section 4.2 and appendix E).
//!
//! One denoiser call a step. A step to 0 returns the denoised samples, its mean.

use super::euler_maruyama::predict;
use super::sde::Update;
use super::{Run, Sde, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// The solver. Its steps are those of the discrete chain whose levels are the grid's, for VP DDPM's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReverseDiffusion {
    /// The forward process.
    pub sde: Sde,
}

impl Solver for ReverseDiffusion {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        run.steps(x, sigmas, |run, _, x, a, b| step(run, &self.sde, x, a, b))
    }
}

pub(super) fn step(run: &mut Run, sde: &Sde, x: &Tensor, a: f64, b: f64) -> Result<Tensor> {
    let denoised = run.denoise(x, a)?;
    if b == 0.0 {
        return Ok(denoised);
    }
    let update = match sde {
        // x' = (2 - sqrt(1 - beta)) x + beta score + sqrt(beta) z
        Sde::Vp { .. } => {
            let alpha = sde.alpha(a, b);
            let beta = 1.0 - alpha;
            Update { on_x: 2.0 - alpha.sqrt(), on_score: beta, deviation: beta.sqrt() }.unscaled(a, b)
        }
        // x' = x + (a^2 - b^2) score + sqrt(a^2 - b^2) z
        Sde::Ve => {
            let g2 = a * a - b * b;
            Update { on_x: 1.0, on_score: g2, deviation: g2.sqrt() }
        }
    };
    predict(run, x, &denoised, &update, a, b)
}
