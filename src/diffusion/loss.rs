//! EDM's loss.

use super::denoiser::Denoiser;
use super::objective::Loss;
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::Conditions;
use crate::nn::Context;
use crate::ops::random::SampleIds;
use crate::tensor::Tensor;

/// EDM's loss: `mean_b lambda(sigma) sum |D(y + sigma n; sigma) - y|^2` with `ln sigma ~ N(p_mean, p_std^2)` and
/// `lambda = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2`.
///
/// The sum runs over a sample's elements, the mean over the batch (Karras et al. 2022, equation 108 and table 1).
/// [`Loss`] has it beside the others.
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
        Loss::Edm(*self).sigmas(n, seed, step, samples)
    }

    /// The loss of clean f32 samples `y` `[n, ...]` (images NHWC), a scalar. Noise levels and noise are a pure function of
    /// seed, step and sample.
    pub fn forward(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        y: &Tensor,
        conditions: Conditions,
        at: (u64, u32),
        samples: &SampleIds,
    ) -> Result<Var> {
        Loss::Edm(*self).forward(cx, denoiser, y, conditions, at, samples)
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
        Loss::Edm(*self).at(cx, denoiser, y, x, sigmas, conditions)
    }
}
