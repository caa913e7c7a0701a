//! Batch normalisation.

use super::Module;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Init, ParamId, Scope};
use crate::ops;
use crate::tensor::DType;

/// Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167) over the last axis of `[n, ..., channels]`, in f32
/// whatever the dtype.
///
/// In training each channel has the mean and the variance of the batch (of the part of it that is in memory at once),
/// and the running statistics move a `momentum` of the way there; otherwise it has the running ones. These are buffers:
/// files and checkpoints hold them, and an average of the weights goes with those of the last step. Defaults and names
/// are PyTorch's.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    gamma: ParamId,
    beta: ParamId,
    running_mean: ParamId,
    running_var: ParamId,
    momentum: f64,
    eps: f64,
}

impl BatchNorm {
    /// Gamma starts at 1, beta at 0, the running mean at 0 and the running variance at 1; momentum 0.1, 1e-5 is added
    /// to variances.
    pub fn new(scope: &mut Scope, channels: usize) -> Self {
        BatchNorm {
            gamma: scope.parameter("weight", [channels], Init::Constant(1.0)),
            beta: scope.parameter("bias", [channels], Init::Constant(0.0)),
            running_mean: scope.buffer("running_mean", [channels], Init::Constant(0.0)),
            running_var: scope.buffer("running_var", [channels], Init::Constant(1.0)),
            momentum: 0.1,
            eps: 1e-5,
        }
    }

    /// The batch's mean and variance, of which the running statistics take their share.
    fn of_batch(&self, cx: &Context, x: &Var) -> Result<(Var, Var)> {
        let rows: usize = x.shape().iter().rev().skip(1).product();
        if rows < 2 {
            return Err(Error::shape("BatchNorm", "two or more values for each channel in training", x.shape()));
        }
        let axes: Vec<usize> = (0..x.shape().rank() - 1).collect();
        let mean = ops::mean(x, &axes)?;
        let variance = ops::mean(&ops::square(&ops::sub(x, &mean)?)?, &axes)?;
        // The running variance is the unbiased one.
        let unbiased = rows as f64 / (rows - 1) as f64;
        for (id, found, scale) in [(self.running_mean, &mean, 1.0), (self.running_var, &variance, unbiased)] {
            let before = cx.buffer(id)?;
            let moved = ops::add_scaled(&before, 1.0 - self.momentum, found.detach(), self.momentum * scale)?;
            cx.update(id, moved.into_value())?;
        }
        Ok((mean, variance))
    }
}

impl Module for BatchNorm {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        let (dtype, x) = (x.dtype(), ops::cast(x, DType::F32)?);
        let (mean, variance) = match cx.is_training() {
            true => self.of_batch(cx, &x)?,
            false => (cx.parameter(self.running_mean)?, cx.parameter(self.running_var)?),
        };
        let deviation = ops::sqrt(&ops::shift(&variance, self.eps)?)?;
        let scale = ops::div(&cx.parameter(self.gamma)?, &deviation)?;
        let y = ops::add(&ops::mul(&ops::sub(&x, &mean)?, &scale)?, &cx.parameter(self.beta)?)?;
        ops::cast(&y, dtype)
    }
}
