//! Estimators of gradients through labels: how the expectation of a reward over `softmax(logits)` changes with the
//! logits.
//!
//! For labels `y` of a row with probabilities `p = softmax(logits)` and rewards `f_y` the exact gradient is
//! `p (f - <p, f>)`. With few labels it can be had: [`Exact`] sums over all of them, and has no variance. The others
//! draw labels, as they must where there are too many:
//!
//! | estimator | bias | variance |
//! |---|---|---|
//! | [`Exact`] | none | none |
//! | [`Reinforce`] (Williams 1992), with a [`Baseline`] or without | none | large; less with a baseline |
//! | [`GumbelSoftmax`] (Jang et al. 2016, arXiv 1611.01144) | grows with the temperature, also for linear rewards | grows as it falls |
//! | [`StraightThrough`] (the same) | as above, with hard labels forward | a little more |
//! | [`RaoBlackwell`] (Paulus et al. 2021, arXiv 2010.04838) | that of straight-through | less |
//! | [`RewardRegression`] (the code of KDGAN) | its own objective: moves a label's logit towards the logit of its reward | |

use std::fmt::Debug;
use std::ops::Range;

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::Address;
use crate::random::Purpose;
use crate::tensor::Tensor;

/// What labels are worth.
pub struct Reward<'a> {
    /// `f` `[n, k]`: the reward of each label of each row. A constant to the estimators, whatever it hangs on.
    pub values: &'a Var,
    /// The reward `[n]` of relaxed labels `[n, k]`, rows of the simplex; of a one-hot row it is that label's value.
    /// Only estimators that relax ask for it.
    pub relaxed: &'a dyn Fn(&Var) -> Result<Var>,
}

/// An estimator of the gradient, with respect to `logits` `[n, k]`, of the mean over rows of
/// `E_{y ~ softmax(logits)} f_y`.
pub trait LabelEstimator: Debug + Send + Sync {
    /// A scalar whose gradient with respect to `logits` is the estimate. Random numbers come from `address`, whose
    /// samples are the rows.
    ///
    /// Errors on shapes that do not fit and on logits without a distribution.
    fn surrogate(&self, logits: &Var, reward: &Reward, address: &Address) -> Result<Var>;
}

/// The sum over all labels. Its value is the expectation itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exact;

impl LabelEstimator for Exact {
    fn surrogate(&self, logits: &Var, reward: &Reward, _: &Address) -> Result<Var> {
        expectation(&logits.softmax()?, &reward.values.detach())
    }
}

/// The mean over rows of `sum_y p_y f_y`, both `[n, k]`.
pub fn expectation(p: &Var, f: &Var) -> Result<Var> {
    (p * f)?.sum(&[1])?.mean_all()
}

/// What is taken off the reward, so that its size is no noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Baseline {
    /// Nothing.
    #[default]
    None,
    /// The mean reward of the row's other samples: no bias. Two samples a row at least.
    LeaveOneOut,
    /// The row's expected reward `<p, f>`, where all rewards are known: no bias.
    Expected,
}

/// `mean_j (f_{y_j} - b) log p_{y_j}` over `samples` labels a row: the score-function estimator.
#[derive(Debug, Clone, Copy)]
pub struct Reinforce {
    /// Labels drawn for each row.
    pub samples: usize,
    /// What is taken off the rewards.
    pub baseline: Baseline,
}

impl LabelEstimator for Reinforce {
    fn surrogate(&self, logits: &Var, reward: &Reward, address: &Address) -> Result<Var> {
        let least = if self.baseline == Baseline::LeaveOneOut { 2 } else { 1 };
        at_least("Reinforce", self.samples, least)?;
        let (log_p, f) = (logits.log_softmax()?, reward.values.detach());
        let drawn = one_hot_samples(logits, 0..self.samples, address)?;
        let rewards = drawn.iter().map(|y| of_label(&f, y)).collect::<Result<Vec<_>>>()?;
        let mut sum = ops::scale(rewards.first().ok_or_else(none_drawn)?, 0.0)?;
        for reward in &rewards {
            sum = (sum + reward)?;
        }
        let expected = of_label(&f, &logits.detach().softmax()?)?;
        let mut total: Option<Var> = None;
        for (y, f) in drawn.iter().zip(&rewards) {
            let advantage = match self.baseline {
                Baseline::None => f.clone(),
                Baseline::Expected => (f - &expected)?,
                Baseline::LeaveOneOut => (f - ops::scale((&sum - f)?, 1.0 / (self.samples - 1) as f64)?)?,
            };
            add(&mut total, (advantage * of_label(&log_p, y)?)?)?;
        }
        mean_of(total, self.samples)
    }
}

/// The reward of a relaxed label `softmax((logits + g) / tau)`, differentiated through the label.
#[derive(Debug, Clone, Copy)]
pub struct GumbelSoftmax {
    /// The temperature.
    pub tau: f64,
    /// Labels drawn for each row.
    pub samples: usize,
}

/// The reward of a hard label, whose gradient takes the way of the relaxed one.
#[derive(Debug, Clone, Copy)]
pub struct StraightThrough {
    /// The temperature of the relaxed label.
    pub tau: f64,
    /// Labels drawn for each row.
    pub samples: usize,
}

impl LabelEstimator for GumbelSoftmax {
    fn surrogate(&self, logits: &Var, reward: &Reward, address: &Address) -> Result<Var> {
        relaxed(logits, reward, address, (self.tau, self.samples, false))
    }
}

