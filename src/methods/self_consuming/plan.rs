//! What happens in each round, the schedules made into numbers, and what the law foretells of it.

use super::arm::{Arm, Round};
use super::law::{Law, State};
use super::schedule::{Quantity, Schedule};
use crate::error::{Error, Result};
use crate::memory;

/// Arm and rounds, checked: what is simulated and what the theory is asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    arm: Arm,
    rounds: Vec<Round>,
}

/// Rounds beyond this are a mistake.
const MOST_ROUNDS: usize = 10_000_000;
/// What an adaptive schedule of sizes stops at if it is not told.
const MOST_SAMPLES: f64 = 1e6;

impl Plan {
    /// The first fit and `rounds` more of them, by these schedules. Adaptive schedules need the family's `law`.
    ///
    /// Errors on shares outside `[0, 1]`, on a round without samples or with more than 2^53, and on adaptive schedules
    /// without a law or of both quantities at once.
    pub fn new(arm: Arm, rounds: usize, alpha: &Schedule, samples: &Schedule, law: Option<&Law>) -> Result<Self> {
        arm.check()?;
        alpha.check_real_share()?;
        if rounds > MOST_ROUNDS {
            return Err(Error::Config(format!("{rounds} rounds; at most {MOST_ROUNDS} are possible")));
        }
        memory::check(64 * rounds as u128, &format!("a plan of {rounds} rounds"), "do fewer rounds")?;
        let adaptive = [alpha, samples].map(|schedule| matches!(schedule, Schedule::Adaptive { .. }));
        if adaptive == [true, true] {
            return Err(Error::Config("both schedules are adaptive; fix one of them".into()));
        }
        let law = match (adaptive.contains(&true), law) {
            (true, None) => {
                let why =
                    "an adaptive schedule follows the family's law, and this family has none; give numbers instead";
                return Err(Error::Config(why.into()));
            }
            (true, law) => law,
            (false, _) => None,
        };
        let first = match (arm, samples) {
            (Arm::Anchor { real }, _) => real,
            (_, Schedule::Adaptive { target, most }) => {
                let law = law.ok_or_else(|| Error::Config("an adaptive schedule needs a law".into()))?;
                let most = count(most.unwrap_or(MOST_SAMPLES), 0)?;
                ((law.variance / target).ceil() as u64).clamp(1, most)
            }
            _ => size(samples, 0)?,
        };
        let mut plan = Plan { arm, rounds: vec![Round { alpha: 1.0, n: first }] };
        let mut state = law.map(|law| law.first(arm, first));
        for t in 1..=rounds {
            let round = match (law, state) {
                (Some(law), Some(state)) => adapt(law, arm, state, alpha, samples, t)?,
                _ => Round { alpha: share(alpha, t)?, n: size(samples, t)? },
            };
            state = match (law, state) {
                (Some(law), Some(state)) => Some(law.step(arm, state, round)?),
                _ => None,
            };
            plan.rounds.push(round);
        }
        Ok(plan)
    }

    /// The arm.
    pub fn arm(&self) -> Arm {
        self.arm
    }

    /// Round 0, the first fit, and the others.
    pub fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// The most samples that one repeat holds at once, beside a model.
    pub fn most_samples(&self) -> u128 {
        let sizes = self.rounds.iter().map(|round| u128::from(round.n));
        match self.arm {
            Arm::Accumulate => sizes.sum(),
            Arm::Anchor { real } => u128::from(real) + sizes.max().unwrap_or(0),
            _ => sizes.max().unwrap_or(0),
        }
    }
}

/// What a law foretells of a plan.
impl Law {
    /// The state after each round of a plan.
    pub fn states(&self, plan: &Plan) -> Result<Vec<State>> {
        let mut states = Vec::with_capacity(plan.rounds().len());
        for (t, round) in plan.rounds().iter().enumerate() {
            states.push(match states.last() {
                Some(before) if t > 0 => self.step(plan.arm(), *before, *round)?,
                _ => self.first(plan.arm(), round.n),
            });
        }
        Ok(states)
    }

    /// The expected risk after each round of a plan.
    pub fn risk(&self, plan: &Plan) -> Result<Vec<f64>> {
        Ok(self.states(plan)?.iter().map(|state| state.risk).collect())
    }

    /// The expected variance of the data that each round's model was fitted on, about their own mean: `V - R_t` without
    /// widening.
    pub fn spread(&self, plan: &Plan) -> Result<Vec<f64>> {
        let states = self.states(plan)?;
        // The samples of each fit; an anchored loop's first one has the anchor alone.
        let sizes = plan.rounds().iter().enumerate().scan(0.0, |pool, (t, round)| {
            *pool += round.n as f64;
            Some(match plan.arm() {
                Arm::Accumulate => *pool,
                Arm::Anchor { real } if t > 0 => real as f64 + round.n as f64,
                _ => round.n as f64,
            })
        });
        Ok(states.iter().zip(sizes).map(|(state, n)| self.narrowed(*state, n)).collect())
    }
}

fn share(schedule: &Schedule, t: usize) -> Result<f64> {
    schedule.real_share(t).ok_or_else(|| Error::Config("an adaptive schedule needs a law".into()))
}

fn size(schedule: &Schedule, t: usize) -> Result<u64> {
    let value = schedule.at(Quantity::Samples, t);
    count(value.ok_or_else(|| Error::Config("an adaptive schedule needs a law".into()))?, t)
}

/// A round's size as a whole number.
fn count(value: f64, t: usize) -> Result<u64> {
    let whole = value.round();
    if whole.is_nan() || whole < 1.0 {
        return Err(Error::Config(format!(
            "round {t} has {value} samples; a fit needs at least one, so raise --samples"
        )));
    }
    if whole > crate::random::binomial::MAX_TRIALS as f64 {
        return Err(Error::Config(format!(
            "round {t} has {value:.3e} samples; counts are exact up to 2^53 = 9.0e15 only, so let --samples grow more slowly"
        )));
    }
    Ok(whole as u64)
}

/// The round with the smallest adaptive value that the law says is enough.
fn adapt(law: &Law, arm: Arm, state: State, alpha: &Schedule, samples: &Schedule, t: usize) -> Result<Round> {
    let risk = |round: Round| -> Result<f64> { Ok(law.step(arm, state, round)?.risk) };
    if let Schedule::Adaptive { target, most } = samples {
        let alpha = share(alpha, t)?;
        let (mut low, mut high) = (0, count(most.unwrap_or(MOST_SAMPLES), t)?);
        // The smallest n with risk at most the target; the largest allowed where none has.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if risk(Round { alpha, n: middle })? <= *target { high = middle } else { low = middle }
        }
        return Ok(Round { alpha, n: high });
    }
    let n = size(samples, t)?;
    let Schedule::Adaptive { target, most } = alpha else { return Ok(Round { alpha: share(alpha, t)?, n }) };
    let (mut low, mut high) = (0.0, most.unwrap_or(1.0));
    if risk(Round { alpha: low, n })? <= *target {
        return Ok(Round { alpha: low, n });
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if risk(Round { alpha: middle, n })? <= *target { high = middle } else { low = middle }
    }
    Ok(Round { alpha: high, n })
}
