//! Exact binomial numbers, in time that does not grow with their size.

use super::Sequence;

/// Most trials of [`binomial`]: counts up to here are exact in f64.
pub const MAX_TRIALS: u64 = 1 << 53;

/// Below this expectation a number is found by adding up probabilities from 0 on, above it by rejection.
const INVERSION: f64 = 10.0;

/// How many of `n` trials succeed, each with probability `p`.
///
/// Distributed exactly, up to the rounding of probabilities to f64: by inversion where the smaller of the expected
/// successes and failures is below 10, by Hörmann's transformed rejection (BTRS) above, with Loader's form of the
/// probabilities, which loses no digits at any `n`. Takes a handful of 64-bit words whatever `n`.
///
/// `p` outside `[0, 1]` counts as the nearest end, NaN as 0; `n` above [`MAX_TRIALS`] as that.
///
/// W. Hörmann 1993, "The generation of binomial random variates" (J. Stat. Comput. Simul. 46); C. Loader 2000, "Fast
/// and accurate computation of binomial probabilities".
pub fn binomial(sequence: &mut Sequence, n: u64, p: f64) -> u64 {
    let n = n.min(MAX_TRIALS);
    if n == 0 || p.is_nan() || p <= 0.0 {
        return 0;
    }
    if p >= 1.0 {
        return n;
    }
    // Of the rarer outcome: the algorithms want p <= 1/2.
    let rare = p.min(1.0 - p);
    let count = if n as f64 * rare < INVERSION { invert(sequence, n, rare) } else { reject(sequence, n, rare) };
    if p <= 0.5 { count } else { n - count }
}

/// Walks up the probabilities of 0, 1, 2, ... until they exceed a uniform number.
fn invert(sequence: &mut Sequence, n: u64, p: f64) -> u64 {
    let odds = p / (1.0 - p);
    let start = libm::exp(n as f64 * libm::log1p(-p)); // >= e^-14 or so, as n p < 10
    loop {
        let (mut left, mut probability) = (sequence.uniform(), start);
        // With n p < 10 the probability of more than 110 is below 1e-70, where rounding has long swallowed `left`.
        for k in 0..=n.min(110) {
            if left < probability {
                return k;
            }
            left -= probability;
            probability *= odds * (n - k) as f64 / (k + 1) as f64;
        }
    }
}

/// BTRS: a transformed uniform pair, accepted at once in most cases, by the probabilities' ratio in the others.
fn reject(sequence: &mut Sequence, n: u64, p: f64) -> u64 {
    let trials = n as f64;
    let deviation = (trials * p * (1.0 - p)).sqrt();
    let b = 1.15 + 2.53 * deviation;
    let a = -0.0873 + 0.0248 * b + 0.01 * p;
    let center = trials * p + 0.5;
    let quick = 0.92 - 4.2 / b;
    let alpha = (2.83 + 5.1 / b) * deviation;
    let mode = ((trials + 1.0) * p).floor();
    let mut at_mode = None;
    loop {
        let u = sequence.uniform() - 0.5;
        let v = sequence.uniform();
        let from_end = 0.5 - u.abs();
        let k = ((2.0 * a / from_end + b) * u + center).floor();
        if !(0.0..=trials).contains(&k) {
            continue;
        }
        if from_end >= 0.07 && v <= quick {
            return k as u64;
        }
        let height = v * alpha / (a / (from_end * from_end) + b);
        let at_mode = *at_mode.get_or_insert_with(|| log_probability(mode, trials, p));
        if libm::log(height) <= log_probability(k, trials, p) - at_mode {
            return k as u64;
        }
    }
}

/// The logarithm of the probability of `k` successes in `n` trials, Loader's saddle-point form: every term is small
/// where the result is.
fn log_probability(k: f64, n: f64, p: f64) -> f64 {
    let q = 1.0 - p;
    if k == 0.0 {
        return n * libm::log1p(-p);
    }
    if k == n {
        return n * libm::log(p);
    }
    let failures = n - k;
    let stirling = stirling_error(n) - stirling_error(k) - stirling_error(failures);
    let deviance = deviance(k, n * p) + deviance(failures, n * q);
    stirling - deviance + 0.5 * libm::log(n / (std::f64::consts::TAU * k * failures))
}

/// `ln x! - ln(sqrt(2 pi x) (x / e)^x)` for `x >= 1`.
fn stirling_error(x: f64) -> f64 {
    if x < 16.0 {
        return libm::lgamma(x + 1.0) - (x + 0.5) * libm::log(x) + x - 0.5 * libm::log(std::f64::consts::TAU);
    }
    let square = x * x;
    // The Stirling series: 1/12, 1/360, 1/1260, 1/1680, 1/1188.
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square)
        / x
}

