//! Predictor-corrector sampling: Langevin steps at each noise level, then a step of reverse diffusion (Song et al. 2021, arXiv 2011.13456,
//! algorithms 1 to 5).
//!
//! `corrector_steps + 1` denoiser calls a step. The Langevin step size follows each sample's own norms; the paper's code takes
//! the batch's mean, with which a sample would depend on its neighbours.

use super::reverse_diffusion;
use super::run::combine;
use super::{PathUse, Run, Sde, Solver};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::solver_update::Coefficient;
use crate::tensor::{DType, Tensor};

/// The sampler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictorCorrector {
    /// The forward process.
    pub sde: Sde,
    /// Signal-to-noise ratio r of the Langevin steps.
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
        if !(self.snr >= 0.0 && self.snr.is_finite()) {
            return Err(Error::Config(format!("predictor-corrector needs snr >= 0, got {}", self.snr)));
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
    /// `x + e score + sqrt(2 e) z` with `e = 2 alpha (r |z| / |score|)^2`, at most `sigma^2 / 2`. The scale of the VP process cancels.
    ///
    /// The limit is some ten times the usual size: it acts where a score of few elements happens to be nearly zero.
    fn langevin(&self, run: &mut Run, x: &Tensor, sigma: f64, alpha: f64) -> Result<Tensor> {
        let denoised = run.denoise(x, sigma)?;
        let score = combine(&[(-1.0 / (sigma * sigma), x), (1.0 / (sigma * sigma), &denoised)])?;
        let z = run.add_noise(&Tensor::zeros(x.shape(), x.dtype(), &x.device())?, 1.0, sigma, sigma)?;
        let sizes: Vec<f64> = square_norms(&score)?
            .into_iter()
            .zip(square_norms(&z)?)
            .map(|(score, z)| {
                let e = 2.0 * alpha * self.snr * self.snr * z / score;
                if score > 0.0 { e.min(sigma * sigma / 2.0) } else { 0.0 }
            })
            .collect();
        let drift = per_sample(x, sizes.iter().copied())?;
        let noise = per_sample(x, sizes.iter().map(|e| (2.0 * e).sqrt()))?;
        let x = ops::solver_update(&x.into(), Some((drift, &score.into())), None)?;
        Ok(ops::solver_update(&x, Some((noise, &z.into())), None)?.into_value())
    }
}

/// `|x_i|^2` of each sample.
fn square_norms(x: &Tensor) -> Result<Vec<f64>> {
    let axes: Vec<usize> = (1..x.shape().rank()).collect();
    ops::sum(&ops::square(&x.into())?, &axes)?.value().to_f64()
}

fn per_sample(x: &Tensor, values: impl Iterator<Item = f64>) -> Result<Coefficient> {
    let values: Vec<f64> = values.collect();
    let n = [values.len()];
    Ok(Coefficient::PerSample(match x.dtype() {
        DType::F64 => Tensor::from_slice(&values, n, &x.device())?,
        _ => Tensor::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), n, &x.device())?,
    }))
}
