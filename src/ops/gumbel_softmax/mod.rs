//! Relaxed samples from categorical distributions.

mod cpu;
mod gpu;

use super::{check_float, check_same_device, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::random::Draws;
use crate::tensor::{DType, Tensor};

const OP: &str = "gumbel softmax";

/// Where the Gumbel noise comes from.
#[derive(Debug, Clone, Copy)]
pub enum GumbelNoise<'a> {
    /// Made in the kernel, never stored.
    Drawn(&'a Draws),
    /// `[n, k]`, f32 (f64 for f64 logits).
    Given(&'a Tensor),
}

impl<'a> From<&'a Draws> for GumbelNoise<'a> {
    fn from(draws: &'a Draws) -> Self {
        GumbelNoise::Drawn(draws)
    }
}

/// `y = softmax((logits + g) / tau)` over the last axis of `[n, k]` logits, `g` Gumbel noise: a relaxed one-hot sample
/// from `softmax(logits)` (Jang et al. 2016, arXiv 1611.01144; Maddison et al. 2016, arXiv 1611.00712).
///
/// With `hard`, `y` is exactly one-hot at `argmax(logits + g)`, with the gradient of the relaxed sample `s`
/// (straight-through): `dlogits = s (dy - sum(s dy)) / tau` either way. A logit of -inf is a masked label: probability
/// and gradient are exactly 0. Noise and softmax are in f32 (f64) whatever the dtype; the maximum is taken off before
/// the division by `tau`, so no `tau` overflows.
///
/// Errors unless `tau` is positive and finite, on other shapes, and if noise or sample ids do not fit. A row without a
/// distribution (all -inf, or with a NaN or +inf) is an error on the CPU; a GPU, which nobody waits for, makes the row
/// NaN.
pub fn gumbel_softmax<'a>(
    logits: impl Into<Var>,
    tau: f64,
    hard: bool,
    noise: impl Into<GumbelNoise<'a>>,
) -> Result<Var> {
    let logits = &logits.into();
    let (x, noise) = (logits.value(), noise.into());
    check_float(OP, x)?;
    let [n, k] = x.shape().dims(OP, "logits [n, k]")?;
    if k == 0 && n > 0 {
        return Err(Error::shape(OP, "at least one label", x.shape()));
    }
    if !(tau.is_finite() && tau as f32 >= f32::MIN_POSITIVE) {
        return Err(Error::argument(OP, format!("tau must be positive and finite, got {tau}")));
    }
    match noise {
        GumbelNoise::Drawn(draws) => {
            draws.check(OP, x.shape(), &x.device())?;
        }
        GumbelNoise::Given(noise) => {
            check_same_device(OP, x, noise)?;
            let dtype = accumulator(x.dtype());
            if noise.dtype() != dtype || noise.shape() != x.shape() {
                let got = format!("{}{}", noise.dtype(), noise.shape());
                return Err(Error::shape(OP, format!("noise {dtype}{}", x.shape()), got));
            }
        }
    }
    // The relaxed sample is kept in the type it is computed in: rounded to bf16, 1 - soft would lose all its digits.
    let dtype = accumulator(x.dtype());
    let mut soft = Tensor::empty(x.shape(), dtype, &x.device())?;
    let mut y = if hard || x.dtype() != dtype { Some(x.empty_like()?) } else { None };
    if n > 0 {
        on!(x.device(), forward(x, tau, hard, noise, &mut soft, y.as_mut()))?;
    }
    let y = y.unwrap_or_else(|| soft.clone());
    Var::record(OP, y, [logits], move |dy, _| {
        let mut dx = dy.empty_like()?;
        if !dy.is_empty() {
            on!(dy.device(), backward(dy, &soft, k, tau, &mut dx))?;
        }
        Ok([Some(dx)])
    })
}

/// What is computed in.
fn accumulator(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}