impl LabelEstimator for StraightThrough {
    fn surrogate(&self, logits: &Var, reward: &Reward, address: &Address) -> Result<Var> {
        relaxed(logits, reward, address, (self.tau, self.samples, true))
    }
}

fn relaxed(logits: &Var, reward: &Reward, address: &Address, (tau, samples, hard): (f64, usize, bool)) -> Result<Var> {
    at_least("GumbelSoftmax", samples, 1)?;
    let mut total: Option<Var> = None;
    for sample in 0..samples {
        let draws = address.draws_at(Purpose::Gumbel, sample as u32);
        let y = ops::gumbel_softmax(logits, tau, hard, &draws)?;
        add(&mut total, (reward.relaxed)(&y)?)?;
    }
    mean_of(total, samples)
}

/// [`StraightThrough`] with the gradient averaged over relaxed labels that all have the same hard one.
#[derive(Debug, Clone, Copy)]
pub struct RaoBlackwell {
    /// The temperature of the relaxed labels.
    pub tau: f64,
    /// Relaxed labels for each hard one.
    pub resamples: usize,
    /// Labels drawn for each row.
    pub samples: usize,
}

impl LabelEstimator for RaoBlackwell {
    fn surrogate(&self, logits: &Var, reward: &Reward, address: &Address) -> Result<Var> {
        at_least("RaoBlackwell", self.samples, 1)?;
        let mut total: Option<Var> = None;
        for sample in 0..self.samples {
            let draws = address.draws_at(Purpose::Gumbel, sample as u32);
            let y = ops::gumbel_rao(logits, self.tau, self.resamples, &draws)?;
            add(&mut total, (reward.relaxed)(&y)?)?;
        }
        mean_of(total, self.samples)
    }
}

/// What KDGAN's code does in place of a gradient of the game: binary cross-entropy between the logit of a drawn label
/// and the probability `r` that the discriminator gives it, `softplus(z_y) - r z_y`.
///
/// The rewards must be `log(1 - r)`, as those of the game are.
#[derive(Debug, Clone, Copy)]
pub struct RewardRegression {
    /// Labels drawn for each row.
    pub samples: usize,
}

impl LabelEstimator for RewardRegression {
    fn surrogate(&self, logits: &Var, reward: &Reward, address: &Address) -> Result<Var> {
        at_least("RewardRegression", self.samples, 1)?;
        let r = (1.0 - reward.values.detach().exp()?)?;
        let mut total: Option<Var> = None;
        for y in one_hot_samples(logits, 0..self.samples, address)? {
            let (z, r) = (of_label(logits, &y)?, of_label(&r, &y)?);
            add(&mut total, (z.softplus()? - (r * z)?)?)?;
        }
        mean_of(total, self.samples)
    }
}

/// Labels drawn from `softmax(logits)`, one-hot `[n, k]`: one for each of the `sites`, each with random numbers of its
/// own.
pub fn one_hot_samples(logits: &Var, sites: Range<usize>, address: &Address) -> Result<Vec<Tensor>> {
    let [_, k] = logits.shape().dims("one_hot_samples", "logits [n, k]")?;
    let draw = |site: usize| {
        let draws = address.draws_at(Purpose::Categorical, site as u32);
        ops::one_hot(&ops::categorical_unchecked(logits.detach(), &draws)?, k, logits.dtype())
    };
    sites.map(draw).collect()
}

/// `sum_y v_y y`, `[n]`: what stands at the label.
fn of_label(values: &Var, y: impl Into<Var>) -> Result<Var> {
    (values * y.into())?.sum(&[1])
}

fn add(total: &mut Option<Var>, term: Var) -> Result<()> {
    *total = Some(match total.take() {
        Some(sum) => (sum + term)?,
        None => term,
    });
    Ok(())
}

fn mean_of(total: Option<Var>, samples: usize) -> Result<Var> {
    ops::scale(total.ok_or_else(none_drawn)?.mean_all()?, 1.0 / samples as f64)
}

fn none_drawn() -> Error {
    Error::argument("label estimator", "no labels drawn; give at least 1 sample a row")
}

fn at_least(what: &'static str, samples: usize, least: usize) -> Result<()> {
    match samples >= least && samples < 1 << 24 {
        true => Ok(()),
        false => Err(Error::argument(what, format!("{samples} samples a row; give {least} or more, below 2^24"))),
    }
}

/// A temperature that falls: `max(floor, start * factor^(step / every))`, the exponent rounded down.
///
/// Jang et al. anneal by `exp(-r step)`, updated every 500 to 1,000 steps, down to 0.5; KDGAN's code from 10 by 0.88.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annealing {
    /// At first.
    pub start: f64,
    /// What it is multiplied by each time; 1: it stays.
    pub factor: f64,
    /// Steps between two changes.
    pub every: u64,
    /// What it does not fall below.
    pub floor: f64,
}

impl Annealing {
    /// The temperature of a step, counted from 0. Errors unless it is positive and finite.
    pub fn at(&self, step: u64) -> Result<f64> {
        let changes = step / self.every.max(1);
        let tau = (self.start * self.factor.powf(changes as f64)).max(self.floor);
        match tau.is_finite() && tau > 0.0 {
            true => Ok(tau),
            false => Err(Error::argument("Annealing", format!("{self:?} gives the temperature {tau} at step {step}"))),
        }
    }
}
