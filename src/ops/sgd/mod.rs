//! One step of gradient descent with momentum, optionally normalised by running squares (RMSprop), in one pass over the
//! weights.

mod cpu;
mod gpu;

use super::on;
use super::step::check_buffers;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

const OP: &str = "sgd";

/// The settings of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the momentum, in `[0, 1)`; 0: none.
    pub momentum: f64,
    /// Looks ahead along the momentum (Nesterov 1983).
    pub nesterov: bool,
    /// Times the weights, added to the gradient.
    pub weight_decay: f64,
    /// RMSprop: `(alpha, eps)`, the decay of the running squares and what is added to their root.
    pub rms: Option<(f64, f64)>,
    /// Decay of the running average of the weights, in `[0, 1]`; 0 copies the weights.
    pub ema_beta: f64,
}

impl Default for SgdStep {
    fn default() -> Self {
        SgdStep { lr: 0.01, momentum: 0.0, nesterov: false, weight_decay: 0.0, rms: None, ema_beta: 0.0 }
    }
}

/// What a step changes, in place. All of one shape; f32, or all f64 on the CPU.
#[derive(Debug)]
pub struct SgdState<'a> {
    /// The weights.
    pub weights: &'a mut Tensor,
    /// The momentum, zeros before the first step; needed if there is momentum.
    pub momentum: Option<&'a mut Tensor>,
    /// The running squares, zeros before the first step; needed for RMSprop.
    pub squares: Option<&'a mut Tensor>,
    /// Running average of the weights.
    pub ema: Option<&'a mut Tensor>,
    /// bf16 copy of the weights, rounded to nearest even.
    pub copy: Option<&'a mut Tensor>,
}

/// The settings in the form in which the kernels take them.
#[derive(Debug, Clone, Copy)]
struct Factors {
    lr: f64,
    momentum: f64,
    nesterov: bool,
    decay: f64,
    /// `1 - alpha`
    part: f64,
    eps: f64,
    /// `1 - ema_beta`
    ema: f64,
}

/// One step of descent: `g <- g + wd w`; for RMSprop (Tieleman & Hinton 2012) `s <- alpha s + (1 - alpha) g^2`, `g <- g
/// / (sqrt(s) + eps)`; then `b <- mu b + g`, `w <- w - lr (nesterov ? g + mu b : b)`, and `ema` and `copy` as in
/// [`adam`](super::adam()).
///
/// `clip`, writing in place, skipped steps and equal bits on all devices are as in `adam`, too. Errors if shapes,
/// dtypes or devices do not fit, on settings outside their ranges, and if a buffer that the settings need is missing.
pub fn sgd(step: &SgdStep, state: SgdState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()> {
    let factors = step.factors()?;
    let missing = |needed: bool, buffer: &Option<&mut Tensor>| needed && buffer.is_none();
    if missing(step.momentum != 0.0, &state.momentum) || missing(step.rms.is_some(), &state.squares) {
        return Err(Error::argument(OP, "momentum needs a buffer, and so does RMSprop"));
    }
    let optional = [("a momentum", &state.momentum), ("squares", &state.squares), ("an average", &state.ema)];
    let masters: Vec<(&str, &Tensor)> =
        optional.into_iter().filter_map(|(what, tensor)| Some((what, tensor.as_deref()?))).collect();
    check_buffers(OP, state.weights, gradient, clip, &masters, state.copy.as_deref())?;
    if gradient.is_empty() {
        return Ok(());
    }
    // Buffers that the settings do not use are left alone.
    let state = SgdState {
        momentum: state.momentum.filter(|_| step.momentum != 0.0),
        squares: state.squares.filter(|_| step.rms.is_some()),
        ..state
    };
    on!(gradient.device(), update(factors, state, gradient, clip))
}

impl SgdStep {
    fn factors(&self) -> Result<Factors> {
        let SgdStep { lr, momentum, nesterov, weight_decay, rms, ema_beta } = *self;
        let (alpha, eps) = rms.unwrap_or((0.0, 0.0));
        let rate = |x: f64| (0.0..1.0).contains(&x);
        let size = |x: f64| x.is_finite() && x >= 0.0;
        let sound = rate(momentum) && rate(alpha) && size(eps) && size(weight_decay) && lr.is_finite();
        if !sound || !(0.0..=1.0).contains(&ema_beta) {
            return Err(Error::argument(
                OP,
                format!(
                    "momentum and alpha must be in [0, 1), eps and weight_decay not negative, lr finite; got {self:?}"
                ),
            ));
        }
        Ok(Factors { lr, momentum, nesterov, decay: weight_decay, part: 1.0 - alpha, eps, ema: 1.0 - ema_beta })
    }
}
