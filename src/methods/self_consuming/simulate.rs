//! The loop: draw, refit, measure, again.

use rayon::prelude::*;

use super::arm::{Arm, Round};
use super::family::{Draw, Drawn, Family, Part};
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::memory;
use crate::random::binomial;
use crate::stop::{self, Stop};

/// How a plan is simulated.
pub struct Settings<'a> {
    /// Independent repeats; each is the same whatever others there are.
    pub repeats: u32,
    /// Makes everything random.
    pub seed: u64,
    /// Bytes that the samples of all repeats which run at once may take together.
    pub memory: u128,
    /// Called after every round of every repeat, from any thread.
    pub progress: &'a (dyn Fn() + Sync),
}

impl Default for Settings<'_> {
    /// One repeat of seed 0 in at most 8 GiB.
    fn default() -> Self {
        Settings { repeats: 1, seed: 0, memory: 8 << 30, progress: &|| {} }
    }
}

/// One measure over the rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// The mean over the repeats, in each round.
    pub mean: Vec<f64>,
    /// Its standard error; 0 with a single repeat.
    pub stderr: Vec<f64>,
    /// The 5th, 50th and 95th percentile of the repeats.
    pub percentiles: Vec<[f64; 3]>,
    /// The expectation in theory, where it is known.
    pub theory: Option<Vec<f64>>,
}

/// What a simulation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Each of the family's measures, the risk first.
    pub measures: Vec<Measured>,
}

/// Runs `plan` on `family`.
///
/// The result is a pure function of family, plan, repeats and seed, for any number of threads. Errors if a fit needs
/// more samples than the first round has, if the samples would not fit into the memory that they may take, where the
/// family does, and once the calling thread is to [stop](crate::stop).
pub fn simulate<F: Family>(family: &F, plan: &Plan, settings: &Settings) -> Result<Simulated> {
    check(family, plan, settings)?;
    let names = family.measures();
    let theory = family.theory(plan)?;
    let stop = Stop::current();
    let histories: Vec<Vec<Vec<f64>>> = (0..settings.repeats)
        .into_par_iter()
        .map(|repeat| {
            let _heeding = stop::heed(stop.clone());
            one(family, plan, settings, repeat)
        })
        .collect::<Result<_>>()?;
    let measures = names
        .into_iter()
        .zip(theory.into_iter().chain(std::iter::repeat(None)))
        .enumerate()
        .map(|(i, (name, theory))| summary(name, i, plan.rounds().len(), &histories, theory))
        .collect();
    Ok(Simulated { measures })
}

fn check<F: Family>(family: &F, plan: &Plan, settings: &Settings) -> Result<()> {
    if settings.repeats == 0 {
        return Err(Error::Config("0 repeats; at least one is needed".into()));
    }
    let least = family.least_samples();
    let fitted = |round: &Round| match plan.arm() {
        Arm::Anchor { real } => real,
        _ => round.n,
    };
    if let Some((t, round)) = plan.rounds().iter().enumerate().find(|(_, round)| fitted(round) < least) {
        let n = fitted(round);
        let what = format!("round {t} has {n} samples, and this family is fitted on {least} or more; raise --samples");
        return Err(Error::Config(what));
    }
    let (most, at_once) = (plan.most_samples(), settings.repeats.min(rayon::current_num_threads() as u32));
    let one = u64::try_from(most).map_or(u128::MAX, |most| family.bytes(most));
    let gigabytes = |bytes: u128| bytes as f64 / 1e9;
    // Every measure of every round of every repeat, with what two vectors around them take.
    let (rounds, measures) = (plan.rounds().len() as u128, family.measures().len() as u128);
    let found = u128::from(settings.repeats) * (24 + rounds * (48 + 8 * measures));
    if found > settings.memory {
        return Err(Error::Config(format!(
            "the results of {} repeats of {rounds} rounds take about {:.1} GB, and {:.1} GB may be used; do fewer repeats or rounds",
            settings.repeats,
            gigabytes(found),
            gigabytes(settings.memory)
        )));
    }
    let needed = one.saturating_mul(u128::from(at_once));
    if needed > settings.memory {
        return Err(Error::Config(format!(
            "the plan holds up to {most} samples in a repeat, about {:.1} GB for {at_once} repeats at once, and {:.1} GB may be used; \
             let --samples grow more slowly, or do fewer rounds",
            gigabytes(needed),
            gigabytes(settings.memory)
        )));
    }
    let what = format!("a plan of {most} samples in a repeat, {at_once} repeats at once");
    memory::check(
        needed.saturating_add(found),
        &what,
        "lower --samples, --vocab or --dims, or do fewer rounds or repeats",
    )
}

