//! Hard samples from categorical distributions.

mod cpu;
mod gpu;

use super::gumbel_rows::no_distribution;
use super::{check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::random::Draws;
use crate::tensor::{DType, Tensor};

/// What [`categorical_unchecked`] puts in the place of a label where a row of logits has no distribution.
pub use super::gumbel_rows::NO_LABEL;

/// One label a row, drawn from `softmax(logits)`: `argmax_j(logits_j + g_j)` with Gumbel numbers `g`, which is exact.
///
/// `logits` is `[n, k]` of any floating-point dtype, unnormalised; the result is `[n]` u32. A logit of -inf is a label
/// that is never drawn. Bit-equal logits in f32 or bf16 give the same labels on every device. There is no gradient: an
/// input that requires one is an error.
///
/// Errors on other shapes, if the sample ids do not fit, and on a row without a distribution: all -inf, or with a NaN
/// or +inf. To find such a row this waits for the device; [`categorical_unchecked`] does not.
pub fn categorical(logits: impl Into<Var>, draws: &Draws) -> Result<Tensor> {
    let logits = &logits.into();
    let (labels, bad) = sample(logits, draws)?;
    if let Some(bad) = bad
        && bad.to_vec::<u32>()?[0] != 0
    {
        let row = labels.to_vec::<u32>()?.iter().position(|&label| label == NO_LABEL).unwrap_or(0);
        return Err(no_distribution("categorical", row));
    }
    Ok(labels)
}

/// As [`categorical`] without waiting for the device: rows without a distribution get the label [`NO_LABEL`].
pub fn categorical_unchecked(logits: impl Into<Var>, draws: &Draws) -> Result<Tensor> {
    let logits = &logits.into();
    Ok(sample(logits, draws)?.0)
}

/// The labels, and a tensor of one word that is not 0 if a row has no distribution (`None`: there are no rows).
fn sample(logits: &Var, draws: &Draws) -> Result<(Tensor, Option<Tensor>)> {
    let device = logits.device();
    if logits.requires_grad() {
        return Err(Error::NoGradient { op: "categorical" });
    }
    let logits = logits.value();
    check_float("categorical", logits)?;
    let [n, k] = logits.shape().dims("categorical", "logits [n, k]")?;
    if k == 0 && n > 0 || k as u64 >= u64::from(NO_LABEL) {
        return Err(Error::shape("categorical", "between 1 and 2^32 - 2 labels", logits.shape()));
    }
    draws.check("categorical", logits.shape(), &device)?;
    let mut labels = Tensor::empty([n], DType::U32, &device)?;
    if n == 0 {
        return Ok((labels, None));
    }
    let mut bad = Tensor::zeros([1], DType::U32, &device)?;
    on!(device, sample(logits, k, draws, &mut labels, &mut bad))?;
    Ok((labels, Some(bad)))
}
