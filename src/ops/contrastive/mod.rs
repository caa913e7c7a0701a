//! Contrastive losses of rows: which of many belongs to which.
//!
//! All are made of the logits `s_ij = scale (q_i . k_j) + offset_j` of every row `q_i` with every row `k_j`, and none
//! holds more of that matrix than a tile (1,024 by 1,024; on a GPU a strip of rows): forward and backward walk over
//! it, and all that is kept in between is the logarithm of the sum of exponentials of each row (and column), from
//! which the backward pass makes the tiles again. So memory
//! grows with the rows, not with their square. With `G = dL/ds`, `dq = scale G k`, `dk = scale G^T q`, and the scale's
//! gradient is `sum_ij G_ij (q_i . k_j)`.
//!
//! Rows are taken as they are: [`l2_normalize`](super::l2_normalize()) makes cosines of inner products. Logits, sums
//! and losses are f32 (f64 for f64); for bf16 on a GPU, where tensor cores multiply, `G` is rounded to bf16 before its
//! products. Equal inputs give equal bits on any number of threads.

mod cpu;
mod gpu;
mod scalar;
#[cfg(all(test, any(feature = "cuda", feature = "emulator", feature = "ptx")))]
mod tests;

pub use scalar::Scalar;

use super::{check_alike, check_float, check_same_device, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::{DType, Tensor};

/// InfoNCE, of queries against keys: `mean_i [log sum_j exp s_ij - s_ii]` with `s_ij = scale (q_i . k_j)`, a scalar.
///
/// `q` is `[m, d]`, `k` is `[n, d]` with `n >= m`; key `i` is the positive of query `i`, all others, also those beyond
/// `m` (a queue of earlier keys, say), are its negatives. `scale` is `1 / temperature`: a number, or a variable that
/// gets a gradient. van den Oord et al. 2018 (arXiv 1807.03748).
///
/// Errors if there are fewer than two keys, for a batch of one has no negatives, if there are fewer keys than queries,
/// on rows of no elements, if shapes, dtypes or devices do not fit, on integers, and unless `scale` is one finite
/// number.
pub fn info_nce(q: impl Into<Var>, k: impl Into<Var>, scale: impl Into<Scalar>) -> Result<Var> {
    rows_against_keys("info_nce", &q.into(), &k.into(), scale.into(), None)
}

/// As [`info_nce`] with `s_ij = scale (q_i . k_j) + bias_j`, for a `bias` `[n]` of any floating-point dtype, which has
/// a gradient.
///
/// With minus the logarithm of how often key `j` is drawn it corrects for that (Yi et al. 2019, doi
/// 10.1145/3298689.3346996). With `scale = 1 / v` and `bias_j = -|k_j|^2 / (2 v)` the logits are those of a Gaussian
/// kernel, `-|q_i - k_j|^2 / (2 v)`, up to what softmax does not see. A bias of -inf leaves a key out.
///
/// Errors as that does, and if there is not one bias for each key.
pub fn info_nce_biased(
    q: impl Into<Var>,
    k: impl Into<Var>,
    scale: impl Into<Scalar>,
    bias: impl Into<Var>,
) -> Result<Var> {
    rows_against_keys("info_nce", &q.into(), &k.into(), scale.into(), Some(bias.into()))
}

/// The symmetric contrastive loss of CLIP: with `s = exp(log_scale) a b^T`, half the mean over rows of `log sum_j exp
/// s_ij - s_ii` and half the mean over columns of the same, a scalar.
///
/// `a` and `b` are `[n, d]`; row `i` of one belongs to row `i` of the other. `log_scale` is a number or a variable that
/// gets a gradient; it is not clamped. Both directions are made of one sweep over the tiles, forward and backward: 2
/// and 6 `n^2 d` operations. Radford et al. 2021 (arXiv 2103.00020).
///
/// Errors if `n` is below 2, for a batch of one has no negatives, on rows of no elements, if shapes, dtypes or devices
/// differ, on integers, and unless `log_scale` is one finite number.
pub fn clip_symmetric(a: impl Into<Var>, b: impl Into<Var>, log_scale: impl Into<Scalar>) -> Result<Var> {
    const OP: &str = "clip_symmetric";
    let (a, b) = (&a.into(), &b.into());
    let [n, _] = check_pairs(OP, a, b)?;
    let scale = log_scale.into().exponential(OP, "log_scale", a)?;
    record(OP, Kind::Both, 0.5 / n as f64, [a, b, &scale], None)
}

/// SigLIP: with `l_ij = exp(log_scale) (a_i . b_j) + bias`, `-(1/n) sum_ij log sigmoid(w_ij l_ij)` where `w` is 1 on
/// the diagonal and -1 elsewhere, a scalar. No row sees another's logits, so nothing is kept for the gradient.
///
/// `a` and `b` are `[n, d]`; `log_scale` and `bias` are numbers or variables that get a gradient (the paper starts at
/// ln 10 and -10). Zhai et al. 2023 (arXiv 2303.15343).
///
/// Errors as [`clip_symmetric`] does, and unless `bias` is one finite number.
pub fn siglip(
    a: impl Into<Var>,
    b: impl Into<Var>,
    log_scale: impl Into<Scalar>,
    bias: impl Into<Scalar>,
) -> Result<Var> {
    const OP: &str = "siglip";
    let (a, b) = (&a.into(), &b.into());
    let [n, _] = check_pairs(OP, a, b)?;
    let scale = log_scale.into().exponential(OP, "log_scale", a)?;
    let bias = ops::broadcast_to(bias.into().variable(OP, "bias", a)?, [n])?;
    record(OP, Kind::Sigmoid, 1.0 / n as f64, [a, b, &scale], Some(&bias))
}

/// NT-Xent, the loss of SimCLR, of two views `z1` and `z2` `[n, d]` of the same `n` items: among the `2n` rows `z =
/// [z1; z2]`, with `s = z z^T / temperature` and without the diagonal, the mean over all `2n` anchors of `log sum_(j !=
/// i) exp s_ij - s_(i, positive)`, where the positive of a row is the other view of its item. A scalar. (SimCLR's
/// released code returns twice this value.) `temperature` is a number, or a variable that gets a gradient and stays
/// positive by itself: its value is not looked at.
///
/// Chen et al. 2020 (arXiv 2002.05709). Errors if `n` is below 2, for one item's views have no negatives, on rows of no
/// elements, if shapes, dtypes or devices differ, on integers, and unless `temperature` is positive and finite.
pub fn nt_xent(z1: impl Into<Var>, z2: impl Into<Var>, temperature: impl Into<Scalar>) -> Result<Var> {
    const OP: &str = "nt_xent";
    let (z1, z2) = (&z1.into(), &z2.into());
    let [n, _] = check_pairs(OP, z1, z2)?;
    let scale = reciprocal(&temperature.into().positive(OP, "temperature", z1)?)?;
    let count =
        u32::try_from(n).map_err(|_| Error::argument(OP, format!("{n} items; there may be at most 2^32 - 1")))?;
    let items: Vec<u32> = (0..count).chain(0..count).collect();
    let labels = Tensor::from_vec(items, [2 * n], &z1.device())?;
    record_own(OP, [&ops::concat(&[z1, z2], 0)?, &scale], labels, 1.0)
}

/// The supervised contrastive loss of rows `z` `[m, d]` with u32 `labels` `[m]`: with `s = z z^T / temperature` and
/// `P(i)` the other rows of row `i`'s label, the mean over the rows that have such (the anchors) of `-(temperature /
/// base_temperature) (1/|P(i)|) sum_(p in P(i)) [s_ip - log sum_(a != i) exp s_ia]`. A scalar.
///
/// Rows without another of their label are negatives of the others only. (SupContrast's released code divides by all
/// rows instead.) Labels are names: any numbers will do. `temperature` is as in [`nt_xent`]. Khosla et al. 2020 (arXiv
/// 2004.11362); `base_temperature` is usually 0.07.
///
/// Errors if `m` is below 2, on rows of no elements, if there is not one u32 label for each row, if devices differ, on
/// integers, unless both temperatures are positive and finite, and, on the CPU, if no row has another of its label. On
/// a GPU, whose labels are not brought back to be looked at, the loss and its gradient are then NaN.
pub fn sup_con(
    z: impl Into<Var>,
    labels: &Tensor,
    temperature: impl Into<Scalar>,
    base_temperature: f64,
) -> Result<Var> {
    const OP: &str = "sup_con";
    let z = &z.into();
    check_float(OP, z.value())?;
    let [m, d] = z.shape().dims(OP, "rows [m, d]")?;
    check_rows(OP, m, d)?;
    let temperature = temperature.into().positive(OP, "temperature", z)?;
    check_temperature(OP, "base_temperature", base_temperature)?;
    if labels.dtype() != DType::U32 {
        return Err(Error::dtype(OP, "labels of u32", labels.dtype()));
    }
    if labels.shape()[..] != [m] {
        return Err(Error::shape(OP, format!("labels [{m}] for rows {}", z.shape()), labels.shape()));
    }
    check_same_device(OP, z.value(), labels)?;
    let scale = reciprocal(&temperature)?;
    let loss = record_own(OP, [z, &scale], labels.clone(), 1.0 / base_temperature)?;
    ops::mul(loss, temperature)
}

fn rows_against_keys(op: &'static str, q: &Var, k: &Var, scale: Scalar, bias: Option<Var>) -> Result<Var> {
    check_float(op, q.value())?;
    check_alike(op, &[q.value(), k.value()])?;
    let ([m, d], [n, depth]) = (q.shape().dims(op, "queries [m, d]")?, k.shape().dims(op, "keys [n, d]")?);
    if d != depth || n < m || m == 0 {
        let what = format!("{} and {}", q.shape(), k.shape());
        return Err(Error::shape(op, "queries [m, d] and keys [n, d], at least one query and a key for each", what));
    }
    check_rows(op, n, d)?;
    let scale = scale.variable(op, "scale", q)?;
    let bias = match bias {
        Some(bias) if bias.shape()[..] != [n] => {
            return Err(Error::shape(op, format!("a bias [{n}], one for each key"), bias.shape()));
        }
        Some(bias) => {
            check_same_device(op, q.value(), bias.value())?;
            check_float(op, bias.value())?;
            Some(ops::cast(bias, statistics(q.dtype()))?)
        }
        None => None,
    };
    record(op, Kind::Rows, 1.0 / m as f64, [q, k, &scale], bias.as_ref())
}

/// Rows and columns of two tensors that must be alike, and enough.
fn check_pairs(op: &'static str, a: &Var, b: &Var) -> Result<[usize; 2]> {
    check_float(op, a.value())?;
    check_alike(op, &[a.value(), b.value()])?;
    let [n, d] = a.shape().dims(op, "rows [n, d]")?;
    if b.shape() != a.shape() {
        return Err(Error::shape(op, format!("both {}", a.shape()), b.shape()));
    }
    check_rows(op, n, d)?;
    Ok([n, d])
}

fn check_rows(op: &'static str, rows: usize, depth: usize) -> Result<()> {
    if rows < 2 {
        let what = format!("a batch of {rows} has no negatives: give 2 rows at least");
        return Err(Error::argument(op, what));
    }
    match depth {
        0 => Err(Error::argument(op, "rows without elements have nothing to compare")),
        _ => Ok(()),
    }
}

fn check_temperature(op: &'static str, name: &str, temperature: f64) -> Result<()> {
    match temperature > 0.0 && temperature.is_finite() && (1.0 / temperature).is_finite() {
        true => Ok(()),
        false => Err(Error::argument(op, format!("{name} must be positive and finite, got {temperature}"))),
    }
}

fn reciprocal(x: &Var) -> Result<Var> {
    ops::div(Tensor::scalar(1.0, x.dtype(), &x.device())?, x)
}

/// What logits and sums are made in.
fn statistics(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// What is made of the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A softmax over each row, whose positive is on the diagonal.
    Rows,
    /// The same, and over each column.
    Both,
    /// Rows against themselves: the diagonal is left out, positives are the others of equal label. The matrix is
    /// symmetric, and so is what the backward pass makes of it: `G + G^T`, which is multiplied once.
    Own,
    /// A sigmoid of each.
    Sigmoid,
}

/// A loss and what it is made of.
struct Problem {
    op: &'static str,
    kind: Kind,
    /// What the sum over rows (and columns) is multiplied with; for [`Kind::Own`] it is divided by the anchors besides.
    weight: f64,
    rows: usize,
    columns: usize,
    depth: usize,
    /// `[rows, depth]`
    q: Tensor,
    /// `[columns, depth]`; of [`Kind::Own`] the same as `q`.
    k: Tensor,
    /// A scalar of the statistics' dtype.
    scale: Tensor,
    /// `[columns]` of the statistics' dtype.
    offset: Option<Tensor>,
    /// u32 `[rows]`, of [`Kind::Own`].
    labels: Option<Tensor>,
}

/// What the backward pass needs besides, all of the statistics' dtype.
struct Kept {
    /// The logarithm of each row's sum of exponentials, `[rows]`; not of [`Kind::Sigmoid`].
    rows: Option<Tensor>,
    /// That of each column, `[columns]`, of [`Kind::Both`].
    columns: Option<Tensor>,
    /// Positives of each row, `[rows]`, of [`Kind::Own`].
    counts: Option<Tensor>,
    /// The weight, divided by the number of anchors of [`Kind::Own`]; a scalar.
    weight: Tensor,
}

/// Which gradients are asked for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    q: bool,
    k: bool,
    scale: bool,
    offset: bool,
}

