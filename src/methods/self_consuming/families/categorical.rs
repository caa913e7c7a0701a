//! Next tokens in one fixed context: a categorical distribution, fitted by its frequencies.

use super::super::{Draw, Family, Law, Part, Plan};
use crate::error::{Error, Result};
use crate::memory;
use crate::random::multinomial::{Alias, draws_are_cheaper};
use crate::random::{Sequence, multinomial};

/// A categorical truth and the frequencies that estimate it: what Bakshi & Chakraborty 2026 study. Data are counts, so
/// a round costs the same for any number of samples.
#[derive(Debug, Clone)]
pub struct Categorical {
    theta: Vec<f64>,
    alias: Alias,
}

/// A fitted distribution: weights that need not sum to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Frequencies {
    /// The weight of each token.
    pub weights: Vec<f64>,
    /// Their sum.
    pub total: f64,
}

impl Categorical {
    /// The truth with these weights. Errors unless they are finite, not negative, and one is positive.
    pub fn new(weights: &[f64]) -> Result<Self> {
        // Probabilities, and the two columns of the alias table with the scratch that makes them.
        room(weights.len(), 40)?;
        let alias = Alias::new(weights)?;
        let total: f64 = weights.iter().sum();
        Ok(Categorical { theta: weights.iter().map(|w| w / total).collect(), alias })
    }

    /// A truth drawn from Dirichlet(1, ..., 1): uniform over all distributions of `vocab` tokens. Errors on less than
    /// two.
    pub fn random(vocab: usize, seed: u64) -> Result<Self> {
        check_vocab(vocab)?;
        // Drawn; then the probabilities and the alias table that are made of them.
        room(vocab, 48)?;
        Self::new(&dirichlet(&mut Draw::truth(seed).sequence()?, vocab))
    }

    /// Token i has a weight of `1 / i^exponent`, i from 1 on: words of a language, about, for 1. Errors on less than
    /// two tokens.
    pub fn zipf(vocab: usize, exponent: f64) -> Result<Self> {
        check_vocab(vocab)?;
        room(vocab, 48)?;
        Self::new(&(1..=vocab).map(|i| (i as f64).powf(-exponent)).collect::<Vec<_>>())
    }

    /// The true probabilities.
    pub fn theta(&self) -> &[f64] {
        &self.theta
    }

    /// The exact law of the risk: one-hot vectors of this distribution have variance `1 - |theta|^2`.
    pub fn law(&self) -> Law {
        Law::new(1.0 - self.theta.iter().map(|p| p * p).sum::<f64>())
    }
}

/// Errors unless there is memory for `each` bytes a token.
fn room(vocab: usize, each: u128) -> Result<()> {
    memory::check(each * vocab as u128, &format!("a vocabulary of {vocab} tokens"), "lower --vocab")
}

fn check_vocab(vocab: usize) -> Result<()> {
    match (2..1 << 31).contains(&vocab) {
        true => Ok(()),
        false => {
            Err(Error::Config(format!("a vocabulary of {vocab} tokens; there must be at least 2, and fewer than 2^31")))
        }
    }
}

/// Weights from Dirichlet(1, ..., 1), up to their sum.
pub(super) fn dirichlet(sequence: &mut Sequence, k: usize) -> Vec<f64> {
    (0..k).map(|_| sequence.exponential()).collect()
}

impl Family for Categorical {
    type Data = Vec<u64>;
    type Model = Frequencies;

    fn measures(&self) -> Vec<String> {
        ["risk", "mass of lost tokens", "largest probability"].map(String::from).into()
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<u64>> {
        let mut sequence = draw.sequence()?;
        let mut counts = vec![0; self.theta.len()];
        if draws_are_cheaper(n, counts.len()) {
            // The table is there already.
            (0..n).for_each(|_| counts[self.alias.draw(&mut sequence)] += 1);
        } else {
            multinomial(&mut sequence, n, &self.theta, &mut counts)?;
        }
        Ok(counts)
    }

    fn synthetic(&self, model: &Frequencies, n: u64, draw: &Draw) -> Result<Vec<u64>> {
        let mut counts = vec![0; self.theta.len()];
        multinomial(&mut draw.sequence()?, n, &model.weights, &mut counts)?;
        Ok(counts)
    }

    fn merge(&self, into: &mut Vec<u64>, more: Vec<u64>) {
        into.iter_mut().zip(more).for_each(|(into, more)| *into += more);
    }

    fn fit(&self, parts: &[Part<Vec<u64>>], _: Option<&Frequencies>, _: &Draw) -> Result<Frequencies> {
        let mut weights = vec![0.0; self.theta.len()];
        for part in parts {
            weights.iter_mut().zip(part.data).for_each(|(weight, &count)| *weight += part.weight * count as f64);
        }
        let total = weights.iter().sum();
        Ok(Frequencies { weights, total })
    }

    fn measure(&self, model: &Frequencies) -> Result<Vec<f64>> {
        let (mut risk, mut lost, mut largest) = (0.0, 0.0, 0f64);
        for (theta, weight) in self.theta.iter().zip(&model.weights) {
            let found = weight / model.total;
            risk += (found - theta) * (found - theta);
            lost += if *weight == 0.0 { *theta } else { 0.0 };
            largest = largest.max(found);
        }
        Ok(vec![risk, lost, largest])
    }

    fn bytes(&self, _: u64) -> u128 {
        // Counts of both sources, of what is kept, weights, and the scratch of a draw.
        64 * self.theta.len() as u128
    }

    fn theory(&self, plan: &Plan) -> Result<Vec<Option<Vec<f64>>>> {
        Ok(vec![Some(self.law().risk(plan)?), None, None])
    }
}
