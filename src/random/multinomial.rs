//! Exact multinomial counts: how often each of K outcomes came in n draws.

use super::{Sequence, binomial};
use crate::error::{Error, Result};

/// An alias table: one draw from K outcomes takes one 64-bit word and one look-up.
///
/// A. J. Walker 1977 (ACM Trans. Math. Softw. 3), built as M. D. Vose 1991 (IEEE Trans. Softw. Eng. 17).
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    /// The share of each slot that is its own, and the outcome of the rest.
    slots: Vec<(f64, u32)>,
}

impl Alias {
    /// The table of these weights, which need not sum to 1. Errors unless they are finite, not negative, at least one
    /// is positive, and there are fewer than 2^32.
    pub fn new(weights: &[f64]) -> Result<Self> {
        let total = total("Alias", weights)?;
        let k = weights.len();
        let scale = k as f64 / total;
        let mut slots: Vec<(f64, u32)> = weights.iter().enumerate().map(|(i, &w)| (w * scale, i as u32)).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) = (0..k as u32).partition(|&i| slots[i as usize].0 < 1.0);
        while let (Some(&s), Some(&l)) = (small.last(), large.last()) {
            small.pop();
            let missing = 1.0 - slots[s as usize].0;
            slots[s as usize].1 = l;
            slots[l as usize].0 -= missing;
            if slots[l as usize].0 < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        // What is left is full up to rounding; an outcome of weight 0 that rounding left over must stay impossible.
        let likeliest = (0..k).fold(0, |best, i| if weights[i] > weights[best] { i } else { best });
        for i in small.into_iter().chain(large) {
            slots[i as usize] = if weights[i as usize] > 0.0 { (1.0, i) } else { (0.0, likeliest as u32) };
        }
        Ok(Alias { slots })
    }

    /// One outcome.
    #[inline]
    pub fn draw(&self, sequence: &mut Sequence) -> usize {
        // The product's high half is the slot, its low half the place within it.
        let product = u128::from(sequence.word64()) * self.slots.len() as u128;
        let slot = (product >> 64) as usize;
        let place = (product as u64) as f64 * (0.5 / (1u64 << 63) as f64);
        let (own, other) = self.slots[slot];
        if place < own { slot } else { other as usize }
    }
}

/// Adds to `counts` how often each outcome came in `n` draws with probabilities proportional to `weights`.
///
/// By conditional binomials (each outcome in turn, among the draws that are left) where `n` is large beside the number
/// of outcomes, else by `n` draws from an alias table: O(min(n, K)) beside one pass over the weights. Both are exact.
///
/// Errors unless the weights are finite, not negative and at least one is positive, and `counts` has their length.
pub fn multinomial(sequence: &mut Sequence, n: u64, weights: &[f64], counts: &mut [u64]) -> Result<()> {
    total("multinomial", weights)?;
    if counts.len() != weights.len() {
        let got = format!("{} counts", counts.len());
        return Err(Error::shape("multinomial", format!("one count for each of {} weights", weights.len()), got));
    }
    let possible = weights.iter().filter(|&&w| w > 0.0).count();
    if draws_are_cheaper(n, possible) {
        // A table of what can come at all: the frequencies of few draws from many outcomes are mostly zero.
        let outcomes: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0.0).collect();
        let alias = Alias::new(&outcomes.iter().map(|&i| weights[i]).collect::<Vec<_>>())?;
        for _ in 0..n {
            counts[outcomes[alias.draw(sequence)]] += 1;
        }
        return Ok(());
    }
    // Sums from the end: the share of an outcome among those that are left keeps all its digits.
    let mut rest = vec![0.0; weights.len()];
    let mut sum = 0.0;
    for (rest, weight) in rest.iter_mut().zip(weights).rev() {
        sum += weight;
        *rest = sum;
    }
    let mut left = n;
    for ((count, weight), rest) in counts.iter_mut().zip(weights).zip(rest) {
        if left == 0 {
            break;
        }
        let drawn = binomial(sequence, left, weight / rest);
        *count += drawn;
        left -= drawn;
    }
    Ok(())
}

