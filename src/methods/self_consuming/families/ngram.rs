//! Bigram and n-gram tables: a categorical distribution for each context.

use super::super::theory::InverseCount;
use super::super::{Arm, Draw, Family, Part, Plan};
use super::categorical::dirichlet;
use crate::error::{Error, Result};
use crate::memory;
use crate::random::multinomial;

/// A table of next-token distributions, one for each of `vocab^(order - 1)` contexts, estimated by frequencies. A
/// sample is a context from a fixed distribution, as a prompt is, and the next token from the truth or the model.
#[derive(Debug, Clone)]
pub struct Ngram {
    vocab: usize,
    /// The probability of each context.
    contexts: Vec<f64>,
    /// `[contexts, vocab]`
    theta: Vec<f64>,
}

/// A fitted table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// `[contexts, vocab]`; each row sums to 1.
    pub probabilities: Vec<f64>,
}

/// Entries of a table at most.
const MOST_ENTRIES: usize = 1 << 27;

impl Ngram {
    /// A truth whose contexts and rows are drawn from Dirichlet(1, ..., 1). `order` 2 is a bigram, 1 a single context.
    /// Errors on sizes that make no table, or one of more than 2^27 entries.
    pub fn random(vocab: usize, order: u32, seed: u64) -> Result<Self> {
        let contexts = vocab.checked_pow(order.saturating_sub(1));
        let entries = contexts.and_then(|contexts| contexts.checked_mul(vocab));
        let (Some(contexts), Some(entries), true) = (contexts, entries, vocab >= 2 && order >= 1) else {
            return Err(Error::Config(format!(
                "an {order}-gram table of {vocab} tokens; there are at least 2, in an order from 1 on"
            )));
        };
        if entries > MOST_ENTRIES {
            let gigabytes = entries as f64 * 8e-9;
            return Err(Error::Config(format!(
                "an {order}-gram table of {vocab} tokens has {entries} entries ({gigabytes:.1} GB); at most {MOST_ENTRIES} are possible: \
                 lower --order or --vocab"
            )));
        }
        let what = format!("an {order}-gram table of {vocab} tokens");
        memory::check(8 * (entries + 2 * contexts) as u128, &what, "lower --order or --vocab")?;
        let mut sequence = Draw::truth(seed).sequence()?;
        let normalised = |weights: Vec<f64>| {
            let total: f64 = weights.iter().sum();
            weights.into_iter().map(move |w| w / total)
        };
        let prompts = normalised(dirichlet(&mut sequence, contexts)).collect();
        // Of its size from the start: growing, it would take twice as much for a while.
        let mut theta = Vec::with_capacity(entries);
        (0..contexts).for_each(|_| theta.extend(normalised(dirichlet(&mut sequence, vocab))));
        Ok(Ngram { vocab, contexts: prompts, theta })
    }

    fn draw(&self, table: &[f64], n: u64, draw: &Draw) -> Result<Vec<u64>> {
        let mut sequence = draw.sequence()?;
        let mut sizes = vec![0; self.contexts.len()];
        multinomial(&mut sequence, n, &self.contexts, &mut sizes)?;
        let mut counts = vec![0; table.len()];
        for ((counts, row), n) in counts.chunks_mut(self.vocab).zip(table.chunks(self.vocab)).zip(sizes) {
            if n > 0 {
                multinomial(&mut sequence, n, row, counts)?;
            }
        }
        Ok(counts)
    }

    /// The expected risk of one context on the mixture. A round has Binomial(n, pi) samples of it; without any the row
    /// stays as it is, which in the first round is uniform: a bias, which is followed too (`beta`, as a share of the
    /// first one).
    fn context_risk(&self, context: usize, plan: &Plan) -> Vec<f64> {
        let row = &self.theta[context * self.vocab..][..self.vocab];
        let uniform = 1.0 / self.vocab as f64;
        let squares: f64 = row.iter().map(|p| p * p).sum();
        let v = 1.0 - squares;
        let start: f64 = row.iter().map(|p| (p - uniform) * (p - uniform)).sum();
        let towards: f64 = row.iter().map(|p| p * (uniform - p)).sum();
        let (mut risk, mut beta) = (start, 1.0);
        let rounds = plan.rounds().iter();
        rounds
            .map(|round| {
                let count = InverseCount::new(round.n, self.contexts[context]);
                let own = 1.0 - round.alpha;
                let noise = v - 2.0 * own * beta * towards - own * own * risk;
                let fitted = own * own * risk + count.mean_inverse * noise;
                risk = count.none * risk + (1.0 - count.none) * fitted;
                beta *= count.none + (1.0 - count.none) * own;
                risk
            })
            .collect()
    }
}

impl Family for Ngram {
    type Data = Vec<u64>;
    type Model = Table;

    fn measures(&self) -> Vec<String> {
        ["risk", "mass of lost tokens"].map(String::from).into()
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<u64>> {
        self.draw(&self.theta, n, draw)
    }

    fn synthetic(&self, model: &Table, n: u64, draw: &Draw) -> Result<Vec<u64>> {
        self.draw(&model.probabilities, n, draw)
    }

    fn merge(&self, into: &mut Vec<u64>, more: Vec<u64>) {
        into.iter_mut().zip(more).for_each(|(into, more)| *into += more);
    }

    fn fit(&self, parts: &[Part<Vec<u64>>], previous: Option<&Table>, _: &Draw) -> Result<Table> {
        let mut table = vec![0.0; self.theta.len()];
        for part in parts {
            table.iter_mut().zip(part.data).for_each(|(weight, &count)| *weight += part.weight * count as f64);
        }
        for (context, row) in table.chunks_mut(self.vocab).enumerate() {
            let total: f64 = row.iter().sum();
            let start = context * self.vocab;
            match (total > 0.0, previous) {
                (true, _) => row.iter_mut().for_each(|p| *p /= total),
                // A context that nobody asked about keeps what it had.
                (false, Some(previous)) => row.copy_from_slice(&previous.probabilities[start..start + self.vocab]),
                (false, None) => row.fill(1.0 / self.vocab as f64),
            }
        }
        Ok(Table { probabilities: table })
    }

    fn measure(&self, model: &Table) -> Result<Vec<f64>> {
        let rows = self.theta.chunks(self.vocab).zip(model.probabilities.chunks(self.vocab)).zip(&self.contexts);
        let (mut risk, mut lost) = (0.0, 0.0);
        for ((theta, found), prompt) in rows {
            let pairs = theta.iter().zip(found);
            risk += prompt * pairs.clone().map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            lost += prompt * pairs.filter(|(_, found)| **found == 0.0).map(|(theta, _)| theta).sum::<f64>();
        }
        Ok(vec![risk, lost])
    }

    fn bytes(&self, _: u64) -> u128 {
        64 * self.theta.len() as u128
    }

    fn theory(&self, plan: &Plan) -> Result<Vec<Option<Vec<f64>>>> {
        if plan.arm() != Arm::Mixture {
            return Ok(vec![None, None]);
        }
        let mut risk = vec![0.0; plan.rounds().len()];
        for (context, prompt) in self.contexts.iter().enumerate() {
            risk.iter_mut().zip(self.context_risk(context, plan)).for_each(|(sum, risk)| *sum += prompt * risk);
        }
        Ok(vec![Some(risk), None])
    }
}
