//! Closed forms: limits, bounds, floors and weights.
//!
//! `v` is the variance of the truth throughout, [`Law::variance`](super::Law::variance).

/// The stationary risk of the mixture at a fixed share `alpha` of real data and fixed size `n`: `(v/n) / (1 - (1 -
/// alpha)^2 (1 - 1/n))`, near `v / (n alpha (2 - alpha))`; `v`, the risk of a collapsed model, for `alpha` = 0.
pub fn stationary_risk(v: f64, alpha: f64, n: f64) -> f64 {
    v / n / (1.0 - (1.0 - alpha) * (1.0 - alpha) * (1.0 - 1.0 / n))
}

/// The risk after `t` rounds on nothing but own samples, `v (1 - (1 - 1/n)^{t+1})` (Seddik et al. 2024, arXiv
/// 2404.05090).
pub fn collapse_risk(v: f64, n: f64, t: usize) -> f64 {
    -v * f64::exp_m1((t as f64 + 1.0) * f64::ln_1p(-1.0 / n))
}

/// Whether training on the mixture ends below the first fit's risk: `n_0 < n (1 - (1 - alpha)^2 (1 - 1/n))`.
pub fn improves(first: f64, alpha: f64, n: f64) -> bool {
    first < n * (1.0 - (1.0 - alpha) * (1.0 - alpha) * (1.0 - 1.0 / n))
}

/// The risk after `t` rounds of accumulating `n` own samples a round: `v (1 - prod_{i=1}^{t+1} (1 - 1 / (n i^2)))`.
pub fn accumulated_risk(v: f64, n: f64, t: usize) -> f64 {
    let product: f64 = (1..=t + 1).map(|i| f64::ln_1p(-1.0 / (n * (i as f64) * (i as f64)))).sum();
    -v * product.exp_m1()
}

/// What [`accumulated_risk`] never passes: `(v/n) pi^2 / 6` (Gerstgrasser et al. 2024, arXiv 2404.01413).
pub fn accumulated_bound(v: f64, n: f64) -> f64 {
    v / n * std::f64::consts::PI * std::f64::consts::PI / 6.0
}

/// What training beside a fixed set of `real` samples never falls below, however long: that set's own error, `v /
/// real`.
pub fn anchor_floor(v: f64, real: f64) -> f64 {
    v / real
}

/// The stationary distance of the model to the fixed set of `real` samples beside which `n` own samples a round are
/// used: `D = a^2 ((1 - 1/n) D + V_N / n)` with `a = n / (real + n)` and `V_N = v (1 - 1/real)`.
pub fn anchor_distance(v: f64, real: f64, n: f64) -> f64 {
    let a = n / (real + n);
    a * a * v * (1.0 - 1.0 / real) / n / (1.0 - a * a * (1.0 - 1.0 / n))
}

/// The weight of `real` samples together, known to be real, beside `synthetic` ones of the last model, that makes the
/// stationary risk smallest: the root of `k w^2 + w - 1 = 0` in `[0, 1]`, `k = synthetic / real`, which is where `(w^2
/// k + (1 - w)^2) / (1 - (1 - w)^2)` is stationary. For equal counts it is `(sqrt(5) - 1) / 2`, one over the golden
/// ratio, as He, Xu & Cheng 2025 (arXiv 2502.18049) found.
pub fn optimal_weight(real: f64, synthetic: f64) -> f64 {
    // Twice the product over the conjugate, so that k -> 0 is no division by zero.
    2.0 / (1.0 + (1.0 + 4.0 * synthetic / real).sqrt())
}

/// The stationary risk of known-provenance weighting, without the correction of order 1/n^2 that [`Law`](super::Law)
/// has: `v (w^2 / real + (1 - w)^2 / synthetic) / (1 - (1 - w)^2)`.
pub fn weighted_risk(v: f64, weight: f64, real: f64, synthetic: f64) -> f64 {
    let own = 1.0 - weight;
    v * (weight * weight / real + own * own / synthetic) / (1.0 - own * own)
}

/// How a binomial number of samples enters a mean: what is expected of 1/N, N from Binomial(n, p).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InverseCount {
    /// The probability of N = 0.
    pub none: f64,
    /// `E[1/N | N > 0]`.
    pub mean_inverse: f64,
}

