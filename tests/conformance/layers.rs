//! Adapters of layers without a matrix product.

use veridical::ops::BatchStatistics;
use veridical::{Result, Tensor, Var, ops};

use crate::call::{Adapter, Call};

/// An adapter of an operation with one output.
pub fn one(op: &'static str, f: impl Fn(&Call) -> Result<Var> + 'static) -> (&'static str, Adapter) {
    (op, Box::new(move |c: &Call| Ok(vec![f(c)?])))
}

/// An adapter of an operation with several.
pub fn many(op: &'static str, f: impl Fn(&Call) -> Result<Vec<Var>> + 'static) -> (&'static str, Adapter) {
    (op, Box::new(f))
}

/// Channels first again, as the files have them.
pub fn channels_first(x: &Var) -> Result<Var> {
    ops::permute(x, &[0, 3, 1, 2])
}

pub fn adapters() -> Vec<(&'static str, Adapter)> {
    vec![
        one("silu", |c| ops::silu(&c.var("x")?)),
        one("gelu", |c| ops::gelu(&c.var("x")?)),
        one("softplus", |c| ops::softplus(&c.var("x")?)),
        one("relu", |c| ops::relu(&c.var("x")?)),
        one("leaky_relu", |c| ops::leaky_relu(&c.var("x")?, c.number("slope")?)),
        one("tanh", |c| ops::tanh(&c.var("x")?)),
        one("sigmoid", |c| ops::sigmoid(&c.var("x")?)),
        // The mask is given, so the layer is a product.
        one("dropout", |c| ops::scale(&ops::mul(&c.var("x")?, &c.var("mask")?)?, 1.0 / (1.0 - c.number("p")?))),
        one("embedding", |c| ops::embedding(&c.var("table")?, &c.labels("index")?)),
        one("positional_embedding", |c| {
            ops::positional_embedding(
                &c.var("x")?,
                c.count("channels")?,
                c.number("max_positions")?,
                c.flag("endpoint")?,
            )
        }),
        one("fourier_embedding", |c| ops::fourier_embedding(&c.var("x")?, c.var("freqs")?.value())),
        one("group_norm", |c| group_norm(c, |x, g, b, n, e| ops::group_norm(x, g, b, n, e))),
        one("group_norm_silu", |c| group_norm(c, |x, g, b, n, e| ops::group_norm_silu(x, g, b, n, e))),
        one("layer_norm", |c| {
            let centred = centre(&c.wide("x")?)?;
            let y = ops::mul(&root_mean_square_norm(&centred, c.number("eps")?)?, &c.wide("gamma")?)?;
            ops::cast(&ops::add(&y, &c.wide("beta")?)?, c.dtype)
        }),
        one("rms_norm", |c| {
            let y = root_mean_square_norm(&c.wide("x")?, c.number("eps")?)?;
            ops::cast(&ops::mul(&y, &c.wide("gamma")?)?, c.dtype)
        }),
        many("batch_norm", batch_norm),
        one("resample_up", |c| channels_first(&ops::upsample2x(&c.channels_last("x")?, &c.numbers("filter")?)?)),
        one("resample_down", |c| channels_first(&ops::downsample2x(&c.channels_last("x")?, &c.numbers("filter")?)?)),
        one("max_pool2d", |c| {
            channels_first(&ops::max_pool2d(c.channels_last("x")?, c.count("kernel")?, c.count("stride")?)?)
        }),
        one("avg_pool2d", |c| {
            channels_first(&ops::avg_pool2d(c.channels_last("x")?, c.count("kernel")?, c.count("stride")?)?)
        }),
    ]
}

type GroupNorm = fn(&Var, &Var, &Var, usize, f64) -> Result<Var>;

fn group_norm(c: &Call, op: GroupNorm) -> Result<Var> {
    let x = c.channels_last("x")?;
    channels_first(&op(&x, &c.var("gamma")?, &c.var("beta")?, c.count("groups")?, c.number("eps")?)?)
}

/// The mean over the last axis, which stays with an extent of 1.
fn row_mean(x: &Var) -> Result<Var> {
    let rank = x.shape().rank();
    let kept = [&x.shape()[..rank - 1], &[1]].concat();
    ops::mean(x, &[rank - 1])?.reshape(kept)
}

fn centre(x: &Var) -> Result<Var> {
    ops::sub(x, &row_mean(x)?)
}

/// `x / sqrt(mean(x^2) + eps)` over the last axis.
fn root_mean_square_norm(x: &Var, eps: f64) -> Result<Var> {
    ops::div(x, &ops::sqrt(&ops::shift(&row_mean(&ops::square(x)?)?, eps)?)?)
}

/// The operation, and the layer's rule for running statistics.
fn batch_norm(c: &Call) -> Result<Vec<Var>> {
    let (training, eps) = (c.flag("training")?, c.number("eps")?);
    let x = c.var("x")?;
    let image = x.shape().rank() == 4;
    let x = if image { c.channels_last("x")? } else { x };
    let (gamma, beta) = (c.var("gamma")?, c.var("beta")?);
    let running =
        BatchStatistics { mean: c.wide("running_mean")?.into_value(), variance: c.wide("running_var")?.into_value() };
    let (y, found) = match training {
        true => ops::batch_norm(&x, gamma, beta, eps)?,
        false => (ops::batch_norm_with(&x, gamma, beta, &running, eps)?, running.clone()),
    };
    let y = if image { channels_first(&y)? } else { y };
    let momentum = if training { c.number("momentum")? } else { 0.0 };
    let count = (x.value().len() / found.mean.len()) as f64;
    let update =
        |old: &Tensor, batch: &Tensor, factor: f64| ops::add_scaled(old, 1.0 - momentum, batch, momentum * factor);
    let mean = update(&running.mean, &found.mean, 1.0)?;
    Ok(vec![y, mean, update(&running.variance, &found.variance, count / (count - 1.0))?])
}
