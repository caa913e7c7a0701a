//! Hard samples from categorical distributions, with a gradient of low variance.

mod cpu;
mod gpu;

use super::gumbel_rows::{check_labels, check_temperature};
use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::random::Draws;
use crate::tensor::{DType, Tensor};

const OP: &str = "gumbel rao";

/// The most samples that a gradient can be averaged over.
pub const MOST_SAMPLES: usize = 4096;

/// The straight-through Gumbel-softmax estimator, Rao-Blackwellised: Paulus, Maddison & Krause 2021, arXiv 2010.04838.
///
/// `logits` are `[n, k]`; the result is exactly one-hot at `d = argmax(logits + g)`, as that of
/// [`gumbel_softmax`](super::gumbel_softmax()) with `hard` and the same draws. Its gradient has the same expectation
/// and less variance: it is the mean, over `samples` relaxed samples `s` of which `d` is the argmax too, of
/// `s (dy - sum(s dy)) / tau`. Such a sample is `softmax(v / tau)` where `v_d = a`, the Gumbel number of label `d`, and
/// `v_j = -log(exp(-a) + exp(-t_j))` elsewhere, with `t = log softmax(logits) + g` from fresh numbers `g`: section 3 of
/// the paper, where `exp(-a)` and `exp(-g_j)` are the exponential numbers. They are made in the backward pass, in f32
/// whatever the dtype; what is kept for it are the logits and one label a row.
///
/// Sample `m` takes its noise from the elements from `4 (m + 1) ceil(k / 4)` on of each row's sample in `draws`. A
/// logit of -inf is a masked label, whose gradient is exactly 0.
///
/// Errors unless `tau` is positive and finite in f32 and `samples` between 1 and [`MOST_SAMPLES`], on other shapes, if
/// the sample ids do not fit, and, on the CPU, on a row without a distribution (all -inf, or with a NaN or +inf). A GPU
/// makes that row, and its gradient, NaN.
pub fn gumbel_rao(logits: impl Into<Var>, tau: f64, samples: usize, draws: &Draws) -> Result<Var> {
    let logits = &logits.into();
    let x = logits.value();
    check_float(OP, x)?;
    let [n, k] = x.shape().dims(OP, "logits [n, k]")?;
    if k == 0 && n > 0 {
        return Err(Error::shape(OP, "at least one label", x.shape()));
    }
    check_temperature(OP, tau)?;
    check_labels(OP, k)?;
    draws.check(OP, x.shape(), &x.device())?;
    if !(1..=MOST_SAMPLES).contains(&samples) {
        return Err(Error::argument(OP, format!("between 1 and {MOST_SAMPLES} samples, got {samples}")));
    }
    let blocks = (samples as u64 + 1) * k.div_ceil(4) as u64;
    if blocks > 1 << 32 {
        let what = format!("{samples} samples of {k} labels take more than the 2^34 numbers that a row has");
        return Err(Error::argument(OP, what));
    }
    let mut y = x.empty_like()?;
    let mut labels = Tensor::empty([n], DType::U32, &x.device())?;
    if n > 0 {
        on!(x.device(), forward(x, k, draws, &mut y, &mut labels))?;
    }
    let saved = Backward { x: x.clone(), labels, k, tau, samples, draws: draws.clone() };
    Var::record(OP, y, [logits], move |dy, _| {
        let mut dx = dy.empty_like()?;
        if !dy.is_empty() {
            on!(dy.device(), backward(dy, &saved, &mut dx))?;
        }
        Ok([Some(dx)])
    })
}

/// What the gradient is made of.
struct Backward {
    x: Tensor,
    labels: Tensor,
    k: usize,
    tau: f64,
    samples: usize,
    draws: Draws,
}
