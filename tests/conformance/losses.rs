//! Adapters of probabilities and losses. Losses are computed in f32 from bf16 logits, as training does.

use veridical::methods::triple_gan;
use veridical::players::{self, GanLoss};
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
        one("cross_entropy_soft", |c| players::cross_entropy_soft(&c.wide("logits")?, c.wide("target")?)),
        one("kl_softened", |c| {
            players::kl_softened(&c.wide("student")?, &c.wide("teacher")?, c.number("temperature")?)
        }),
        one("logit_l2", |c| {
            let (student, teacher) = (c.wide("student")?, c.wide("teacher")?);
            match c.word("reduction")? {
                "half_sum" => players::logit_l2(&student, &teacher),
                // The mean over the classes of a row, not half their sum.
                _ => ops::scale(&players::logit_l2(&student, &teacher)?, 2.0 / student.shape()[1] as f64),
            }
        }),
        one("kdgan_value", kdgan_value),
        one("triple_gan_adversarial", |c| {
            let loss = match c.word("form")? {
                "minimax" => GanLoss::Minimax,
                "nonsaturating" => GanLoss::NonSaturating,
                _ => GanLoss::Wasserstein,
            };
            let p = ops::softmax(&c.wide("zc")?)?;
            ops::scale(&mean_of_rows(&ops::mul(&p, &loss.to_fool(&c.wide("d")?)?)?)?, c.number("weight")?)
        }),
        one("triple_gan_pseudo_discriminative", |c| {
            ops::scale(&ops::cross_entropy(&c.wide("zc")?, &c.labels("labels")?)?, c.number("weight")?)
        }),
        one("triple_gan_confidence", |c| ops::scale(&triple_gan::entropy(&c.wide("zc")?)?, c.number("weight")?)),
        one("triple_gan_balance", |c| ops::scale(&triple_gan::balance(&c.wide("zc")?)?, c.number("weight")?)),
        one("triple_gan_consistency", |c| {
            ops::scale(&triple_gan::consistency(&c.wide("za")?, &c.wide("zb")?)?, c.number("weight")?)
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