/// All measures after each round of one repeat.
fn one<F: Family>(family: &F, plan: &Plan, settings: &Settings, repeat: u32) -> Result<Vec<Vec<f64>>> {
    let mut history = Vec::with_capacity(plan.rounds().len());
    let mut model: Option<F::Model> = None;
    // The real set of an anchored loop, or everything so far of an accumulating one.
    let mut kept: Option<F::Data> = None;
    for (t, &round) in plan.rounds().iter().enumerate() {
        stop::check()?;
        let draw = Draw { seed: settings.seed, repeat, round: t as u32, what: Drawn::Split };
        if let Some(new) = fit_round(family, plan.arm(), round, draw, model.as_ref(), &mut kept)? {
            model = Some(new);
        }
        let model = model.as_ref().ok_or_else(|| Error::Config("the first round kept no samples".into()))?;
        let measured = family.measure(model)?;
        if let Some(i) = measured.iter().position(|value| !value.is_finite()) {
            let what = format!("{} in round {t} of repeat {repeat}", family.measures().get(i).map_or("?", |name| name));
            return Err(Error::NonFinite { what, found: measured[i].to_string() });
        }
        history.push(measured);
        (settings.progress)();
    }
    Ok(history)
}

/// The model of one round; `None` if no sample was kept.
fn fit_round<F: Family>(
    family: &F,
    arm: Arm,
    round: Round,
    draw: Draw,
    model: Option<&F::Model>,
    kept: &mut Option<F::Data>,
) -> Result<Option<F::Model>> {
    let fit = |parts: &[Part<F::Data>]| family.fit(parts, model, &draw.of(Drawn::Fit)).map(Some);
    let real = |n: u64| family.real(n, &draw.of(Drawn::Real));
    let Some(last) = model else {
        let data = real(round.n)?;
        let fitted = fit(&[Part { data: &data, weight: 1.0 }])?;
        if matches!(arm, Arm::Anchor { .. } | Arm::Accumulate) {
            *kept = Some(data);
        }
        return Ok(fitted);
    };
    let own = |n: u64| family.synthetic(last, n, &draw.of(Drawn::Synthetic));
    let together = |n_real: u64, n_own: u64| -> Result<F::Data> {
        if n_own == 0 {
            return real(n_real);
        }
        let mut data = own(n_own)?;
        if n_real > 0 {
            family.merge(&mut data, real(n_real)?);
        }
        Ok(data)
    };
    // Of n draws from the mixture a binomial number comes from the truth.
    let mut split = draw.sequence()?;
    let mut mixed = || {
        let n_real = binomial(&mut split, round.n, round.alpha);
        (n_real, round.n - n_real)
    };
    match arm {
        Arm::Mixture => {
            let (n_real, n_own) = mixed();
            fit(&[Part { data: &together(n_real, n_own)?, weight: 1.0 }])
        }
        Arm::Stratified => fit(&[Part { data: &together(round.real(), round.n - round.real())?, weight: 1.0 }]),
        Arm::Weighted(weight) => {
            let (n_real, n_own) = (round.real(), round.n - round.real());
            let w = weight.of(n_real, n_own);
            let each = |total: f64, n: u64| if n > 0 { total / n as f64 } else { 0.0 };
            match (w > 0.0, w < 1.0) {
                (true, false) => fit(&[Part { data: &real(n_real)?, weight: 1.0 }]),
                (false, _) => fit(&[Part { data: &own(n_own)?, weight: 1.0 }]),
                (true, true) => fit(&[
                    Part { data: &real(n_real)?, weight: each(w, n_real) },
                    Part { data: &own(n_own)?, weight: each(1.0 - w, n_own) },
                ]),
            }
        }
        Arm::Accumulate => {
            let (n_real, n_own) = mixed();
            let new = together(n_real, n_own)?;
            let pool = match kept.take() {
                Some(mut pool) => {
                    family.merge(&mut pool, new);
                    pool
                }
                None => new,
            };
            let fitted = fit(&[Part { data: &pool, weight: 1.0 }]);
            *kept = Some(pool);
            fitted
        }
        Arm::Anchor { .. } => {
            let (n_real, n_own) = mixed();
            let new = together(n_real, n_own)?;
            let anchor = kept.as_ref().ok_or_else(|| Error::Config("an anchored loop without its anchor".into()))?;
            fit(&[Part { data: anchor, weight: 1.0 }, Part { data: &new, weight: 1.0 }])
        }
        Arm::Filter { keep_real, keep_synthetic } => {
            let (n_real, n_own) = mixed();
            // The numbers that are left of the split's sequence.
            let kept_real = binomial(&mut split, n_real, keep_real);
            let kept_own = binomial(&mut split, n_own, keep_synthetic);
            if kept_real + kept_own < family.least_samples().max(1) {
                return Ok(None);
            }
            fit(&[Part { data: &together(kept_real, kept_own)?, weight: 1.0 }])
        }
    }
}

fn summary(
    name: String,
    measure: usize,
    rounds: usize,
    histories: &[Vec<Vec<f64>>],
    theory: Option<Vec<f64>>,
) -> Measured {
    let mut found = Measured { name, mean: vec![], stderr: vec![], percentiles: vec![], theory };
    for t in 0..rounds {
        let mut values: Vec<f64> = histories.iter().filter_map(|h| h.get(t)?.get(measure).copied()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        found.mean.push(mean);
        found.stderr.push(if values.len() > 1 { (squares / (n - 1.0) / n).sqrt() } else { 0.0 });
        values.sort_by(f64::total_cmp);
        found.percentiles.push([0.05, 0.5, 0.95].map(|share| percentile(&values, share)));
    }
    found
}

/// Between the sorted values, linearly; NaN without any.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * sorted.len().saturating_sub(1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(a), Some(b)) => a + (b - a) * (at - low as f64),
        _ => f64::NAN,
    }
}
