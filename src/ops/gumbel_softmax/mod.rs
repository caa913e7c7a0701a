//! Relaxed samples from categorical distributions.

mod cpu;
mod gpu;

use super::gumbel_rows::{check_labels, check_temperature};
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
/// The relaxed sample, in the logits' dtype, is all that the gradient keeps: the result, or with `hard` one tensor
/// beside it. Where no gradient is wanted, `hard` takes one pass and no softmax. [`gumbel_rao`](super::gumbel_rao())
/// has the gradient of `hard` with less variance.
///
/// Errors unless `tau` is positive and finite in f32, on other shapes, and if noise or sample ids do not fit. A row
/// without a distribution (all -inf, or with a NaN or +inf) is an error on the CPU; a GPU, which nobody waits for,
/// makes the row NaN.
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
    check_temperature(OP, tau)?;
    check_labels(OP, k)?;
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
    // Backward needs nothing but the relaxed sample, in the logits' dtype: divided by its sum, as it is there, a sample
    // in bf16 is the softmax of numbers that are at most 2^-9 off, and 1 - soft is as good as soft. Where nobody asks
    // for a gradient, a one-hot sample takes one pass and no softmax.
    let empty = |wanted: bool| if wanted { x.empty_like().map(Some) } else { Ok(None) };
    let mut forward = Forward { x, tau, noise, soft: empty(!hard || logits.requires_grad())?, y: empty(hard)? };
    if n > 0 {
        on!(x.device(), forward(&mut forward))?;
    }
    let Forward { soft, y, .. } = forward;
    let Some(y) = y.or_else(|| soft.clone()) else { return Err(Error::NoGradient { op: OP }) };
    Var::record(OP, y, [logits], move |dy, _| {
        let Some(soft) = &soft else { return Err(Error::NoGradient { op: OP }) };
        let mut dx = dy.empty_like()?;
        if !dy.is_empty() {
            on!(dy.device(), backward(dy, soft, k, tau, &mut dx))?;
        }
        Ok([Some(dx)])
    })
}

/// What the forward pass takes and makes: `soft`, the relaxed sample, and `y`, the one-hot one, or one of them.
struct Forward<'a> {
    x: &'a Tensor,
    tau: f64,
    noise: GumbelNoise<'a>,
    soft: Option<Tensor>,
    y: Option<Tensor>,
}

/// What is computed in.
fn accumulator(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}