/// Whether `n` draws from a table take less time than a binomial number for each of `possible` outcomes.
pub fn draws_are_cheaper(n: u64, possible: usize) -> bool {
    n < 2 * possible as u64
}

/// The sum of the weights, if they make a distribution.
fn total(op: &'static str, weights: &[f64]) -> Result<f64> {
    if let Some(i) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        return Err(Error::argument(op, format!("weight {i} is {}; weights are finite and not negative", weights[i])));
    }
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && total.is_finite()) || weights.len() as u64 >= 1 << 32 {
        let what =
            format!("{} weights with sum {total}; at least one must be positive, their sum finite", weights.len());
        return Err(Error::argument(op, what));
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, RandomKey};

    fn sequence(sample: u32) -> Sequence {
        Sequence::new(&RandomKey::new(4, Purpose::Custom).stream().unwrap(), sample)
    }

    const WEIGHTS: [f64; 6] = [2.0, 0.0, 0.5, 4.0, 1.5, 2.0];

    #[test]
    fn an_alias_table_draws_by_the_weights() {
        let alias = Alias::new(&WEIGHTS).unwrap();
        let mut s = sequence(0);
        let mut seen = [0f64; 6];
        (0..100_000).for_each(|_| seen[alias.draw(&mut s)] += 1.0);
        let expected = WEIGHTS.map(|w| 1e4 * w);
        let sum: f64 = seen.iter().zip(expected).filter(|(_, e)| *e > 0.0).map(|(s, e)| (s - e).powi(2) / e).sum();
        assert!(
            seen[1] == 0.0 && sum < 25.7,
            "{seen:?}: chi-square {sum}; 25.7 has p = 1e-4 with 4 degrees of freedom"
        );
    }

    /// Mean and covariance of the counts: n p_i and n (p_i [i = j] - p_i p_j), by both methods.
    #[test]
    fn counts_have_their_mean_and_covariance() {
        for n in [5u64, 11, 400] {
            let repeats = 40_000;
            let mut s = sequence(n as u32);
            let (mut mean, mut products) = ([0.0; 6], [[0.0; 6]; 6]);
            for _ in 0..repeats {
                let mut counts = [0; 6];
                multinomial(&mut s, n, &WEIGHTS, &mut counts).unwrap();
                assert!(counts.iter().sum::<u64>() == n && counts[1] == 0);
                for i in 0..6 {
                    mean[i] += counts[i] as f64 / f64::from(repeats);
                    for j in 0..6 {
                        products[i][j] += (counts[i] * counts[j]) as f64 / f64::from(repeats);
                    }
                }
            }
            let n = n as f64;
            for i in 0..6 {
                let p = WEIGHTS[i] / 10.0;
                let deviation = (n * p * (1.0 - p)).sqrt();
                assert!((mean[i] - n * p).abs() <= 5.0 * deviation / f64::from(repeats).sqrt(), "n = {n}, mean {i}");
                for j in 0..6 {
                    let q = WEIGHTS[j] / 10.0;
                    let expected = if i == j { n * p * (1.0 - p) } else { -n * p * q };
                    let found = products[i][j] - n * p * n * q;
                    // The standard error of a product of counts is below 2 n max(1, n p q) / sqrt(repeats).
                    let allowed = 10.0 * n.max(n * n * p * q) / f64::from(repeats).sqrt();
                    assert!((found - expected).abs() < allowed, "n = {n}, covariance {i} {j}: {found}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_distribution_is_an_error() {
        let mut s = sequence(0);
        for weights in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY], &[1e308, 1e308]] {
            assert!(Alias::new(weights).is_err(), "{weights:?}");
            assert!(multinomial(&mut s, 3, weights, &mut vec![0; weights.len()]).is_err(), "{weights:?}");
        }
        assert!(multinomial(&mut s, 3, &[1.0], &mut [0, 0]).unwrap_err().to_string().contains("one count for each"));
        let mut counts = [0; 2];
        multinomial(&mut s, 1 << 50, &[1.0, 3.0], &mut counts).unwrap();
        assert_eq!(counts[0] + counts[1], 1 << 50);
    }
}
