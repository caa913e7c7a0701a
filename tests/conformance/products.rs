//! Adapters of layers made of matrix products and convolutions, and of the loss of a small network.

use veridical::diffusion::{Loss, Scaling};
use veridical::{Result, Var, nn, ops};

use crate::call::{Adapter, Call};
use crate::layers::{channels_first, many, one};
use crate::losses::mean_of_rows;

pub fn adapters() -> Vec<(&'static str, Adapter)> {
    vec![
        one("linear", |c| ops::linear(&c.var("x")?, &c.var("w")?, Some(&c.var("b")?))),
        one("conv2d", |c| {
            let (x, w) = (c.channels_last("x")?, c.channels_last("w")?);
            let bias = if c.has("b") { Some(c.var("b")?) } else { None };
            channels_first(&ops::conv2d(&x, &w, bias.as_ref(), c.count("stride")?, c.count("padding")?)?)
        }),
        one("attention", |c| {
            ops::attention(&c.var("q")?, &c.var("k")?, &c.var("v")?, c.count("heads")?, c.flag("causal")?)
        }),
        one("conv_transpose2d", |c| {
            // `[in, kh, kw, out]` from the file's `[out, in, kh, kw]`.
            let (x, w) = (c.channels_last("x")?, ops::permute(c.var("w")?, &[1, 2, 3, 0])?);
            let bias = if c.has("b") { Some(c.var("b")?) } else { None };
            let (stride, padding) = (c.count("stride")?, c.count("padding")?);
            let y = ops::conv_transpose2d(x, w, bias.as_ref(), stride, padding, c.count("output_padding")?)?;
            channels_first(&y)
        }),
        one("weight_norm_linear", |c| {
            let w = ops::cast(nn::weight_norm(&c.wide("v")?, &c.wide("g")?)?, c.dtype)?;
            ops::linear(&c.var("x")?, &w, Some(&c.var("b")?))
        }),
        many("spectral_norm_linear", spectral_norm_linear),
        many("edm_loss", edm_loss),
    ]
}

fn spectral_norm_linear(c: &Call) -> Result<Vec<Var>> {
    let found = nn::spectral_norm(&c.wide("w")?, c.wide("u")?.value(), c.number("eps")?, true)?;
    let y = ops::linear(c.var("x")?, ops::cast(found.weight, c.dtype)?, Some(&c.var("b")?))?;
    Ok(vec![y, found.u.into(), found.v.into(), found.sigma])
}

/// The denoising loss of an MLP of the fixture's own shape, with the crate's preconditioning (or none) and weights.
fn edm_loss(c: &Call) -> Result<Vec<Var>> {
    let (images, noise, sigma) = (c.wide("images")?, c.wide("noise")?, c.wide("sigma")?.value().to_f64()?);
    let (batch, sd) = (images.shape()[0], c.number("sigma_data")?);
    let pixels = images.value().len() / batch;
    let (images, noise) = (images.reshape([batch, pixels])?, noise.reshape([batch, pixels])?);
    let bare = Scaling { c_skip: 0.0, c_out: 1.0, c_in: 1.0, ..Scaling::edm(1.0, sd) };
    let edm = c.word("precond")? == "edm";
    let scaling =
        |s: f64| Scaling { c_noise: Scaling::edm(s, sd).c_noise, ..if edm { Scaling::edm(s, sd) } else { bare } };
    let per_sample = |f: &dyn Fn(f64) -> f64| c.constant(&[batch, 1], |i| f(sigma[i]));
    let c_in = per_sample(&|s| scaling(s).c_in)?;
    let c_skip = per_sample(&|s| scaling(s).c_skip)?;
    let c_out = per_sample(&|s| scaling(s).c_out)?;
    let c_noise = per_sample(&|s| scaling(s).c_noise)?;
    let weight = per_sample(&|s| Loss::default().weight(s, sd))?;

    let x = ops::add(&images, &ops::mul(&noise, &per_sample(&|s| s)?)?)?;
    let mut h = ops::concat(&[&ops::mul(&x, &c_in)?, &c_noise], 1)?;
    for layer in 0..c.count("layers")? {
        if layer > 0 {
            h = if c.word("activation")? == "silu" { ops::silu(&h)? } else { ops::tanh(&h)? };
        }
        h = ops::linear(&h, &c.wide(&format!("w{layer}"))?, Some(&c.wide(&format!("b{layer}"))?))?;
    }
    let denoised = ops::add(&ops::mul(&x, &c_skip)?, &ops::mul(&h, &c_out)?)?;
    let off = ops::mul(&ops::square(&ops::sub(&denoised, &images)?)?, &weight)?;
    let shape = c.var("images")?.shape().clone();
    Ok(vec![mean_of_rows(&off)?, denoised.reshape(shape)?])
}
