//! Batch normalisation.

use super::Module;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Init, ParamId, Scope};
use crate::ops::{self, BatchStatistics};
use crate::tensor::{DType, Tensor};

/// Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167) over the last axis of `[n, ..., channels]`, with
/// statistics in f32 whatever the dtype.
///
/// In training each channel has the mean and the variance of the batch (of the part of it that is in memory at once),
/// and the running statistics move a `momentum` of the way there; otherwise it has the running ones. These are buffers:
/// files and checkpoints hold them, and an average of the weights goes with those of the last step. Defaults and names
/// are PyTorch's.
#[derive(Debug, Clone)]
pub struct BatchNorm {
    gamma: ParamId,
    beta: ParamId,
    running: Running,
}

impl BatchNorm {
    /// Gamma starts at 1, beta at 0, the running mean at 0 and the running variance at 1; momentum 0.1, 1e-5 is added
    /// to variances.
    pub fn new(scope: &mut Scope, channels: usize) -> Self {
        BatchNorm {
            gamma: scope.parameter("weight", [channels], Init::Constant(1.0)),
            beta: scope.parameter("bias", [channels], Init::Constant(0.0)),
            running: Running::new(scope, channels),
        }
    }
}

impl Module for BatchNorm {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.running.normalise(cx, x, &cx.parameter(self.gamma)?, &cx.parameter(self.beta)?)
    }
}

/// Batch normalisation whose gamma and beta depend on the class of each sample (Dumoulin et al. 2017, arXiv 1610.07629;
/// de Vries et al. 2017, arXiv 1707.00683), as in generators of labelled images (Miyato & Koyama 2018, arXiv
/// 1802.05637). The statistics are those of the whole batch, as in [`BatchNorm`].
#[derive(Debug, Clone)]
pub struct ConditionalBatchNorm {
    /// `[classes, channels]`, as beta.
    gamma: ParamId,
    beta: ParamId,
    channels: usize,
    running: Running,
}

impl ConditionalBatchNorm {
    /// Every class begins with gamma 1 and beta 0; for the rest see [`BatchNorm::new`].
    pub fn new(scope: &mut Scope, classes: usize, channels: usize) -> Self {
        ConditionalBatchNorm {
            gamma: scope.parameter("weight", [classes, channels], Init::Constant(1.0)),
            beta: scope.parameter("bias", [classes, channels], Init::Constant(0.0)),
            channels,
            running: Running::new(scope, channels),
        }
    }

    /// `x` `[n, ..., channels]` with the gamma and beta of `labels`: `[n]` u32, or `[n, classes]` in f32, of whose
    /// weights the classes' gammas and betas are mixed (one-hot rows, or probabilities, which then have gradients).
    ///
    /// Errors on labels of another shape or dtype, and as [`BatchNorm`] does.
    pub fn forward(&self, cx: &Context, x: &Var, labels: &Var) -> Result<Var> {
        let n = x.shape().first().copied().unwrap_or(0);
        if labels.shape().first() != Some(&n) {
            let expected = format!("labels [{n}] or [{n}, classes] for x {}", x.shape());
            return Err(Error::shape("ConditionalBatchNorm", expected, labels.shape()));
        }
        let constant = |value: f64| Tensor::full(value, [self.channels], DType::F32, &x.device()).map(Var::constant);
        let unit = self.running.normalise(cx, x, &constant(1.0)?, &constant(0.0)?)?;
        let per_sample = |table: ParamId| -> Result<Var> {
            let table = cx.parameter(table)?;
            let rows = match labels.dtype() {
                DType::U32 => ops::embedding(&table, labels.value())?,
                _ => ops::matmul(labels, &table)?,
            };
            let ones = vec![1; x.shape().rank().saturating_sub(2)];
            ops::cast(&rows, x.dtype())?.reshape([&[n], ones.as_slice(), &[self.channels]].concat())
        };
        ops::add(ops::mul(unit, per_sample(self.gamma)?)?, per_sample(self.beta)?)
    }
}

/// The running statistics of a layer, and what they do.
#[derive(Debug, Clone)]
struct Running {
    mean: ParamId,
    variance: ParamId,
    momentum: f64,
    eps: f64,
}

impl Running {
    fn new(scope: &mut Scope, channels: usize) -> Self {
        Running {
            mean: scope.buffer("running_mean", [channels], Init::Constant(0.0)),
            variance: scope.buffer("running_var", [channels], Init::Constant(1.0)),
            momentum: 0.1,
            eps: 1e-5,
        }
    }

    /// `x` by the statistics of the batch in training, of which the running ones take their share; else by these.
    fn normalise(&self, cx: &Context, x: &Var, gamma: &Var, beta: &Var) -> Result<Var> {
        if !cx.is_training() {
            let by = BatchStatistics {
                mean: cx.parameter(self.mean)?.into_value(),
                variance: cx.parameter(self.variance)?.into_value(),
            };
            return ops::batch_norm_with(x, gamma, beta, &by, self.eps);
        }
        let (y, found) = ops::batch_norm(x, gamma, beta, self.eps)?;
        let rows: usize = x.shape().iter().rev().skip(1).product();
        // The running variance is the unbiased one.
        let unbiased = rows as f64 / (rows as f64 - 1.0);
        for (id, found, scale) in [(self.mean, &found.mean, 1.0), (self.variance, &found.variance, unbiased)] {
            let moved = ops::add_scaled(cx.buffer(id)?, 1.0 - self.momentum, found, self.momentum * scale)?;
            cx.update(id, moved.into_value())?;
        }
        Ok(y)
    }
}
