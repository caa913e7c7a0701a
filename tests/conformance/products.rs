//! Adapters of layers made of matrix products and convolutions, and of the loss of a small network.

use veridical::diffusion::{Loss, Scaling};
use veridical::{Result, Var, ops};

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
        one("weight_norm_linear", |c| {
            let v = c.wide("v")?;
            let norm = ops::sqrt(&ops::sum(&ops::square(&v)?, &[1])?)?;
            let factor = ops::div(&c.wide("g")?, &norm)?.reshape([v.shape()[0], 1])?;
            let w = ops::cast(&ops::mul(&v, &factor)?, c.dtype)?;
            ops::linear(&c.var("x")?, &w, Some(&c.var("b")?))
        }),
        many("spectral_norm_linear", spectral_norm_linear),
        many("edm_loss", edm_loss),
    ]
}

/// One power iteration, whose vectors are constants of the gradient.
fn spectral_norm_linear(c: &Call) -> Result<Vec<Var>> {
    let (w, u) = (c.wide("w")?, c.wide("u")?);
    let [out, inputs] = w.shape().dims("spectral_norm", "[out, in]")?;
    let (constant, eps) = (w.detach(), c.number("eps")?);
    let normalised = |z: Var| -> Result<Var> {
        let norm = ops::sqrt(&ops::sum(&ops::square(&z)?, &[0, 1])?)?;
        ops::div(&z, &ops::clamp(&norm, eps, f64::INFINITY)?)
    };
    let v = normalised(ops::matmul(&u.reshape([1, out])?, &constant)?)?;
    let u = normalised(ops::matmul_transposed(&v, false, &constant, true)?)?;
    let sigma = ops::sum(&ops::mul(&ops::matmul(&u, &w)?, &v)?, &[0, 1])?;
    let scaled = ops::cast(&ops::div(&w, &sigma)?, c.dtype)?;
    let y = ops::linear(&c.var("x")?, &scaled, Some(&c.var("b")?))?;
    Ok(vec![y, u.reshape([out])?, v.reshape([inputs])?, sigma])
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