impl InverseCount {
    /// For `n` trials of probability `p`; exact to about 1e-12.
    pub fn new(n: u64, p: f64) -> Self {
        let trials = n as f64;
        if n == 0 || p.is_nan() || p <= 0.0 {
            return InverseCount { none: 1.0, mean_inverse: 1.0 };
        }
        if p >= 1.0 {
            return InverseCount { none: 0.0, mean_inverse: 1.0 / trials };
        }
        let (mean, q) = (trials * p, 1.0 - p);
        let none = (trials * f64::ln_1p(-p)).exp();
        if mean > 1e4 {
            // 1/N around the mean, with the second to fourth central moments.
            let series = 1.0 + q / mean + (3.0 * q * q - q * (1.0 - 2.0 * p)) / (mean * mean);
            return InverseCount { none, mean_inverse: series / mean };
        }
        // Probabilities relative to the mode's, out to where they vanish.
        let mode = ((trials + 1.0) * p).floor().max(1.0).min(trials);
        let (mut weights, mut inverses) = (1.0, 1.0 / mode);
        for direction in [1.0, -1.0] {
            let (mut k, mut weight) = (mode, 1.0);
            loop {
                if direction > 0.0 {
                    weight *= (trials - k) / (k + 1.0) * p / q;
                } else {
                    weight *= k / (trials - k + 1.0) * q / p;
                }
                k += direction;
                if k < 1.0 || k > trials || weight < 1e-18 {
                    break;
                }
                weights += weight;
                inverses += weight / k;
            }
        }
        InverseCount { none, mean_inverse: inverses / weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_notes() {
        let v = 0.9604;
        for (alpha, n, risk) in [(0.1, 100.0, 0.0485), (0.1, 1000.0, 0.00503), (0.5, 100.0, 0.01276)] {
            approx::assert_abs_diff_eq!(stationary_risk(v, alpha, n), risk, epsilon = 5e-5);
        }
        approx::assert_relative_eq!(stationary_risk(v, 0.0, 100.0), v, max_relative = 1e-12);
        approx::assert_abs_diff_eq!(collapse_risk(v, 100.0, 200), 0.8330, epsilon = 5e-4);
        approx::assert_abs_diff_eq!(accumulated_risk(v, 100.0, 200), 0.01567, epsilon = 5e-5);
        approx::assert_abs_diff_eq!(accumulated_bound(v, 100.0), 0.01580, epsilon = 5e-6);
        assert!(accumulated_risk(v, 100.0, 100_000) < accumulated_bound(v, 100.0));
        approx::assert_abs_diff_eq!(anchor_distance(0.968, 200.0, 800.0), 0.00214, epsilon = 5e-6);
        approx::assert_abs_diff_eq!(anchor_floor(0.968, 200.0), 0.00484, epsilon = 1e-12);
        // Five times the first fit's size at alpha = 0.1 improves, four times does not: 1 - 0.9^2 = 0.19.
        assert!(improves(100.0, 0.1, 530.0) && !improves(100.0, 0.1, 520.0));
    }

    #[test]
    fn the_optimal_weight_is_golden_for_equal_counts() {
        let golden = (5f64.sqrt() - 1.0) / 2.0;
        approx::assert_relative_eq!(optimal_weight(10.0, 10.0), golden, max_relative = 1e-15);
        approx::assert_relative_eq!(weighted_risk(1.0, golden, 1.0, 1.0), golden, max_relative = 1e-14);
        for (real, synthetic) in [(1.0, 1.0), (3.0, 1.0), (1.0, 20.0)] {
            let best = optimal_weight(real, synthetic);
            let risk = |w| weighted_risk(1.0, w, real, synthetic);
            let grid = (1..1000).map(|i| risk(f64::from(i) / 1000.0)).fold(f64::INFINITY, f64::min);
            assert!(risk(best) <= grid && grid - risk(best) < 1e-5 * grid, "{real} {synthetic}");
        }
        assert_eq!(optimal_weight(5.0, 0.0), 1.0);
    }

    #[test]
    fn inverse_counts_are_sums_over_the_binomial() {
        for (n, p) in [(1u64, 0.3), (5, 0.9), (60, 0.01), (200, 0.5)] {
            let probability = |k: u64| {
                let choose: f64 = (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product();
                choose * f64::powi(p, k as i32) * f64::powi(1.0 - p, (n - k) as i32)
            };
            let none = probability(0);
            let sum: f64 = (1..=n).map(|k| probability(k) / k as f64).sum();
            let count = InverseCount::new(n, p);
            approx::assert_relative_eq!(count.none, none, max_relative = 1e-12);
            approx::assert_relative_eq!(count.mean_inverse, sum / (1.0 - none), max_relative = 1e-11);
        }
        // Series and sum meet.
        let (sum, series) = (InverseCount::new(19_999, 0.5), InverseCount::new(20_001, 0.5));
        approx::assert_relative_eq!(sum.mean_inverse * 19_999.0, series.mean_inverse * 20_001.0, max_relative = 1e-8);
        assert_eq!(InverseCount::new(7, 1.0), InverseCount { none: 0.0, mean_inverse: 1.0 / 7.0 });
        assert_eq!(InverseCount::new(7, 0.0).none, 1.0);
    }
}
