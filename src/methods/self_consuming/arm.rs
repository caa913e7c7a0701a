//! What a round's model is fitted on.

use super::theory::optimal_weight;
use crate::error::{Error, Result};

/// What a round's model is fitted on. `n` is the round's size and `alpha` its share of real data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arm {
    /// `n` draws from `alpha * truth + (1 - alpha) * last model`; which are which is not known (Bakshi & Chakraborty
    /// 2026, arXiv 2602.10531). With `alpha` = 0 each model replaces the last: the loop of Shumailov et al. 2024.
    Mixture,
    /// Exactly `round(alpha n)` real samples and the model's for the rest.
    Stratified,
    /// Each round's draws are added to all earlier ones, and the model is fitted on everything (Gerstgrasser et al.
    /// 2024, arXiv 2404.01413).
    Accumulate,
    /// One real set of `real` samples, drawn once, is used in every round beside the round's draws.
    Anchor {
        /// Its size, which is also that of the first fit.
        real: u64,
    },
    /// As [`Stratified`](Arm::Stratified), but it is known which samples are real, and they get a weight.
    Weighted(Weight),
    /// As [`Mixture`](Arm::Mixture), behind a filter for real data: each real sample is kept with one probability, each
    /// synthetic one with another. If nothing is kept the model stays as it is.
    Filter {
        /// Probability that a real sample is kept.
        keep_real: f64,
        /// Probability that a synthetic one is kept: the filter's error.
        keep_synthetic: f64,
    },
}

/// The weight of a round's real samples together; the synthetic ones get the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// What makes the stationary risk smallest, [`optimal_weight`](super::optimal_weight): 0.618 for equal counts, one
    /// over the golden ratio (He, Xu & Cheng 2025, arXiv 2502.18049).
    Optimal,
    /// This, in `[0, 1]`.
    Fixed(f64),
}

impl Weight {
    /// The weight of `real` samples together, beside `synthetic` ones.
    pub fn of(self, real: u64, synthetic: u64) -> f64 {
        match (real, synthetic, self) {
            (0, _, _) => 0.0,
            (_, 0, _) => 1.0,
            (_, _, Weight::Fixed(weight)) => weight,
            (_, _, Weight::Optimal) => optimal_weight(real as f64, synthetic as f64),
        }
    }
}

impl Arm {
    /// Errors on numbers that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::Config(format!("{name} is {value}; it lies in [0, 1]"))),
        };
        match *self {
            Arm::Anchor { real: 0 } => {
                Err(Error::Config("the anchor has 0 real samples; it needs at least one".into()))
            }
            Arm::Weighted(Weight::Fixed(weight)) => share("the weight of the real samples", weight),
            Arm::Filter { keep_real, keep_synthetic } => {
                share("the probability that a real sample is kept", keep_real)?;
                share("the probability that a synthetic sample is kept", keep_synthetic)
            }
            _ => Ok(()),
        }
    }
}

/// One round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// The share of real data; 1 in round 0.
    pub alpha: f64,
    /// Samples drawn; in round 0 all real.
    pub n: u64,
}

impl Round {
    /// Real samples of a round whose provenance is fixed: `alpha n`, rounded.
    pub fn real(&self) -> u64 {
        ((self.alpha * self.n as f64).round() as u64).min(self.n)
    }
}
