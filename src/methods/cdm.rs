//! Consistent diffusion models: fine-tuning so that what a model says of its own samples on their way is what it said before (Daras,
//! Dagan, Dimakis & Daskalakis 2023, arXiv 2302.09057; the settings are those of its public code).
//!
//! `L = L_score + lambda mean (D(x'; s') - D(x; s)) . (D(x''; s') - D(x; s))`, where `x'` and `x''` are two independent stochastic continuations of `x`
//! from level `s` to `s' = max(s - U(0, range), 0.002)`: as they are independent given x, the product is an unbiased square of the mean
//! difference. Gradients flow through the denoisings, not through the continuations.

use super::chain::{self, ChainNoise};
use crate::autograd::Var;
use crate::diffusion::solvers::Churn;
use crate::diffusion::{Denoiser, Loss};
use crate::error::Result;
use crate::nn::Context;
use crate::ops;
use crate::ops::random::Draws;
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device};
use crate::train::{Batch, Objective};

/// The objective.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cdm {
    /// The score-matching part.
    pub loss: Loss,
    /// lambda.
    pub weight: f64,
    /// Most that a continuation goes down by.
    pub range: f64,
    /// Euler steps of a continuation.
    pub steps: usize,
    /// The noise of the continuations.
    pub churn: Churn,
}

impl Default for Cdm {
    fn default() -> Self {
        let churn = Churn { amount: 10.0, s_min: 0.01, s_max: 1.0, s_noise: 1.007 };
        Cdm { loss: Loss::default(), weight: 2.0, range: 0.05, steps: 6, churn }
    }
}

/// The least level that a continuation goes down to.
const LEAST: f64 = 0.002;

impl Objective for Cdm {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        let n = batch.y.shape().first().copied().unwrap_or(0);
        let sigmas = self.loss.sigmas(n, batch.seed, batch.step, batch.samples)?;
        let key = RandomKey::new(batch.seed, Purpose::TrainingNoise).at_step(batch.step);
        let draws = Draws { key, samples: batch.samples.clone() };
        let deviations = chain::column(&sigmas, &batch.y.device())?;
        let x = ops::solver_update(&batch.y.into(), None, Some((deviations.into(), &draws)))?;
        let denoised = denoiser.denoise(cx, &x, &sigmas, batch.conditions)?;
        let loss = self.loss.of_denoised(&denoised, batch.y, &sigmas, denoiser.sigma_data())?;

        let lower = self.lower_levels(&sigmas, batch)?;
        let levels = chain::levels(&sigmas, &lower, self.steps);
        let frozen = chain::without_gradient(cx);
        let differences = [0, 1].map(|site| -> Result<Var> {
            let noise = ChainNoise { seed: batch.seed, step: batch.step, site, samples: batch.samples };
            let end =
                chain::churned_euler(&frozen, denoiser, x.clone(), &levels, &self.churn, batch.conditions, &noise)?;
            ops::sub(&denoiser.denoise(cx, &end, &lower, batch.conditions)?, &denoised)
        });
        let [first, second] = differences;
        ops::add(&loss, &ops::scale(&chain::mean_product(&first?, &second?)?, self.weight)?)
    }
}

impl Cdm {
    /// `s' = max(s - U(0, range), 0.002)`, and never above `s`.
    fn lower_levels(&self, sigmas: &[f64], batch: &Batch) -> Result<Vec<f64>> {
        let samples = batch.samples.on_cpu()?;
        let draws = Draws { key: RandomKey::new(batch.seed, Purpose::Sigma).at_site(1).at_step(batch.step), samples };
        let numbers = ops::uniform([sigmas.len(), 1], DType::F64, &draws, &Device::Cpu)?.to_f64()?;
        Ok(sigmas.iter().zip(numbers).map(|(s, u)| (s - self.range * u).max(LEAST).min(*s)).collect())
    }
}