/// The gradients that were asked for. Of [`Kind::Own`] that of `q` is the whole one.
#[derive(Default)]
struct Gradients {
    q: Option<Tensor>,
    k: Option<Tensor>,
    scale: Option<Tensor>,
    offset: Option<Tensor>,
}

fn record(op: &'static str, kind: Kind, weight: f64, inputs: [&Var; 3], offset: Option<&Var>) -> Result<Var> {
    let [q, k, scale] = inputs;
    let problem = Problem {
        op,
        kind,
        weight,
        rows: q.shape()[0],
        columns: k.shape()[0],
        depth: q.shape()[1],
        q: q.value().clone(),
        k: k.value().clone(),
        scale: scale.value().clone(),
        offset: offset.map(|offset| offset.value().clone()),
        labels: None,
    };
    let (loss, kept) = on!(q.device(), forward(&problem))?;
    // An absent offset is a constant: no gradient of it is asked for.
    let offset = offset.cloned().unwrap_or_else(|| scale.detach());
    Var::record(op, loss, [q, k, scale, &offset], move |dy, [q, k, scale, offset]| {
        let wanted = Wanted { q, k, scale, offset };
        let Gradients { q, k, scale, offset } = on!(dy.device(), backward(&problem, &kept, dy, wanted))?;
        Ok([q, k, scale, offset])
    })
}

fn record_own(op: &'static str, [z, scale]: [&Var; 2], labels: Tensor, weight: f64) -> Result<Var> {
    let (rows, depth) = (z.shape()[0], z.shape()[1]);
    let problem = Problem {
        op,
        kind: Kind::Own,
        weight,
        rows,
        columns: rows,
        depth,
        q: z.value().clone(),
        k: z.value().clone(),
        scale: scale.value().clone(),
        offset: None,
        labels: Some(labels),
    };
    let (loss, kept) = on!(z.device(), forward(&problem))?;
    Var::record(op, loss, [z, scale], move |dy, [q, scale]| {
        let wanted = Wanted { q, k: false, scale, offset: false };
        let Gradients { q, scale, .. } = on!(dy.device(), backward(&problem, &kept, dy, wanted))?;
        Ok([q, scale])
    })
}
