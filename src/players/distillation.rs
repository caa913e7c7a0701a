//! What a student learns from a teacher's logits `[n, k]`. Means are over rows.

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::Address;
use crate::random::Purpose;
use crate::tensor::Tensor;

/// `-(1/n) sum_i sum_y target_iy log softmax(logits_i)_y`: cross-entropy with targets that are distributions `[n, k]`.
/// Logits must be finite.
pub fn cross_entropy_soft(logits: &Var, target: impl Into<Var>) -> Result<Var> {
    let target: Var = target.into();
    ops::neg((target * logits.log_softmax()?)?.sum(&[1])?.mean_all()?)
}

/// `1 / (2 n) sum (student - teacher)^2`: Ba & Caruana 2013 (arXiv 1312.6184), "mimic" in KDGAN.
pub fn logit_l2(student: &Var, teacher: &Var) -> Result<Var> {
    ops::scale((student - teacher)?.square()?.sum(&[1])?.mean_all()?, 0.5)
}

/// `T^2 KL(softmax(teacher / T) || softmax(student / T))`: Hinton et al. 2015 (arXiv 1503.02531). The factor keeps the
/// gradient's size as the temperature `T` changes. Errors unless that is positive.
pub fn kl_softened(student: &Var, teacher: &Var, temperature: f64) -> Result<Var> {
    if !(temperature.is_finite() && temperature > 0.0) {
        let what = format!("the temperature must be positive and finite, got {temperature}");
        return Err(Error::argument("kl_softened", what));
    }
    let soft = |logits: &Var| ops::scale(logits, 1.0 / temperature)?.log_softmax();
    let (student, teacher) = (soft(student)?, soft(teacher)?);
    let kl = (teacher.exp()? * (&teacher - student)?)?.sum(&[1])?.mean_all()?;
    ops::scale(kl, temperature * temperature)
}

/// The logits of a teacher that is not sure of itself: `logits (m + sigma z)` with a mask `m` that is 0 with
/// probability `ratio` and 1 / (1 - ratio) else, and `z` normal (Sau & Balasubramanian 2016, arXiv 1610.09650, as
/// KDGAN's code has it). Errors unless `ratio` is in [0, 1).
pub fn noisy_logits(logits: &Tensor, ratio: f64, sigma: f64, address: &Address) -> Result<Tensor> {
    let ones = Tensor::full(1.0, logits.shape(), logits.dtype(), &logits.device())?;
    let mask = ops::dropout(ones, ratio, &address.draws(Purpose::Corruption))?;
    let z = ops::normal(logits.shape(), logits.dtype(), &address.draws_at(Purpose::Corruption, 1), &logits.device())?;
    Ok((logits * ops::add_scaled(mask, 1.0, z, sigma)?)?.into_value())
}
