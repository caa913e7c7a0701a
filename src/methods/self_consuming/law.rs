//! The exact expectations of a loop whose models have the mean and the variance of their data.
//!
//! Take a family whose fit keeps the mean and the (biased) covariance of the weighted data: frequencies of tokens
//! (one-hot vectors), Gaussians, mixtures of Gaussians after any step of EM, kernel densities up to their bandwidth.
//! Let `V` be the total variance of the truth, `R_t = E|mean_t - mean*|^2` the risk and `M_t = E|x - mean*|^2` for
//! samples x of the model. Given model t - 1, each sample of round t is unbiased up to a share `1 - alpha` of the
//! model's error, so
//!
//! ```text
//! R_t = (1 - alpha)^2 R_{t-1} + (B - (1 - alpha)^2 R_{t-1}) / n,   B = alpha V + (1 - alpha) M_{t-1}
//! M_t = B + what the model adds (a kernel's bandwidth; else nothing)
//! ```
//!
//! With nothing added `M_t = V` for ever, and this is Bakshi & Chakraborty's recursion (2026, arXiv 2602.10531) `R_t =
//! (1 - alpha)^2 (1 - 1/n) R_{t-1} + V/n`; the variance of the model itself is then `V - R_t` in expectation, which for
//! Gaussians and alpha = 0 is Shumailov et al.'s `(1 - 1/n)^{t+1} V` (2024). The other arms follow from the same two
//! moments.

use super::arm::{Arm, Round};
use super::theory::InverseCount;
use crate::error::Result;

/// What the recursion has to know about a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    /// `V`, the trace of the truth's covariance; for a token distribution `1 - |theta|^2`.
    pub variance: f64,
    /// What a model's samples have beyond the variance of its data.
    pub widening: Widening,
}

/// Variance that a model adds to that of its data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Widening {
    /// None: the fit keeps the covariance.
    None,
    /// This, over all coordinates: a kernel of fixed bandwidth h in d dimensions adds `d h^2`.
    Fixed(f64),
    /// `n^(-2 / (d + 4))` times the data's own, n the samples of the fit: Scott's rule for kernels in d dimensions.
    Scott {
        /// `d`.
        dims: usize,
    },
}

/// Expectations after a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// `E|mean - mean*|^2`.
    pub risk: f64,
    /// `E|x - mean*|^2` for a sample of the model.
    pub second_moment: f64,
    /// The expected product of the model's error and that of a fixed real set.
    anchor_product: f64,
    /// Samples in the pool of an accumulating loop, and their second moment.
    pool: (f64, f64),
}

impl Law {
    /// The law of a family that keeps mean and covariance.
    pub fn new(variance: f64) -> Self {
        Law { variance, widening: Widening::None }
    }

    /// After the first fit, on `n` real samples.
    pub fn first(&self, arm: Arm, n: u64) -> State {
        let n = n as f64;
        let risk = self.variance / n;
        let second_moment = self.widened(self.variance, risk, n);
        let anchor_product = if matches!(arm, Arm::Anchor { .. }) { risk } else { 0.0 };
        State { risk, second_moment, anchor_product, pool: (n, self.variance) }
    }

    /// After one more round.
    pub fn step(&self, arm: Arm, before: State, round: Round) -> Result<State> {
        let State { risk, second_moment: model, .. } = before;
        let (v, alpha, n) = (self.variance, round.alpha, round.n as f64);
        // One sample of the mixture: its second moment, and its variance given the last model.
        let drift = (1.0 - alpha) * (1.0 - alpha) * risk;
        let mixed = alpha * v + (1.0 - alpha) * model;
        let noise = mixed - drift;
        let after = |risk: f64, data: f64, n: f64| State { risk, second_moment: self.widened(data, risk, n), ..before };
        Ok(match arm {
            Arm::Mixture => after(drift + noise / n, mixed, n),
            Arm::Stratified => {
                let (real, own) = (round.real() as f64, (round.n - round.real()) as f64);
                let share = own / n;
                let noise = (real * v + own * (model - risk)) / (n * n);
                after(share * share * risk + noise, (real * v + own * model) / n, n)
            }
            Arm::Weighted(weight) => {
                let (real, own) = (round.real() as f64, (round.n - round.real()) as f64);
                let w = weight.of(round.real(), round.n - round.real());
                let of_real = if real > 0.0 { w * w * v / real } else { 0.0 };
                let of_own = if own > 0.0 { (1.0 - w) * (1.0 - w) * (model - risk) / own } else { 0.0 };
                after((1.0 - w) * (1.0 - w) * risk + of_real + of_own, w * v + (1.0 - w) * model, n)
            }
            Arm::Accumulate => {
                let total = before.pool.0 + n;
                let a = n / total;
                let kept = (1.0 - a * alpha) * (1.0 - a * alpha) * risk;
                let data = (1.0 - a) * before.pool.1 + a * mixed;
                State { pool: (total, data), ..after(kept + a * a * noise / n, data, total) }
            }
            Arm::Anchor { real } => {
                let (real, a) = (real as f64, n / (real as f64 + n));
                let floor = v / real;
                let (of_anchor, of_model) = (1.0 - a, a * (1.0 - alpha));
                let product = of_anchor * floor + of_model * before.anchor_product;
                let kept = of_anchor * of_anchor * floor
                    + 2.0 * of_anchor * of_model * before.anchor_product
                    + of_model * of_model * risk;
                let data = of_anchor * v + a * mixed;
                State { anchor_product: product, ..after(kept + a * a * noise / n, data, real + n) }
            }
            Arm::Filter { keep_real, keep_synthetic } => {
                let kept = alpha * keep_real + (1.0 - alpha) * keep_synthetic;
                if kept == 0.0 {
                    return Ok(before);
                }
                let alpha = alpha * keep_real / kept;
                let count = InverseCount::new(round.n, kept);
                let drift = (1.0 - alpha) * (1.0 - alpha) * risk;
                let mixed = alpha * v + (1.0 - alpha) * model;
                let fitted = drift + (mixed - drift) * count.mean_inverse;
                let new = after(fitted, mixed, n * kept);
                let blend = |old: f64, new: f64| count.none * old + (1.0 - count.none) * new;
                State { risk: blend(risk, new.risk), second_moment: blend(model, new.second_moment), ..before }
            }
        })
    }

    /// The second moment of a model's samples, whose data have second moment `data` and whose mean has this risk.
    fn widened(&self, data: f64, risk: f64, n: f64) -> f64 {
        match self.widening {
            Widening::None => data,
            Widening::Fixed(more) => data + more,
            Widening::Scott { dims } => data + scott(n, dims) * (data - risk),
        }
    }

    /// The inverse of [`widened`](Self::widened), less the risk.
    pub(super) fn narrowed(&self, state: State, n: f64) -> f64 {
        let spread = state.second_moment - state.risk;
        match self.widening {
            Widening::None => spread,
            Widening::Fixed(more) => spread - more,
            Widening::Scott { dims } => spread / (1.0 + scott(n, dims)),
        }
    }
}

/// The square of Scott's factor.
pub(super) fn scott(n: f64, dims: usize) -> f64 {
    n.powf(-2.0 / (dims as f64 + 4.0))
}
