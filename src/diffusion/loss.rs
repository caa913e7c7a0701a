//! Denoising score matching.

use super::precond::{Denoiser, per_sample};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::Context;
use crate::nn::song::Conditions;
use crate::ops;
use crate::ops::random::{Distribution, Draws, SampleIds};
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device, Tensor};

/// EDM's loss: `mean_b lambda(sigma) sum |D(y + sigma n; sigma) - y|^2` with `ln sigma ~ N(p_mean, p_std^2)` and
/// `lambda = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2`.
///
/// The sum runs over a sample's elements, the mean over the batch (Karras et al. 2022, equation 108 and table 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdmLoss {
    /// Mean of ln sigma.
    pub p_mean: f64,
    /// Standard deviation of ln sigma.
    pub p_std: f64,
}

impl Default for EdmLoss {
    fn default() -> Self {
        EdmLoss { p_mean: -1.2, p_std: 1.2 }
    }
}

impl EdmLoss {
    /// The noise levels of `n` samples at a training step.
    pub fn sigmas(&self, n: usize, seed: u64, step: u32, samples: &SampleIds) -> Result<Vec<f64>> {
        let samples = match samples {
            SampleIds::Each(ids) => SampleIds::Each(ids.to_device(&Device::Cpu)?),
            SampleIds::From(first) => SampleIds::From(*first),
        };
        let draws = Draws { key: RandomKey::new(seed, Purpose::Sigma).at_step(step), samples };
        let normals = ops::random::random(Distribution::Normal, [n, 1], DType::F64, &draws, &Device::Cpu)?.to_f64()?;
        Ok(normals.into_iter().map(|z| (self.p_mean + self.p_std * z).exp()).collect())
    }

    /// The loss of clean f32 samples `y` `[n, ...]` (images NHWC), a scalar. Noise levels and noise are a pure function of
    /// seed, step and sample.
    pub fn forward(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        y: &Tensor,
        conditions: Conditions,
        (seed, step): (u64, u32),
        samples: &SampleIds,
    ) -> Result<Var> {
        let n = y.shape().first().copied().unwrap_or(0);
        let sigmas = self.sigmas(n, seed, step, samples)?;
        let draws = Draws { key: RandomKey::new(seed, Purpose::TrainingNoise).at_step(step), samples: samples.clone() };
        let deviations: Vec<f32> = sigmas.iter().map(|&sigma| sigma as f32).collect();
        let deviations = Tensor::from_slice(&deviations, [n], &y.device())?;
        let x = ops::solver_update(&y.into(), None, Some((deviations.into(), &draws)))?;
        self.at(cx, denoiser, y, &x, &sigmas, conditions)
    }

    /// The loss for given noisy samples `x = y + sigma n`. Errors on an empty batch and where
    /// [`Denoiser::denoise`] does.
    pub fn at(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        y: &Tensor,
        x: &Var,
        sigmas: &[f64],
        conditions: Conditions,
    ) -> Result<Var> {
        if y.is_empty() {
            return Err(Error::shape("loss", "at least one sample", y.shape()));
        }
        let denoised = denoiser.denoise(cx, x, sigmas, conditions)?;
        let sd = denoiser.sigma_data();
        let n = sigmas.len() as f64;
        let weight = |sigma: f64| (sigma * sigma + sd * sd) / (sigma * sd).powi(2) / n;
        let rank = y.shape().rank();
        let weights = per_sample(sigmas.iter().map(|&sigma| weight(sigma)), rank, &y.device())?;
        let squares = ops::square(&ops::sub(&denoised, &y.into())?)?;
        let axes: Vec<usize> = (0..rank).collect();
        ops::sum(&ops::mul(&squares, &weights)?, &axes)
    }
}
