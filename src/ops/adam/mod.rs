//! One step of Adam with everything that belongs to it, in one pass over the weights.

mod cpu;
mod gpu;

use super::on;
use super::step::check_buffers;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

const OP: &str = "adam";

/// The settings of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the second moment, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay (Loshchilov & Hutter 2017, arXiv 1711.05101); 0 for Adam.
    pub weight_decay: f64,
    /// Which step this is, from 1 on.
    pub step: u64,
    /// Decay of the running average of the weights, in `[0, 1]`; 0 copies the weights.
    pub ema_beta: f64,
}

impl Default for AdamStep {
    fn default() -> Self {
        AdamStep { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, step: 1, ema_beta: 0.0 }
    }
}

/// What a step changes, in place. All of one shape; f32, or all f64 on the CPU.
#[derive(Debug)]
pub struct AdamState<'a> {
    /// The weights.
    pub weights: &'a mut Tensor,
    /// First moment, zeros before the first step.
    pub m: &'a mut Tensor,
    /// Second moment, zeros before the first step.
    pub v: &'a mut Tensor,
    /// Running average of the weights.
    pub ema: Option<&'a mut Tensor>,
    /// bf16 copy of the weights, rounded to nearest even.
    pub copy: Option<&'a mut Tensor>,
}

/// The settings in the form in which the kernels take them, each made in f64 on the host.
#[derive(Debug, Clone, Copy)]
struct Factors {
    /// `lr / (1 - beta1^t)`
    lr: f64,
    /// `1 / sqrt(1 - beta2^t)`
    root: f64,
    /// `1 - beta1`, `1 - beta2`: the averages move by these parts of the distance, which keeps their digits where beta
    /// is near 1.
    w1: f64,
    w2: f64,
    eps: f64,
    /// `lr * weight_decay`
    decay: f64,
    /// `1 - ema_beta`
    ema: f64,
}

/// One step of Adam (Kingma & Ba 2014, arXiv 1412.6980), bias correction included:
///
/// `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, `w <- w (1 - lr wd) - lr (m / (1 - b1^t)) / (sqrt(v / (1 -
/// b2^t)) + eps)`, then `ema <- e ema + (1 - e) w` and `copy <- bf16(w)` where given. One read and one write of each
/// buffer.
///
/// `clip` is the result of [`gradient_norm`](super::gradient_norm()) and multiplies the gradient by its factor. Where
/// the norm is not finite the whole step is left out and nothing changes; the norm itself, which the caller can read
/// when it suits, reports it. (The bias correction counts steps that were left out.) The result is bit for bit the same
/// on every device.
///
/// Buffers are written in place where nobody shares them and copied first where somebody does. `gradient` has the shape
/// of the weights and their dtype, or bf16. Errors if shapes, dtypes or devices do not fit, or on settings outside
/// their ranges.
pub fn adam(step: &AdamStep, state: AdamState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()> {
    let factors = step.factors()?;
    check(&state, gradient, clip)?;
    if gradient.is_empty() {
        return Ok(());
    }
    on!(gradient.device(), update(factors, state, gradient, clip))
}

impl AdamStep {
    fn factors(&self) -> Result<Factors> {
        let AdamStep { lr, beta1, beta2, eps, weight_decay, step, ema_beta } = *self;
        let decay_rate = |beta: f64| (0.0..1.0).contains(&beta);
        let size = |x: f64| x.is_finite() && x >= 0.0;
        let sound = decay_rate(beta1) && decay_rate(beta2) && (0.0..=1.0).contains(&ema_beta);
        if !sound || !size(eps) || !size(weight_decay) || !lr.is_finite() || step == 0 {
            return Err(Error::argument(
                OP,
                format!(
                    "betas must be in [0, 1), eps and weight_decay not negative, lr finite, step at least 1; got {self:?}"
                ),
            ));
        }
        // 1 - beta^t without cancellation where beta^t is near 1.
        let correction = |beta: f64| if beta == 0.0 { 1.0 } else { -(step as f64 * beta.ln()).exp_m1() };
        Ok(Factors {
            lr: lr / correction(beta1),
            root: correction(beta2).sqrt().recip(),
            w1: 1.0 - beta1,
            w2: 1.0 - beta2,
            eps,
            decay: lr * weight_decay,
            ema: 1.0 - ema_beta,
        })
    }
}

fn check(state: &AdamState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()> {
    let mut masters = vec![("a first moment", &*state.m), ("a second moment", &*state.v)];
    masters.extend(state.ema.as_deref().map(|ema| ("an average", ema)));
    check_buffers(OP, state.weights, gradient, clip, &masters, state.copy.as_deref())
}
