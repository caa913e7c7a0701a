//! Predictor-corrector sampling: Langevin steps at each noise level, then a step of reverse diffusion (Song et al.
//! 2021, arXiv 2011.13456, algorithms 1 to 5).
//!
//! `corrector_steps + 1` denoiser calls a step. The paper's code makes a Langevin step `e = 2 alpha (r |z| /
//! |score|)^2` with norms averaged over the batch, so that a sample depends on its neighbours; with each sample's own
//! norms the step depends on its noise z, and samples of few elements come out too wide. Here the ratio of norms is
//! sigma, what it is on average where noise outweighs the data: `E|z| / E|score|` for the score `-n / sigma` of normal
//! noise n.

use super::reverse_diffusion;
use super::run::combine;
use super::{PathUse, Run, Sde, Solver};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The sampler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictorCorrector {
    /// The forward process.
    pub sde: Sde,
    /// Signal-to-noise ratio r of the Langevin steps, below 1.
    pub snr: f64,
    /// Langevin steps M at each level.
    pub corrector_steps: usize,
}

impl Default for PredictorCorrector {
    fn default() -> Self {
        PredictorCorrector { sde: Sde::default(), snr: 0.16, corrector_steps: 1 }
    }
}

impl Solver for PredictorCorrector {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        if !(0.0..1.0).contains(&self.snr) {
            let what = format!(
                "predictor-corrector needs 0 <= snr < 1, beyond which Langevin steps diverge; got {}",
                self.snr
            );
            return Err(Error::Config(what));
        }
        run.steps(x, sigmas, |run, _, x, a, b| {
            let mut x = x.clone();
            for _ in 0..self.corrector_steps {
                x = self.langevin(run, &x, a, self.sde.alpha(a, b))?;
            }
            reverse_diffusion::step(run, &self.sde, &x, a, b)
        })
    }

    /// The corrector's noise belongs to no way between two levels.
    fn path_use(&self) -> PathUse {
        if self.corrector_steps > 0 { PathUse::Never } else { PathUse::Possible }
    }
}

impl PredictorCorrector {
    /// `x + e score + sqrt(2 e) z` with `e = 2 alpha (r sigma)^2`. The scale of the VP process cancels.
    fn langevin(&self, run: &mut Run, x: &Tensor, sigma: f64, alpha: f64) -> Result<Tensor> {
        let denoised = run.denoise(x, sigma)?;
        let c = 2.0 * alpha * self.snr * self.snr; // e / sigma^2
        let mean = combine(&[(1.0 - c, x), (c, &denoised)])?;
        run.add_noise(&mean, (2.0 * c).sqrt() * sigma, sigma, sigma)
    }
}
