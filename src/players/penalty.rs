//! Penalties on the gradient of a critic with respect to its input, differentiated through that gradient.
//!
//! A critic is any function of a variable: a discriminator's forward pass with its weights on the tape. The points at
//! which its gradient is taken are a variable on the same tape, [`Context::leaf`](crate::nn::Context::leaf). What a
//! penalty returns is exact, and so is the gradient of it that a backward pass takes ([`Var::gradient`]): add it to the
//! discriminator's loss.
//!
//! ```
//! use veridical::nn::{Context, Layout, Linear, Module, Weights};
//! use veridical::players::{GanLoss, penalty};
//! use veridical::train::{TrainOptions, Trainer};
//! use veridical::{Device, Tensor, Var};
//! # fn main() -> veridical::Result<()> {
//! let mut layout = Layout::new();
//! let mut scope = layout.scope("discriminator");
//! let (first, last) = (Linear::new(&mut scope.at("first"), 2, 8, 1.0), Linear::new(&mut scope.at("last"), 8, 1, 1.0));
//! let weights = Weights::init(&layout.into(), 7, &Device::Cpu)?;
//! let mut discriminator = Trainer::new(weights, TrainOptions::adam(1e-3, 7))?;
//!
//! let real = Tensor::from_vec(vec![1f32, 2., 3., 4.], [2, 2], &Device::Cpu)?;
//! let fake = Tensor::from_vec(vec![0f32, 1., 1., 0.], [2, 2], &Device::Cpu)?;
//! discriminator.step(2, |cx| {
//!     let critic = |x: &Var| last.forward(cx, &first.forward(cx, x)?.silu()?);
//!     let loss = GanLoss::NonSaturating.discriminator(&critic(&(&real).into())?, &critic(&(&fake).into())?)?;
//!     loss + penalty::r1(&cx.leaf(&real)?, 10.0, critic)?
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! A penalty costs a forward and two backward passes of the critic; StyleGAN2 (Karras et al. 2020, arXiv 1912.04958)
//! takes it in every 16th step, 16 times as strong. The critic must treat its samples separately: a batch norm would
//! mix their gradients, so critics have layer or group norms, or none.

use super::gan::logits;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::Draws;
use crate::tensor::{DType, Tensor};

/// R1: `gamma / 2` times the mean over the batch of `|grad D(x)|^2` at real points `[b, ...]` (Mescheder et al. 2018,
/// arXiv 1801.04406, equation 9).
///
/// Errors where the critic does, unless it gives `[b]` or `[b, 1]`, if the points are a constant or have no part in its
/// result, and with [`NoHigherGradient`](Error::NoHigherGradient) where it passes an operation without such gradients.
pub fn r1(real: &Var, gamma: f64, critic: impl Fn(&Var) -> Result<Var>) -> Result<Var> {
    ops::scale(squared_norms(&critic(real)?, real)?.mean_all()?, 0.5 * gamma)
}

/// R2: [`r1`] at points that the generator has made (the same, equation 10), which are to be constants.
pub fn r2(fake: &Var, gamma: f64, critic: impl Fn(&Var) -> Result<Var>) -> Result<Var> {
    r1(fake, gamma, critic)
}

/// WGAN-GP: `lambda` times the mean over the batch of `(|grad D(x)|_2 - center)^2` at the points `[b, ...]`, which are
/// [`mixed`] of real and made ones (Gulrajani et al. 2017, arXiv 1704.00028, with lambda 10 and center 1).
///
/// Where a gradient is zero (which leaves its norm without a derivative) the penalty does not move it. Errors as
/// [`r1`].
pub fn gradient_penalty(points: &Var, lambda: f64, center: f64, critic: impl Fn(&Var) -> Result<Var>) -> Result<Var> {
    let squares = squared_norms(&critic(points)?, points)?;
    // The root's slope is infinite at 0; a clamp stops there what would become NaN, and changes nothing elsewhere.
    let norms = squares.clamp(f64::from(f32::MIN_POSITIVE), f64::INFINITY)?.sqrt()?;
    ops::scale((norms - center)?.square()?.mean_all()?, lambda)
}

/// `|grad_x D(x_b)|^2` of each sample, `[b]` in f32 (f64 for f64), from the critic's `[b]` or `[b, 1]` results at the
/// points `[b, ...]`: for a penalty of one's own, or where the results are needed for a loss too.
///
/// Errors as [`r1`].
pub fn squared_norms(results: &Var, points: &Var) -> Result<Var> {
    const OP: &str = "penalty";
    if !points.requires_grad() {
        return Err(Error::argument(
            OP,
            "the points are a constant; make them a leaf of the tape that the critic's weights are on (`Context::leaf`)",
        ));
    }
    let results = logits(OP, results)?;
    let batch = results.shape()[0];
    if points.shape().first() != Some(&batch) {
        return Err(Error::shape(OP, format!("points [{batch}, ...], one for each of the results"), points.shape()));
    }
    let gradient = results.sum_all()?.gradient(&[points])?.remove(0);
    let wide = if gradient.dtype() == DType::BF16 { ops::cast(gradient, DType::F32)? } else { gradient };
    let per_sample = points.shape()[1..].iter().product::<usize>();
    wide.reshape([batch, per_sample])?.square()?.sum(&[1])
}

/// `mix_b real_b + (1 - mix_b) fake_b`: `real` and `fake` are `[b, ...]`, `mix` is `[b]` in `[0, 1]`.
///
/// Errors if shapes, dtypes or devices do not fit.
pub fn mixed(real: &Tensor, fake: &Tensor, mix: &Tensor) -> Result<Tensor> {
    const OP: &str = "penalty::mixed";
    if real.shape() != fake.shape() {
        return Err(Error::shape(OP, format!("made samples {} like the real ones", real.shape()), fake.shape()));
    }
    let batch = real.shape().first().copied().unwrap_or(0);
    if mix.shape()[..] != [batch] {
        return Err(Error::shape(OP, format!("mix [{batch}] for samples {}", real.shape()), mix.shape()));
    }
    let mut extents = vec![1; real.shape().rank()];
    extents[0] = batch;
    let mix = mix.reshape(extents)?;
    Ok(((real * &mix)? + (fake * (1.0 - &mix)?)?)?.into_value())
}

/// [`mixed`] with a uniform random number for each sample, from its place in `draws`.
pub fn mixed_at_random(real: &Tensor, fake: &Tensor, draws: &Draws) -> Result<Tensor> {
    let batch = real.shape().first().copied().unwrap_or(0);
    mixed(real, fake, &ops::uniform([batch], real.dtype(), draws, &real.device())?)
}
