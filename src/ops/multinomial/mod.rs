//! How often each outcome came in n draws, row by row.

mod cpu;
mod gpu;

use super::on;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops::random::Draws;
use crate::tensor::{DType, Tensor};

const OP: &str = "multinomial";

/// Most outcomes of a row: with more, sums in fixed point could pass 64 bits.
const MOST_OUTCOMES: usize = 1 << 22;

/// The counts of `n` draws from each row of `weights`: `[b, k]` u32, rows summing to `n`.
///
/// `weights` is `[b, k]`, not negative, of any scale: u32 (taken exactly, such as the counts of an earlier round), or
/// floating-point, rounded down to 40 binary digits below the row's largest. From there on everything is in integers:
/// sums are exact in any order, draw i of a row is the first outcome whose cumulative sum exceeds `floor(word * total /
/// 2^64)` with words `2 i` and `2 i + 1` of the row's sample, and counts are added up. So equal weights give equal
/// counts on every device. There is no gradient.
///
/// Errors on other shapes, on more than 2^22 outcomes, if the sample ids do not fit, on an input that requires a
/// gradient, and on a row without a distribution: all zero, or with a negative weight, NaN or infinity. To find such a
/// row this waits for the device.
pub fn multinomial(weights: impl Into<Var>, n: u32, draws: &Draws) -> Result<Tensor> {
    let weights = &weights.into();
    let device = weights.device();
    if weights.requires_grad() {
        return Err(Error::NoGradient { op: OP });
    }
    let weights = weights.value();
    let [rows, k] = weights.shape().dims(OP, "weights [b, k]")?;
    if k > MOST_OUTCOMES || (k == 0 && rows > 0) {
        return Err(Error::shape(OP, "between 1 and 2^22 outcomes", weights.shape()));
    }
    draws.check(OP, weights.shape(), &device)?;
    let mut counts = Tensor::empty([rows, k], DType::U32, &device)?;
    if rows == 0 {
        return Ok(counts);
    }
    let mut bad = Tensor::zeros([rows], DType::U32, &device)?;
    on!(device, count(weights, [rows, k], n, draws, &mut counts, &mut bad))?;
    match bad.to_vec::<u32>()?.iter().position(|&bad| bad != 0) {
        None => Ok(counts),
        Some(row) => Err(Error::NonFinite {
            what: format!("{OP}: row {row} of the weights"),
            found:
                "all zero, or a negative weight, NaN or infinity; a row needs a positive weight, and none below zero"
                    .into(),
        }),
    }
}
