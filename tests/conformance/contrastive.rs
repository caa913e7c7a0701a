//! Adapters of contrastive losses: cross-entropies of similarities.

use veridical::{Result, Var, ops};

use crate::call::{Adapter, Call};
use crate::layers::one;
use crate::losses::{mean, sum};

pub fn adapters() -> Vec<(&'static str, Adapter)> {
    vec![
        one("info_nce", |c| {
            let scores = similarities(&rows(c, "q")?, &rows(c, "k")?)?;
            diagonal_cross_entropy(c, &ops::scale(&scores, 1.0 / c.number("temperature")?)?)
        }),
        one("clip_symmetric", |c| {
            let scores = similarities(&rows(c, "a")?, &rows(c, "b")?)?;
            let scores = ops::mul(&scores, &ops::exp(&c.wide("log_scale")?)?)?;
            let (there, back) = (diagonal_cross_entropy(c, &scores)?, ops::transpose(&scores, 0, 1)?);
            ops::add_scaled(&there, 0.5, &diagonal_cross_entropy(c, &back)?, 0.5)
        }),
        one("nt_xent", |c| {
            let z = ops::concat(&[&rows(c, "z1")?, &rows(c, "z2")?], 0)?;
            let count = z.shape()[0] as u32;
            let scores = ops::scale(&similarities(&z, &z)?, 1.0 / c.number("temperature")?)?;
            let positives: Vec<u32> = (0..count).map(|i| (i + count / 2) % count).collect();
            ops::cross_entropy(&without_diagonal(c, &scores)?, &c.labels_from(&positives)?)
        }),
        one("sup_con", |c| {
            let (z, labels) = (rows(c, "z")?, c.labels("labels")?.to_vec::<u32>()?);
            let (t, t0, count) = (c.number("temperature")?, c.number("base_temperature")?, labels.len());
            let scores = ops::scale(&similarities(&z, &z)?, 1.0 / t)?;
            let log_p = ops::log_softmax(&without_diagonal(c, &scores)?)?;
            let is_positive = |i: usize, j: usize| i != j && labels[i] == labels[j];
            let positives = |i: usize| (0..count).filter(|&j| is_positive(i, j)).count();
            let anchors = (0..count).filter(|&i| positives(i) > 0).count();
            let weights = c.constant(&[count, count], |at| {
                let (i, j) = (at / count, at % count);
                if is_positive(i, j) { -t / t0 / (positives(i) * anchors) as f64 } else { 0.0 }
            })?;
            // The diagonal's -inf must not meet its weight of 0.
            sum(&ops::mul(&ops::clamp(&log_p, -1e30, f64::INFINITY)?, &weights)?)
        }),
        one("siglip", |c| {
            let scores = similarities(&rows(c, "a")?, &rows(c, "b")?)?;
            let scores = ops::add(&ops::mul(&scores, &ops::exp(&c.wide("log_scale")?)?)?, &c.wide("bias")?)?;
            let count = scores.shape()[0];
            let signs = c.constant(&[count, count], |at| if at / count == at % count { -1.0 } else { 1.0 })?;
            ops::scale(&mean(&ops::softplus(&ops::mul(&scores, &signs)?)?)?, count as f64)
        }),
    ]
}

/// The rows of an input, divided by their length if the case says so.
fn rows(c: &Call, name: &str) -> Result<Var> {
    let x = c.wide(name)?;
    if !c.flag("normalize")? {
        return Ok(x);
    }
    let norm = ops::sqrt(&ops::sum(&ops::square(&x)?, &[1])?)?.reshape([x.shape()[0], 1])?;
    ops::div(&x, &ops::clamp(&norm, 1e-12, f64::INFINITY)?)
}

/// Every row of `a` times every row of `b`.
fn similarities(a: &Var, b: &Var) -> Result<Var> {
    ops::matmul_transposed(a, false, b, true)
}

fn diagonal_cross_entropy(c: &Call, scores: &Var) -> Result<Var> {
    let labels: Vec<u32> = (0..scores.shape()[0] as u32).collect();
    ops::cross_entropy(scores, &c.labels_from(&labels)?)
}

fn without_diagonal(c: &Call, scores: &Var) -> Result<Var> {
    let count = scores.shape()[0];
    let mask = |at: usize| if at / count == at % count { f64::NEG_INFINITY } else { 0.0 };
    ops::add(scores, &c.constant(&[count, count], mask)?)
}
