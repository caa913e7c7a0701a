//! Adapters of probabilities and losses. Losses are computed in f32 from bf16 logits, as training does.

use veridical::{Result, Var, ops};

use crate::call::{Adapter, Call};
use crate::layers::one;

/// The mean over everything.
pub fn mean(x: &Var) -> Result<Var> {
    ops::mean(x, &(0..x.shape().rank()).collect::<Vec<_>>())
}

/// The sum over everything.
fn sum(x: &Var) -> Result<Var> {
    ops::sum(x, &(0..x.shape().rank()).collect::<Vec<_>>())
}

/// The sum over everything, divided by the number of rows.
pub fn mean_of_rows(x: &Var) -> Result<Var> {
    ops::scale(&sum(x)?, 1.0 / x.shape()[0] as f64)
}

/// `log sigmoid(x)`, exact for large |x|.
fn log_sigmoid(x: &Var) -> Result<Var> {
    ops::neg(&ops::softplus(&ops::neg(x)?)?)
}

/// `log(1 - sigmoid(x))`.
fn log_one_minus_sigmoid(x: &Var) -> Result<Var> {
    ops::neg(&ops::softplus(x)?)
}

/// `p * log_q`, where a q of 0 has a p of 0 too and adds nothing.
fn expectation(p: &Var, log_q: &Var) -> Result<Var> {
    ops::mul(p, &ops::clamp(log_q, -1e30, f64::INFINITY)?)
}

pub fn adapters() -> Vec<(&'static str, Adapter)> {
    vec![
        one("gumbel_softmax", |c| {
            // Noise comes in the precision of statistics.
            let noise = c.wide("gumbel")?;
            let noise = ops::gumbel_softmax::GumbelNoise::Given(noise.value());
            ops::gumbel_softmax(&c.var("logits")?, c.number("tau")?, c.flag("hard")?, noise)
        }),
        one("softmax", |c| ops::softmax(&c.var("x")?)),
        one("log_softmax", |c| ops::log_softmax(&c.var("x")?)),
        one("cross_entropy", |c| ops::cross_entropy(&c.var("logits")?, &c.labels("labels")?)),
        one("cross_entropy_soft", |c| {
            let log_q = ops::log_softmax(&c.wide("logits")?)?;
            ops::neg(&mean_of_rows(&expectation(&c.wide("target")?, &log_q)?)?)
        }),
        one("kl_softened", |c| {
            let t = c.number("temperature")?;
            let log_p = ops::log_softmax(&ops::scale(&c.wide("teacher")?, 1.0 / t)?)?;
            let log_q = ops::log_softmax(&ops::scale(&c.wide("student")?, 1.0 / t)?)?;
            let kl = ops::mul(&ops::exp(&log_p)?, &ops::sub(&log_p, &log_q)?)?;
            ops::scale(&mean_of_rows(&kl)?, t * t)
        }),
        one("logit_l2", |c| {
            let off = ops::square(&ops::sub(&c.wide("student")?, &c.wide("teacher")?)?)?;
            match c.word("reduction")? {
                "mean" => mean(&off),
                _ => ops::scale(&mean_of_rows(&off)?, 0.5),
            }
        }),
        one("kdgan_value", kdgan_value),
        one("triple_gan_adversarial", |c| {
            let (p, d) = (ops::softmax(&c.wide("zc")?)?, c.wide("d")?);
            let h = match c.word("form")? {
                "minimax" => log_one_minus_sigmoid(&d)?,
                "nonsaturating" => ops::neg(&log_sigmoid(&d)?)?,
                _ => ops::neg(&d)?,
            };
            ops::scale(&mean_of_rows(&ops::mul(&p, &h)?)?, c.number("weight")?)
        }),
        one("triple_gan_pseudo_discriminative", |c| {
            ops::scale(&ops::cross_entropy(&c.wide("zc")?, &c.labels("labels")?)?, c.number("weight")?)
        }),
        one("triple_gan_confidence", |c| {
            let log_p = ops::log_softmax(&c.wide("zc")?)?;
            ops::scale(&mean_of_rows(&ops::mul(&ops::exp(&log_p)?, &log_p)?)?, -c.number("weight")?)
        }),
        one("triple_gan_balance", |c| {
            let predicted = ops::mean(&ops::softmax(&c.wide("zc")?)?, &[0])?;
            ops::scale(&mean(&ops::log(&predicted)?)?, -c.number("weight")?)
        }),
        one("triple_gan_consistency", |c| {
            let off = ops::sub(&ops::softmax(&c.wide("za")?)?, &ops::softmax(&c.wide("zb")?)?)?;
            ops::scale(&mean(&ops::square(&off)?)?, c.number("weight")?)
        }),
    ]
}

fn kdgan_value(c: &Call) -> Result<Var> {
    let (zc, zt, d, pu) = (c.wide("zc")?, c.wide("zt")?, c.wide("d")?, c.wide("pu")?);
    let alpha = c.number("alpha")?;
    let fooled = ops::add_scaled(&ops::softmax(&zc)?, alpha, &ops::softmax(&zt)?, 1.0 - alpha)?;
    let game = ops::add(&ops::mul(&pu, &log_sigmoid(&d)?)?, &ops::mul(&fooled, &log_one_minus_sigmoid(&d)?)?)?;
    let distance = |a: &Var, b: &Var| mean(&ops::square(&ops::sub(a, b.detach())?)?);
    let distil = ops::add_scaled(&distance(&zc, &zt)?, c.number("beta")?, &distance(&zt, &zc)?, c.number("gamma")?)?;
    ops::add(&mean_of_rows(&game)?, &distil)
}
