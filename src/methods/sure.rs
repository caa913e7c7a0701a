//! Denoisers from noisy images alone by Stein's unbiased risk estimate (Stein 1981; Ramani, Blu & Unser 2008,
//! "Monte-Carlo SURE"; as training loss Metzler et al. 2018, arXiv 1805.10531).
//!
//! For an image `y` with noise of level `s`, and `d` numbers in an image:
//!
//! ```text
//! sigma = max(s, EDM's draw)                                                                  (1)
//! x     = y + sqrt(sigma^2 - s^2) z                   noise of level sigma on the clean image  (2)
//! L     = lambda(sigma) (|D - x|^2 - d sigma^2 + 2 sigma^2 div D),    D = D(x; sigma)          (3)
//! div D = E b . (D(x + h b) - D(x)) / h               b of independent signs                   (4)
//! ```
//!
//! What is expected of (3) is `lambda |D - clean|^2`, the loss beside the clean image, at every level from the image's
//! own on. An image with `s = 0` is clean and has that loss itself, bit for bit.
//!
//! (4) takes one draw of `b` for each sample and a difference with `h` a share of sigma. The difference is that of two
//! numbers in f32, and curves of third order bias it by a term in `h^2` (those of second order drop out on average, for
//! signs have no third moment).

use std::sync::Arc;

use super::denoising::posterior_mean;
use super::noisy::NoiseLevels;
use super::raised::{Raised, raised};
use crate::autograd::Var;
use crate::data::Images;
use crate::diffusion::{Denoiser, Loss, Model, per_sample};
use crate::error::{Error, Result};
use crate::nn::{Conditions, Context};
use crate::ops;
use crate::ops::random::Address;
use crate::random::Purpose;
use crate::tensor::{DType, Device, Tensor};
use crate::train::{Batch, Objective};

/// The site of the signs, beside that of the noise.
const SIGNS: u32 = 1;

/// The loss on a set of which each image has its own noise level.
#[derive(Debug, Clone)]
pub struct Sure {
    /// Where `sigma` and the weight come from.
    pub loss: Loss,
    /// The noise level of each image of the set, 0 for clean ones.
    pub levels: Arc<[f64]>,
    /// The step of the difference that stands for the divergence, as a share of sigma; above 0.
    pub step: f64,
}

impl Sure {
    /// The loss of samples `y` `[n, ...]` f32 whose noise has the levels `noise`, a scalar. Random numbers come from
    /// the context's [address](Context::address). Errors unless there is a level for each sample, not below 0 and
    /// finite, on a step that is not above 0, and where [`Loss::at`] does.
    pub fn forward(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        y: &Tensor,
        noise: &[f64],
        conditions: Conditions,
    ) -> Result<Var> {
        let n = y.shape().first().copied().unwrap_or(0);
        if !(self.step.is_finite() && self.step > 0.0) {
            return Err(Error::argument("SURE", format!("a step above 0, got {}", self.step)));
        }
        let address = cx.address()?;
        // Equations 1 and 2.
        let Raised { sigmas, x } = raised("SURE", &self.loss, y, noise, address)?;
        let denoised = denoiser.denoise(cx, &x, &sigmas, conditions)?;
        if noise.iter().all(|s| *s == 0.0) {
            return self.loss.of_denoised(&denoised, y, &sigmas, denoiser.sigma_data());
        }
        // Equation 3: clean samples have themselves for a target, noisy ones what the denoiser saw.
        let rank = y.shape().rank();
        let each = |f: &dyn Fn(f64, f64) -> f64| {
            per_sample(sigmas.iter().zip(noise).map(|(sigma, s)| f(*sigma, *s)), rank, &y.device())
        };
        let seen = each(&|_, s| if s > 0.0 { 1.0 } else { 0.0 })?;
        let target = ops::add(&ops::mul(&ops::sub(&x, y)?, &seen)?, y)?.into_value();
        let squares = self.loss.of_denoised(&denoised, &target, &sigmas, denoiser.sigma_data())?;
        // Equation 4.
        let signs = signs(y, address)?;
        let moved = ops::add(&x, &ops::mul(&signs, &each(&|sigma, _| self.step * sigma)?)?)?;
        let difference = ops::sub(&denoiser.denoise(cx, &moved, &sigmas, conditions)?, &denoised)?;
        let weight = |sigma: f64| self.loss.weight(sigma, denoiser.sigma_data()) / n as f64;
        // 2 sigma^2 over the step, which is a share of sigma.
        let slope = each(&|sigma, s| if s > 0.0 { weight(sigma) * 2.0 * sigma / self.step } else { 0.0 })?;
        let axes: Vec<usize> = (0..rank).collect();
        let divergence = ops::sum(&ops::mul(&ops::mul(&difference, &signs)?, &slope)?, &axes)?;
        let values = (y.len() / n.max(1)) as f64;
        let noisy = sigmas.iter().zip(noise).filter(|(_, s)| **s > 0.0);
        let constant: f64 = noisy.map(|(sigma, _)| weight(*sigma) * values * sigma * sigma).sum();
        ops::add(&squares, &divergence)? - constant
    }
}

/// The level of the noise of the images at `indices`, as a model sees it, by a model that was trained by SURE with the
/// `levels`, whether these are right or not: UNSURE (Tachella, Davies & Jacques 2024, arXiv 2409.01985).
///
/// For a stated level `s`, (3) at the images' own level is `s^4 (|S|^2 + 2 div S)` and a constant, with the score `S =
/// (D - y) / s^2`: Hyvärinen's score matching, which is least for the score of the noisy law, whatever `s` is. UNSURE's
/// denoiser is `y + eta S` with the multiplier `eta` that makes its expected divergence 0, `d / E |S|^2`; the
/// root of it is given. It is the level of the noise or more, the nearer the less the clean images vary in some
/// directions.
///
/// Errors if the images are not the model's size, and where there are none.
pub fn unsure_sigma(model: &Model, noisy: &Images, indices: &[u32], levels: &NoiseLevels) -> Result<f64> {
    if indices.is_empty() {
        return Err(Error::argument("UNSURE", "no images"));
    }
    let denoised = posterior_mean(model, noisy, indices, levels)?;
    let (y, values) = (noisy.gather(indices)?.0, noisy.values());
    let square = |(i, (d, y)): (usize, (&f32, &f32))| {
        let sigma = levels.of(indices[i / values] as usize);
        (f64::from(d - y) / (sigma * sigma)).powi(2)
    };
    let mean = denoised.iter().zip(&y).enumerate().map(square).sum::<f64>() / denoised.len() as f64;
    Ok(mean.sqrt().recip())
}

/// Independent signs like `y`.
fn signs(y: &Tensor, address: &Address) -> Result<Var> {
    let draws = address.on_cpu()?.draws_at(Purpose::TrainingNoise, SIGNS);
    let numbers = ops::uniform(y.shape(), DType::F32, &draws, &Device::Cpu)?.to_vec::<f32>()?;
    let signs: Vec<f32> = numbers.iter().map(|u| if *u < 0.5 { -1.0 } else { 1.0 }).collect();
    Ok(Tensor::from_slice(&signs, y.shape(), &y.device())?.into())
}

impl Objective for Sure {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        let level = |&i: &u32| {
            let level = self.levels.get(i as usize).copied();
            level.ok_or_else(|| Error::argument("SURE", format!("image {i} of {}", self.levels.len())))
        };
        let noise: Vec<f64> = batch.indices.iter().map(level).collect::<Result<_>>()?;
        self.forward(cx, denoiser, batch.y, &noise, batch.conditions)
    }
}
