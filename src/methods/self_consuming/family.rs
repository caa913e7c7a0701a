//! What the loop asks of a model family.

use super::Plan;
use crate::error::Result;
use crate::random::{Purpose, RandomKey, Sequence};

/// A model family in the loop: how it is drawn from, fitted and measured. This is all that a family of your own has to
/// have.
///
/// ```
/// use veridical::methods::self_consuming::{Arm, Draw, Family, Law, Part, Plan, Schedule, Settings, simulate};
/// use veridical::Result;
///
/// /// The rate of events: exponential waiting times, fitted by their mean.
/// struct Waiting;
///
/// impl Family for Waiting {
///     type Data = Vec<f64>;
///     type Model = f64;
///     fn measures(&self) -> Vec<String> {
///         vec!["squared error of the mean".into()]
///     }
///     fn real(&self, n: u64, draw: &Draw) -> Result<Vec<f64>> {
///         self.synthetic(&1.0, n, draw)
///     }
///     fn synthetic(&self, mean: &f64, n: u64, draw: &Draw) -> Result<Vec<f64>> {
///         let mut sequence = draw.sequence()?;
///         Ok((0..n).map(|_| mean * sequence.exponential()).collect())
///     }
///     fn merge(&self, into: &mut Vec<f64>, more: Vec<f64>) {
///         into.extend(more);
///     }
///     fn fit(&self, parts: &[Part<Vec<f64>>], _: Option<&f64>, _: &Draw) -> Result<f64> {
///         let sum: f64 = parts.iter().map(|part| part.weight * part.data.iter().sum::<f64>()).sum();
///         let weight: f64 = parts.iter().map(|part| part.weight * part.data.len() as f64).sum();
///         Ok(sum / weight)
///     }
///     fn measure(&self, mean: &f64) -> Result<Vec<f64>> {
///         Ok(vec![(mean - 1.0).powi(2)])
///     }
///     fn bytes(&self, n: u64) -> u128 {
///         8 * u128::from(n)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// // A tenth of each round's 50 samples is real.
/// let plan = Plan::new(Arm::Mixture, 20, &Schedule::Constant(0.1), &Schedule::Constant(50.0), None)?;
/// let found = simulate(&Waiting, &plan, &Settings { repeats: 200, ..Settings::default() })?;
/// let first = &found.measures[0].mean;
/// assert!(first.len() == 21 && first[20] > 2.0 * first[0]);
/// # Ok(())
/// # }
/// ```
pub trait Family: Sync {
    /// Samples, or whatever of them a fit needs (counts, sums).
    type Data: Send + Sync;
    /// A fitted model.
    type Model: Send + Sync;

    /// What [`measure`](Self::measure) measures, in its order. The first one is the risk.
    fn measures(&self) -> Vec<String>;

    /// `n` samples of the truth.
    fn real(&self, n: u64, draw: &Draw) -> Result<Self::Data>;

    /// `n` samples of a model.
    fn synthetic(&self, model: &Self::Model, n: u64, draw: &Draw) -> Result<Self::Data>;

    /// Adds the samples of `more` to those of `into`.
    fn merge(&self, into: &mut Self::Data, more: Self::Data);

    /// The model of some data; `previous` is the last round's, which a family may start from or fall back on.
    fn fit(&self, parts: &[Part<Self::Data>], previous: Option<&Self::Model>, draw: &Draw) -> Result<Self::Model>;

    /// How far the model is from the truth, in each of the [`measures`](Self::measures).
    fn measure(&self, model: &Self::Model) -> Result<Vec<f64>>;

    /// Memory that `n` samples take, in bytes: what a schedule is checked against before it runs.
    fn bytes(&self, n: u64) -> u128;

    /// Samples below which there is no fit.
    fn least_samples(&self) -> u64 {
        1
    }

    /// The expectation of each measure in each round, where it has a closed form.
    fn theory(&self, plan: &Plan) -> Result<Vec<Option<Vec<f64>>>> {
        let _ = plan;
        Ok(self.measures().iter().map(|_| None).collect())
    }
}

/// Samples with the weight that each of them has in a fit; only the ratio of weights matters.
#[derive(Debug)]
pub struct Part<'a, D> {
    /// The samples.
    pub data: &'a D,
    /// The weight of one of them.
    pub weight: f64,
}

/// What is drawn; each has random numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Drawn {
    /// How many of a round's samples are real, and which are kept.
    Split = 0,
    /// Real samples.
    Real = 1,
    /// The model's samples.
    Synthetic = 2,
    /// Whatever is random about a fit.
    Fit = 3,
    /// The truth itself, where a family makes one up.
    Truth = 4,
}

/// The address of the random numbers of one draw: they are a pure function of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The seed of the whole simulation.
    pub seed: u64,
    /// Which repeat.
    pub repeat: u32,
    /// Which round, from 0 on.
    pub round: u32,
    /// What for.
    pub what: Drawn,
}

impl Draw {
    /// What a made-up truth of a seed is drawn from.
    pub fn truth(seed: u64) -> Self {
        Draw { seed, repeat: 0, round: 0, what: Drawn::Truth }
    }

    /// The draw's numbers, one after the other.
    pub fn sequence(&self) -> Result<Sequence> {
        let key = RandomKey::new(self.seed, Purpose::SelfConsuming).at_site(self.what as u32).at_step(self.round);
        Ok(Sequence::new(&key.stream()?, self.repeat))
    }

    /// A seed of the draw's own, for parts of the crate that are given one.
    pub fn own_seed(&self) -> Result<u64> {
        // Half of what a u64 holds: configurations store seeds as signed integers.
        Ok(self.sequence()?.word64() >> 1)
    }

    /// The same repeat and round, for something else.
    #[must_use]
    pub fn of(self, what: Drawn) -> Self {
        Draw { what, ..self }
    }
}
