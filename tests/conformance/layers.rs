//! Adapters of layers without a matrix product.

use veridical::{Result, Var, ops};

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
        // The mean of 2 x 2 pixels; there are no other sizes.
        one("avg_pool2d", |c| match (c.count("kernel")?, c.count("stride")?) {
            (2, 2) => channels_first(&ops::downsample2x(&c.channels_last("x")?, &[1.0, 1.0])?),
            other => Err(veridical::Error::Config(format!("pooling by {other:?}"))),
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

/// Made of sums: statistics over every axis but the channels, which are brought to the end.
fn batch_norm(c: &Call) -> Result<Vec<Var>> {
    let x = c.wide("x")?;
    let image = x.shape().rank() == 4;
    let x = if image { ops::permute(&x, &[0, 2, 3, 1])? } else { x };
    let axes: Vec<usize> = (0..x.shape().rank() - 1).collect();
    let (mean, var) = match c.flag("training")? {
        true => {
            let mean = ops::mean(&x, &axes)?;
            let var = ops::mean(&ops::square(&ops::sub(&x, &mean)?)?, &axes)?;
            (mean, var)
        }
        false => (c.wide("running_mean")?, c.wide("running_var")?),
    };
    let scale = ops::div(&c.wide("gamma")?, &ops::sqrt(&ops::shift(&var, c.number("eps")?)?)?)?;
    let y = ops::add(&ops::mul(&ops::sub(&x, &mean)?, &scale)?, &c.wide("beta")?)?;
    let y = ops::cast(&if image { channels_first(&y)? } else { y }, c.dtype)?;

    let momentum = if c.flag("training")? { c.number("momentum")? } else { 0.0 };
    let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    let unbiased = count as f64 / (count as f64 - 1.0);
    let update = |old: &str, batch: &Var, factor: f64| {
        ops::add_scaled(&c.wide(old)?, 1.0 - momentum, batch.detach(), momentum * factor)
    };
    Ok(vec![y, update("running_mean", &mean, 1.0)?, update("running_var", &var, unbiased)?])
}
