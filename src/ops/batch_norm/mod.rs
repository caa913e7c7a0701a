//! Batch normalisation: channel by channel, by the statistics of the batch or by given ones.

mod cpu;
mod gpu;

use super::{check_float, check_same_device, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// The mean and the (biased) variance of each channel, `[c]` in f32 (f64 beside f64).
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// The mean.
    pub mean: Tensor,
    /// The mean squared distance from it.
    pub variance: Tensor,
}

/// `y = gamma (x - mean) / sqrt(variance + eps) + beta`, with the mean and the biased variance of each channel over all
/// other axes; and these statistics, as constants, of which running ones take their share.
///
/// `x` is `[n, ..., c]` with any number of axes in between, `gamma` and `beta` are `[c]` in `x`'s dtype or in f32; the
/// result has the shape and dtype of `x`. Statistics are in f32 (f64 for f64): of blocks of rows, each about its own
/// mean, which are joined in f64 (Chan, Golub & LeVeque 1983), so that channels far from zero are normalised as well as
/// those about it. Besides the inputs only they are kept for the gradient, which runs through them.
///
/// Errors if there are fewer than two values a channel, if `eps` is not positive, or if a shape, dtype or device
/// differs from the above.
///
/// Ioffe & Szegedy 2015 (arXiv 1502.03167).
pub fn batch_norm(
    x: impl Into<Var>,
    gamma: impl Into<Var>,
    beta: impl Into<Var>,
    eps: f64,
) -> Result<(Var, BatchStatistics)> {
    const OP: &str = "batch_norm";
    let (x, gamma, beta) = (&x.into(), &gamma.into(), &beta.into());
    let setting = Setting::of(OP, [x, gamma, beta].map(Var::value), eps)?;
    if setting.rows < 2 {
        return Err(Error::shape(OP, "two or more values for each channel of a batch", x.shape()));
    }
    let stats = match x.value().is_empty() {
        true => Tensor::zeros([4, 0], setting.statistics(x.dtype()), &x.device())?,
        false => on!(x.device(), statistics(&setting, x.value()))?,
    };
    let row = |i: usize| stats.narrow(i, 1)?.reshape([setting.channels]);
    let found = BatchStatistics { mean: row(0)?, variance: row(3)? };
    Ok((normalise(setting, [x, gamma, beta], stats, true)?, found))
}

/// As [`batch_norm`], by given statistics, such as running ones; they are constants. Any number of values a channel.
///
/// Errors as [`batch_norm`] does for its other reasons, and unless the statistics are `[c]` in f32 (f64 beside f64).
pub fn batch_norm_with(
    x: impl Into<Var>,
    gamma: impl Into<Var>,
    beta: impl Into<Var>,
    by: &BatchStatistics,
    eps: f64,
) -> Result<Var> {
    const OP: &str = "batch_norm_with";
    let (x, gamma, beta) = (&x.into(), &gamma.into(), &beta.into());
    let setting = Setting::of(OP, [x, gamma, beta].map(Var::value), eps)?;
    for given in [&by.mean, &by.variance] {
        check_same_device(OP, x.value(), given)?;
        if given.shape()[..] != [setting.channels] {
            return Err(Error::shape(
                OP,
                format!("statistics [{}] for x {}", setting.channels, x.shape()),
                given.shape(),
            ));
        }
        let expected = setting.statistics(x.dtype());
        if given.dtype() != expected {
            return Err(Error::dtype(OP, format!("statistics in {expected} for x in {}", x.dtype()), given.dtype()));
        }
    }
    let stats = match setting.channels {
        0 => Tensor::zeros([4, 0], setting.statistics(x.dtype()), &x.device())?,
        _ => on!(x.device(), given(&setting, by))?,
    };
    normalise(setting, [x, gamma, beta], stats, false)
}

/// `stats` is `[4, c]`: the mean in the statistics' dtype and what it lacks of the mean in f64, `1 / sqrt(variance +
/// eps)`, and the variance. `of_batch`: whether they are those of `x`.
fn normalise(setting: Setting, inputs: [&Var; 3], stats: Tensor, of_batch: bool) -> Result<Var> {
    let [x, gamma, beta] = inputs.map(|input| input.value().clone());
    if x.is_empty() {
        let empty = x.clone();
        return Var::record(setting.op, empty, inputs, move |_, _| {
            let zeros = |like: &Tensor| Tensor::zeros(like.shape(), like.dtype(), &like.device()).map(Some);
            Ok([zeros(&x)?, zeros(&gamma)?, zeros(&beta)?])
        });
    }
    let y = on!(x.device(), apply(&setting, &x, &gamma, &beta, &stats))?;
    Var::record(setting.op, y, inputs, move |dy, _| {
        let gradients = on!(x.device(), backward(&setting, dy, &x, &gamma, &beta, &stats, of_batch))?;
        Ok([Some(gradients.x), Some(gradients.gamma), Some(gradients.beta)])
    })
}

/// What is normalised, and how.
#[derive(Debug, Clone, Copy)]
struct Setting {
    op: &'static str,
    /// Values of each channel.
    rows: usize,
    channels: usize,
    eps: f64,
}

/// The gradients of the three inputs.
struct Gradients {
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
}

impl Setting {
    fn of(op: &'static str, [x, gamma, beta]: [&Tensor; 3], eps: f64) -> Result<Self> {
        check_float(op, x)?;
        let [rows @ .., channels] = &x.shape()[..] else { return Err(Error::shape(op, "x [n, ..., c]", x.shape())) };
        let (rows, channels) = (rows.iter().product(), *channels);
        for affine in [gamma, beta] {
            check_same_device(op, x, affine)?;
            if affine.shape()[..] != [channels] {
                let expected = format!("gamma and beta [{channels}] for x {}", x.shape());
                return Err(Error::shape(op, expected, affine.shape()));
            }
            let fits = affine.dtype() == x.dtype() || (affine.dtype() == DType::F32 && x.dtype() == DType::BF16);
            if !fits || affine.dtype() != gamma.dtype() {
                let expected = format!("gamma and beta both {} like x, or both f32 beside bf16", x.dtype());
                return Err(Error::dtype(op, expected, affine.dtype()));
            }
        }
        if !(eps > 0.0 && eps.is_finite()) {
            return Err(Error::argument(op, format!("eps must be positive, got {eps}")));
        }
        Ok(Setting { op, rows, channels, eps })
    }

    /// The dtype of statistics beside an `x` of `dtype`.
    fn statistics(&self, dtype: DType) -> DType {
        if dtype == DType::F64 { DType::F64 } else { DType::F32 }
    }
}
