//! Ambient-Tweedie: score matching on images with and without noise (Daras, Cherapanamjeri & Daskalakis 2025, arXiv
//! 2411.02780; Daras, Dimakis & Daskalakis 2024, arXiv 2404.10177).
//!
//! For an image `y` that has noise of level `s` (0 for a clean one), with `D = E[clean | x]`, which is wanted:
//!
//! ```text
//! sigma    = max(s, EDM's draw)                                                            (1)
//! x        = y + sqrt(sigma^2 - s^2) z        noise of level sigma on the clean image       (2)
//! E[y | x] = (1 - s^2/sigma^2) D + (s^2/sigma^2) x    Tweedie's formula at both levels      (3)
//! L        = lambda(sigma) |E[y | x] - y|^2           what can be learned                   (4)
//! ```
//!
//! With `s = 0` this is the plain loss, bit for bit.

mod settings;
mod training;

pub use settings::{AmbientLoss, AmbientObjective, AmbientSection, AmbientSettings, TrainedOn};
pub use training::AmbientTraining;

use std::sync::Arc;

use super::chain::{self, ChainNoise};
use super::raised::{Raised, raised};
use crate::autograd::Var;
use crate::diffusion::{Denoiser, Loss, per_sample};
use crate::error::{Error, Result};
use crate::nn::{Conditions, Context};
use crate::ops;
use crate::ops::random::Address;
use crate::tensor::Tensor;
use crate::train::{Batch, Objective};

/// The least level that the consistency term goes down to, EDM's.
const LEAST: f64 = 0.002;

/// The loss on a set of which each image has its own noise level.
#[derive(Debug, Clone)]
pub struct AmbientTweedie {
    /// Where `sigma` and the weight come from.
    pub loss: Loss,
    /// The noise level of each image of the set, 0 for clean ones.
    pub levels: Arc<[f64]>,
    /// The consistency term.
    pub consistency: Option<Consistency>,
}

/// The consistency term: `weight mean |mean_p D(x'_p; sigma') - D(x; sigma)|^2`, where `x'_p` are `copies`
/// continuations of `x` down to a level `sigma' <= sigma` by the reverse SDE in `steps` Euler steps. Where only noisy
/// images teach, it is all that says anything about levels below theirs. Its authors advise it when nearly all images
/// are noisy, as a late fine-tuning.
///
/// It is a stronger term than theirs (giannisdaras/ambient-laws), which takes the draw of sigma for `sigma'` too, so
/// that it moves only images whose sigma was raised, makes 5 steps between its 6 levels, on 32 images of the batch at
/// most, and divides by the whole batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consistency {
    /// Factor of the term.
    pub weight: f64,
    /// Steps of a continuation.
    pub steps: usize,
    /// Continuations of each sample.
    pub copies: usize,
    /// Whether gradients flow through the continuations too, or only through the last denoisings.
    pub through_chain: bool,
}

impl AmbientTweedie {
    /// The loss of samples `y` `[n, ...]` f32 whose noise has the levels `noise`, a scalar. Random numbers come from
    /// the context's [address](Context::address). Errors unless there is a level for each sample, not below 0 and
    /// finite, and where [`Loss::at`] does.
    pub fn forward(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        y: &Tensor,
        noise: &[f64],
        conditions: Conditions,
    ) -> Result<Var> {
        let address = cx.address()?;
        // Equations 1 and 2.
        let Raised { sigmas, x } = raised("Ambient-Tweedie", &self.loss, y, noise, address)?;
        let denoised = denoiser.denoise(cx, &x, &sigmas, conditions)?;
        // Equation 3.
        let prediction = match noise.iter().all(|s| *s == 0.0) {
            true => denoised.clone(),
            false => {
                let share = |f: &dyn Fn(f64) -> f64| {
                    let values = sigmas.iter().zip(noise).map(|(sigma, s)| f((s / sigma).powi(2)));
                    per_sample(values, y.shape().rank(), &y.device())
                };
                ((&denoised * share(&|r| 1.0 - r)?)? + (&x * share(&|r| r)?)?)?
            }
        };
        // Equation 4.
        let loss = self.loss.of_denoised(&prediction, y, &sigmas, denoiser.sigma_data())?;
        match &self.consistency {
            None => Ok(loss),
            Some(term) => {
                let term = term.forward(cx, denoiser, &self.loss, (&x, &denoised, &sigmas), conditions)?;
                ops::add(&loss, &term)
            }
        }
    }
}

impl Objective for AmbientTweedie {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        let level = |&i: &u32| {
            let level = self.levels.get(i as usize).copied();
            level.ok_or_else(|| Error::argument("Ambient-Tweedie", format!("image {i} of {}", self.levels.len())))
        };
        let noise: Vec<f64> = batch.indices.iter().map(level).collect::<Result<_>>()?;
        self.forward(cx, denoiser, batch.y, &noise, batch.conditions)
    }
}

impl Consistency {
    fn forward(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        loss: &Loss,
        (x, denoised, sigmas): (&Var, &Var, &[f64]),
        conditions: Conditions,
    ) -> Result<Var> {
        let address = cx.address()?;
        let lower = lower_levels(loss, sigmas, address)?;
        let levels = chain::levels(sigmas, &lower, self.steps);
        let frozen = chain::without_gradient(cx);
        let walking = if self.through_chain { cx } else { &frozen };
        let mut mean: Option<Var> = None;
        for copy in 0..self.copies {
            let noise = ChainNoise { address, site: copy as u32 };
            let end = chain::reverse_sde(walking, denoiser, x.clone(), &levels, conditions, &noise)?;
            let at_end = denoiser.denoise(cx, &end, &lower, conditions)?;
            let share = ops::scale(&at_end, 1.0 / self.copies as f64)?;
            mean = Some(match mean {
                None => share,
                Some(sum) => ops::add(&sum, &share)?,
            });
        }
        let Some(mean) = mean else { return Err(Error::argument("consistency", "no copies")) };
        let difference = ops::sub(&mean, denoised)?;
        ops::scale(&chain::mean_product(&difference, &difference)?, self.weight)
    }
}

/// `sigma'` of each sample: drawn as `sigma` is, independently of it, and not above it.
fn lower_levels(loss: &Loss, sigmas: &[f64], address: &Address) -> Result<Vec<f64>> {
    let lower = loss.sigmas_at(sigmas.len(), address, 1)?;
    Ok(lower.into_iter().zip(sigmas).map(|(lower, sigma)| lower.max(LEAST).min(*sigma)).collect())
}