/// `x ln(x / m) + m - x` without cancellation near `x = m`.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * libm::log(x / m) + m - x;
    }
    let v = (x - m) / (x + m);
    let mut sum = (x - m) * v;
    let mut term = 2.0 * x * v;
    for j in 1..1000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, RandomKey};

    fn sequence(sample: u32) -> Sequence {
        Sequence::new(&RandomKey::new(2, Purpose::Custom).stream().unwrap(), sample)
    }

    /// Chi-square of the counts against the probabilities, which are made by the recurrence from the mode: not by the
    /// sampler's own formula. Cells with few expected are joined.
    fn chi_square(n: u64, p: f64, draws: usize, sample: u32) -> (f64, usize) {
        let mode = ((n + 1) as f64 * p).floor() as usize;
        let mut weights = vec![0.0; n as usize + 1];
        weights[mode] = 1.0;
        for k in mode..n as usize {
            weights[k + 1] = weights[k] * (n as f64 - k as f64) / (k as f64 + 1.0) * p / (1.0 - p);
        }
        for k in (1..=mode).rev() {
            weights[k - 1] = weights[k] * k as f64 / (n as f64 - k as f64 + 1.0) * (1.0 - p) / p;
        }
        let total: f64 = weights.iter().sum();
        let mut seen = vec![0u32; n as usize + 1];
        let mut s = sequence(sample);
        for _ in 0..draws {
            seen[binomial(&mut s, n, p) as usize] += 1;
        }
        let (mut sum, mut cells) = (0.0, 0);
        let (mut expected, mut found) = (0.0, 0.0);
        for (weight, seen) in weights.iter().zip(&seen) {
            expected += draws as f64 * weight / total;
            found += f64::from(*seen);
            if expected >= 10.0 {
                sum += (found - expected) * (found - expected) / expected;
                cells += 1;
                (expected, found) = (0.0, 0.0);
            }
        }
        (sum + if expected > 0.0 { (found - expected) * (found - expected) / expected } else { 0.0 }, cells)
    }

    #[test]
    fn counts_have_their_probabilities() {
        let cases = [
            (1, 0.3),
            (7, 0.5),
            (30, 0.2),
            (30, 0.9),
            (20, 0.5),  // the smallest that is rejected
            (19, 0.52), // the largest that is inverted, from the other side
            (100, 0.37),
            (1000, 0.0105),
            (5000, 0.4),
            (5000, 0.998),
        ];
        for (i, (n, p)) in cases.into_iter().enumerate() {
            let (sum, cells) = chi_square(n, p, 200_000, i as u32);
            let freedom = (cells - 1).max(1) as f64;
            // Wilson and Hilferty: the cube root is nearly normal; five deviations.
            let z = ((sum / freedom).cbrt() - (1.0 - 2.0 / (9.0 * freedom))) / (2.0 / (9.0 * freedom)).sqrt();
            assert!(z < 5.0, "n = {n}, p = {p}: chi-square {sum} with {freedom} degrees of freedom");
        }
    }

    #[test]
    fn large_counts_have_their_mean_and_variance() {
        for (i, (n, p)) in
            [(1u64 << 50, 1e-3), (1 << 40, 0.5), (1 << 52, 3e-15), (1 << 30, 1.0 - 1e-4)].into_iter().enumerate()
        {
            let (mean, variance) = (n as f64 * p, n as f64 * p * (1.0 - p));
            let mut s = sequence(100 + i as u32);
            let draws = 20_000;
            let z: Vec<f64> = (0..draws).map(|_| (binomial(&mut s, n, p) as f64 - mean) / variance.sqrt()).collect();
            let first = z.iter().sum::<f64>() / draws as f64;
            let second = z.iter().map(|z| z * z).sum::<f64>() / draws as f64;
            assert!(first.abs() < 5.0 / (draws as f64).sqrt(), "n = {n}, p = {p}: {first}");
            assert!((second - 1.0).abs() < 5.0 * (2.2 / draws as f64).sqrt(), "n = {n}, p = {p}: {second}");
        }
    }

    #[test]
    fn ends_and_nonsense_have_an_answer() {
        let mut s = sequence(0);
        for (n, p, expected) in [(0, 0.5, 0), (9, 0.0, 0), (9, 1.0, 9), (9, -1.0, 0), (9, 2.0, 9), (9, f64::NAN, 0)] {
            assert_eq!(binomial(&mut s, n, p), expected, "n = {n}, p = {p}");
        }
        assert!(binomial(&mut s, u64::MAX, 0.5) <= MAX_TRIALS);
    }

    #[test]
    fn the_pieces_of_a_probability_are_exact() {
        // ln 20! - Stirling's approximation, to 1e-15, from the exact factorial.
        let factorial: f64 = (1..=20).map(f64::from).product();
        let exact = factorial.ln() - (0.5 * (std::f64::consts::TAU * 20.0).ln() + 20.0 * (20f64.ln() - 1.0));
        approx::assert_abs_diff_eq!(stirling_error(20.0), exact, epsilon = 1e-14);
        // C(10, 3) 0.3^3 0.7^7
        approx::assert_relative_eq!(
            log_probability(3.0, 10.0, 0.3),
            (120.0 * 0.3f64.powi(3) * 0.7f64.powi(7)).ln(),
            max_relative = 1e-13
        );
        approx::assert_relative_eq!(deviance(1.0 + 1e-6, 1.0), 5e-13, max_relative = 1e-5);
    }
}
