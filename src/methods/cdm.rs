//! Consistent diffusion models: fine-tuning so that what a model says of its own samples on their way is what it said
//! before (Daras, Dagan, Dimakis & Daskalakis 2023, arXiv 2302.09057).
//!
//! ```text
//! s'      = max(s - U(0, range), 0.002)                                                    (1)
//! x', x'' = two independent continuations of x by the reverse SDE from level s to s'       (2)
//! L       = L_score + lambda mean (D(x'; s') - D(x; s)) . (D(x''; s') - D(x; s))           (3)
//! ```
//!
//! As the continuations are independent given x, the product is an unbiased square of the mean difference. Along the
//! reverse SDE a true denoiser keeps its mean, `E[D(x'; s') | x] = D(x; s)`, so that it loses nothing; along EDM's
//! churned steps of the probability flow it does not. Gradients flow through the denoisings, not through the
//! continuations.
//!
//! Process and defaults are those of the authors' code as its `train.py` calls it: lambda 10 (2 is the default of its
//! loss class alone, which `train.py` overrides), 6 levels and so 5 Euler steps, range 0.05. Its `S_churn`, `S_min`,
//! `S_max` and `S_noise` do nothing there. Unlike it the continuations here run without dropout and are told of
//! augmentation, and no level is raised to 0.002.

use super::chain::{self, ChainNoise};
use crate::autograd::Var;
use crate::diffusion::{Denoiser, Loss, column, noised};
use crate::error::Result;
use crate::nn::Context;
use crate::ops;
use crate::ops::random::Address;
use crate::random::Purpose;
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
    /// Euler steps of a continuation; it passes one level more.
    pub steps: usize,
}

impl Default for Cdm {
    fn default() -> Self {
        Cdm { loss: Loss::default(), weight: 10.0, range: 0.05, steps: 5 }
    }
}

/// The least level that a continuation goes down to.
const LEAST: f64 = 0.002;

impl Objective for Cdm {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        let n = batch.y.shape().first().copied().unwrap_or(0);
        let address = cx.address()?;
        let sigmas = self.loss.sigmas(n, address)?;
        let x = noised(batch.y, column(&sigmas, &batch.y.device())?, &address.draws(Purpose::TrainingNoise))?;
        let denoised = denoiser.denoise(cx, &x, &sigmas, batch.conditions)?;
        let loss = self.loss.of_denoised(&denoised, batch.y, &sigmas, denoiser.sigma_data())?;

        let lower = self.lower_levels(&sigmas, address)?; // equation 1
        let differences = [0, 1].map(|site| -> Result<Var> {
            // Equation 2.
            let end = self.continued(cx, denoiser, &x, (&sigmas, &lower), batch, site)?;
            ops::sub(&denoiser.denoise(cx, &end, &lower, batch.conditions)?, &denoised)
        });
        // Equation 3.
        let [first, second] = differences;
        ops::add(&loss, &ops::scale(&chain::mean_product(&first?, &second?)?, self.weight)?)
    }
}

impl Cdm {
    /// `x'`: the reverse SDE from `x`, from one level of each sample to another, with the noise of `site`.
    fn continued(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        x: &Var,
        (from, to): (&[f64], &[f64]),
        batch: &Batch,
        site: u32,
    ) -> Result<Var> {
        let noise = ChainNoise { address: cx.address()?, site };
        let levels = chain::levels(from, to, self.steps);
        chain::reverse_sde(&chain::without_gradient(cx), denoiser, x.clone(), &levels, batch.conditions, &noise)
    }

    /// `s' = max(s - U(0, range), 0.002)`, and never above `s`.
    fn lower_levels(&self, sigmas: &[f64], address: &Address) -> Result<Vec<f64>> {
        let draws = address.on_cpu()?.draws_at(Purpose::Sigma, 1);
        let numbers = ops::uniform([sigmas.len(), 1], DType::F64, &draws, &Device::Cpu)?.to_f64()?;
        Ok(sigmas.iter().zip(numbers).map(|(s, u)| (s - self.range * u).max(LEAST).min(*s)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::{Model, ModelConfig};
    use crate::nn::{Conditions, MlpConfig};
    use crate::tensor::Tensor;

    /// Mean and variance that Euler's method on the reverse SDE gives `D(x'; s')` for `x = 1`, where `D(x; s) = c(s) x`
    /// with `c = a^2 / (a^2 + s^2)`: steps are linear, so plain arithmetic has both.
    fn moments(a: f64, from: f64, to: f64, steps: usize) -> (f64, f64) {
        let c = |s: f64| a * a / (a * a + s * s);
        let level = |k: usize| {
            let u = k as f64 / steps as f64;
            ((1.0 - u) * from.powf(1.0 / 7.0) + u * to.powf(1.0 / 7.0)).powi(7)
        };
        let (mut mean, mut variance) = (1.0, 0.0);
        for (t, next) in (0..steps).map(|k| (level(k), level(k + 1))) {
            let factor = 1.0 + 2.0 * (next - t) / t * (1.0 - c(t));
            mean *= factor;
            variance = variance * factor * factor + 2.0 * (t - next) * t;
        }
        (c(to) * mean, c(to) * c(to) * variance)
    }

    /// `E[D(x'; s') | x] = D(x; s)` for the exact denoiser of N(0, a^2), which is a network that says nothing behind
    /// EDM's preconditioning.
    #[test]
    fn what_the_exact_denoiser_says_keeps_its_mean_along_the_continuations() {
        let (a, n, dims) = (0.5, 4096, 16);
        let model = Model::new(&ModelConfig::edm(MlpConfig::new(dims), a), 0, &Device::Cpu).unwrap();
        let zeros = Tensor::zeros([model.weights.layout().flat_len()], DType::F32, &Device::Cpu).unwrap();
        let model = model.with_flat_weights(zeros).unwrap();
        let y = Tensor::from_slice(&vec![1f32; n * dims], [n, dims], &Device::Cpu).unwrap();
        let cx = Context::inference(&model.weights).at(Address::new(5, 3));
        let indices: Vec<u32> = (0..n as u32).collect();
        let conditions = Conditions::default();
        let batch = Batch { y: &y, indices: &indices, conditions };
        let (cdm, x) = (Cdm::default(), Var::from(&y));
        for from in [0.1, 0.3, 0.5, 0.9, 2.0] {
            let to = from - cdm.range;
            let between = (&vec![from; n][..], &vec![to; n][..]);
            let said = |x: &Var, levels: &[f64]| {
                let said = model.denoiser().denoise(&cx, x, levels, conditions).unwrap();
                said.value().to_f64().unwrap()
            };
            let before = said(&x, between.0)[0];
            let after = said(&cdm.continued(&cx, model.denoiser(), &x, between, &batch, 0).unwrap(), between.1);
            let mean = after.iter().sum::<f64>() / after.len() as f64;
            let variance = after.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / after.len() as f64;
            let (expected, spread) = moments(a, from, to, cdm.steps);
            let standard_error = (spread / after.len() as f64).sqrt();
            assert!((mean - expected).abs() < 5.0 * standard_error, "{from}: {mean}, expected {expected}");
            approx::assert_relative_eq!(variance, spread, max_relative = 0.05);
            // What is left is the error of five Euler steps.
            let error = (mean / before - 1.0).abs();
            assert!(error < 0.003 + 5.0 * standard_error / before, "{from}: {mean} after {before}");
        }
    }
}
