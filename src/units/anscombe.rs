//! The generalised Anscombe transform of counts, and its exact unbiased inverse.
//!
//! A count is `y = offset + gain p + e` with `p` of the Poisson law of mean `m` and `e` normal of deviation
//! `read_noise`. With `z = (y - offset) / gain` and `s = read_noise / gain`, in photons,
//!
//! ```text
//! f(y) = 2 sqrt(max(0, z + 3/8 + s^2))    has a variance near 1, whatever m is                              (1)
//! g(m) = E[f(y) | m]                      is what a denoiser of f(y) gives, and lies below f of the mean      (2)
//! g^-1                                    is the exact unbiased inverse                                     (3)
//! ```
//!
//! (1) is Anscombe 1948, for `s > 0` Murtagh, Starck & Bijaoui 1995; (3) is Mäkitalo & Foi, "Optimal inversion of the
//! Anscombe transformation in low-count Poisson image denoising" (2011) and "Optimal inversion of the generalized
//! Anscombe transformation for Poisson-Gaussian noise" (2013). They tabulate `g` or fit it; here it is summed and
//! integrated up to [`LARGE`] photons and expanded in moments above, to about 1e-7 photons either way.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// What turns photons into the numbers of a file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// Numbers for each photon.
    pub gain: f64,
    /// The number that stands for no photons.
    pub offset: f64,
    /// Standard deviation of the normal noise of the read-out, in numbers of the file.
    pub read_noise: f64,
}

/// The transform for a detector. Its table is made when it is first asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Anscombe {
    pub detector: Detector,
    #[serde(skip)]
    table: Arc<OnceLock<Vec<Node>>>,
}

/// A point of the curve from photons to what is expected of their transform.
#[derive(Debug, Clone, Copy)]
struct Node {
    photons: f64,
    seen: f64,
    /// `d photons / d seen`.
    slope: f64,
}

/// Photons, with the variance of the read-out, from which on moments say enough.
const LARGE: f64 = 200.0;
/// Points of the curve below that.
const NODES: usize = 1024;
/// Anscombe's constant.
const SHIFT: f64 = 0.375;
/// Standard deviations after which nothing is left of a law.
const TAIL: f64 = 12.0;

impl PartialEq for Anscombe {
    fn eq(&self, other: &Self) -> bool {
        self.detector == other.detector
    }
}

impl Detector {
    pub(super) fn check(&self) -> Result<(), String> {
        let Detector { gain, offset, read_noise } = *self;
        let sound = gain.is_normal() && gain > 0.0 && offset.is_finite() && read_noise >= 0.0;
        // Beyond these, photons would be lost in the rounding of their numbers.
        match sound && read_noise / gain <= 1e6 && (offset / gain).abs() <= 1e12 {
            true => Ok(()),
            false => Err(format!(
                "gain {gain}, offset {offset}, read-out noise {read_noise}: the gain must be above 0, the noise from 0 to a million gains, the offset at most 10^12 gains"
            )),
        }
    }

    /// Variance of the read-out, in photons squared.
    fn variance(&self) -> f64 {
        (self.read_noise / self.gain).powi(2)
    }

    /// The photons that a number stands for, if it has no noise.
    pub fn photons(&self, number: f64) -> f64 {
        (number - self.offset) / self.gain
    }
}

impl Anscombe {
    pub fn new(detector: Detector) -> Self {
        Anscombe { detector, table: Arc::default() }
    }

    /// Equation 1.
    pub fn of_count(&self, count: f64) -> f64 {
        2.0 * (self.detector.photons(count) + SHIFT + self.detector.variance()).max(0.0).sqrt()
    }

    /// Equation 2; of what no mean can be, as of no photons.
    pub fn of_mean(&self, mean: f64) -> f64 {
        let photons = self.detector.photons(mean).max(0.0);
        match self.between(|node| node.photons <= photons) {
            None => expansion(photons, self.detector.variance()),
            Some([a, b]) => {
                let (a, b) = ((a.photons, a.seen, 1.0 / a.slope), (b.photons, b.seen, 1.0 / b.slope));
                hermite(a, b, photons)[0]
            }
        }
    }

    /// Equation 3: the mean, and by how much it grows with what is seen. Below what is expected of no photons it is
    /// the offset.
    pub fn to_mean(&self, seen: f64) -> [f64; 2] {
        let (gain, offset) = (self.detector.gain, self.detector.offset);
        let [photons, slope] = match self.between(|node| node.seen <= seen) {
            Some([a, b]) => hermite((a.seen, a.photons, a.slope), (b.seen, b.photons, b.slope), seen.max(a.seen)),
            None => self.solved(seen),
        };
        [offset + gain * photons.max(0.0), gain * slope]
    }

    /// Equation 3 where moments say enough.
    fn solved(&self, seen: f64) -> [f64; 2] {
        let variance = self.detector.variance();
        let mut photons = (seen * seen / 4.0 - 0.125 - variance).max(0.0);
        let slope = |photons: f64| {
            let centre = photons + SHIFT + variance;
            centre.sqrt() / (1.0 + (SHIFT * (photons + variance) / centre - 0.25) / centre)
        };
        for _ in 0..4 {
            photons = (photons + (seen - expansion(photons, variance)) * slope(photons)).max(0.0);
        }
        [photons, slope(photons)]
    }

    /// The neighbours on the curve between which something lies that is not `below` the second; the first two where it
    /// lies before all, none where it lies behind.
    fn between(&self, below: impl Fn(&Node) -> bool) -> Option<[Node; 2]> {
        let nodes = self.table.get_or_init(|| nodes(self.detector.variance()));
        let next = nodes.partition_point(below).max(1);
        Some([*nodes.get(next - 1)?, *nodes.get(next)?])
    }
}

/// Value and slope at `x` of the cubic with the values and slopes of both ends, `(x, y, slope)`.
fn hermite((x0, y0, m0): (f64, f64, f64), (x1, y1, m1): (f64, f64, f64), x: f64) -> [f64; 2] {
    let (h, t) = (x1 - x0, (x - x0) / (x1 - x0));
    let rise = (y1 - y0) / h;
    let (c, d) = (3.0 * rise - 2.0 * m0 - m1, m0 + m1 - 2.0 * rise);
    [y0 + h * t * (m0 + t * (c + t * d)), m0 + t * (2.0 * c + 3.0 * t * d)]
}

/// The curve up to [`LARGE`], for a read-out of this variance; empty where moments say enough from the start.
fn nodes(variance: f64) -> Vec<Node> {
    if variance >= LARGE {
        return Vec::new();
    }
    let most = (LARGE + TAIL * LARGE.sqrt()) as usize + 30;
    let roots: Vec<f64> = (0..=most + 1).map(|count| expected_root(count as f64, variance)).collect();
    let (low, high) = ((SHIFT + variance).sqrt(), (SHIFT + variance + LARGE).sqrt());
    let node = |i: usize| {
        let root = low + (high - low) * i as f64 / (NODES - 1) as f64;
        let photons = if i == 0 { 0.0 } else { root * root - SHIFT - variance };
        let (mut share, mut seen, mut slope) = ((-photons).exp(), 0.0, 0.0);
        for (count, pair) in roots.windows(2).enumerate() {
            seen += share * pair[0];
            slope += share * (pair[1] - pair[0]);
            share *= photons / (count + 1) as f64;
        }
        Node { photons, seen, slope: 1.0 / slope }
    };
    (0..NODES).map(node).collect()
}

/// `E 2 sqrt(max(0, t))` for `t` normal around `count + 3/8 + variance`.
fn expected_root(count: f64, variance: f64) -> f64 {
    let centre = count + SHIFT + variance;
    if variance < 1e-12 {
        // Too little to change 12 digits of the result, and too narrow a law for those of u.
        return 2.0 * centre.sqrt();
    }
    // In u = sqrt(t) the integrand, 2 u phi(u^2) 2 u, is smooth and even, so that the trapezoidal rule converges
    // faster than any power of its step.
    const STEPS: usize = 512;
    let deviation = variance.sqrt();
    let low = (centre - TAIL * deviation).max(0.0).sqrt();
    let step = ((centre + TAIL * deviation).sqrt() - low) / STEPS as f64;
    let density = |u: f64| (-((u * u - centre) / deviation).powi(2) / 2.0).exp();
    let sum: f64 = (0..=STEPS).map(|i| low + step * i as f64).map(|u| 4.0 * u * u * density(u)).sum();
    sum * step / (deviation * (2.0 * std::f64::consts::PI).sqrt())
}

/// Equation 2 by the moments of `t = z + 3/8 + s^2` around its mean.
fn expansion(photons: f64, variance: f64) -> f64 {
    let centre = photons + SHIFT + variance;
    let (m, v) = (photons / centre, (photons + variance) / centre);
    let second = v / centre;
    let third = m / centre.powi(2);
    let fourth = 3.0 * second * second + m / centre.powi(3);
    let fifth = 10.0 * second * third + m / centre.powi(4);
    let sixth = 15.0 * second.powi(3) + (10.0 * m * m + 15.0 * v * m) / centre.powi(4) + m / centre.powi(5);
    let sum = 1.0 - second / 8.0 + third / 16.0 - 5.0 / 128.0 * fourth + 7.0 / 256.0 * fifth - 21.0 / 1024.0 * sixth;
    2.0 * centre.sqrt() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(read_noise: f64) -> Anscombe {
        Anscombe::new(Detector { gain: 1.0, offset: 0.0, read_noise })
    }

    /// `E[f | m]` by Simpson's rule over the normal law, count by count: another rule than the table's.
    fn integrated(mean: f64, read_noise: f64) -> f64 {
        let root = |t: f64| 2.0 * (t + 0.375 + read_noise * read_noise).max(0.0).sqrt();
        let expected = |count: f64| {
            if read_noise == 0.0 {
                return root(count);
            }
            // From the number of photons at which the root begins, or where nothing is left of the law.
            let start = (-(count + 0.375 + read_noise * read_noise) / read_noise).max(-10.0);
            let n = 20_000;
            let h = (10.0 - start).sqrt() / n as f64;
            let term = |i: usize| {
                let u = h * i as f64;
                let x = start + u * u;
                let weight = if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
                weight * 2.0 * u * (-x * x / 2.0).exp() * root(count + read_noise * x)
            };
            (0..=n).map(term).sum::<f64>() * h / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
        };
        let last = (mean + 12.0 * mean.sqrt()) as usize + 30;
        let (mut log_share, mut sum) = (-mean, 0.0);
        for count in 0..last {
            if log_share > -60.0 {
                sum += log_share.exp() * expected(count as f64);
            }
            log_share += (mean / (count + 1) as f64).ln();
        }
        sum
    }

    #[test]
    fn the_inverse_is_that_of_the_expectation() {
        let cases: [(f64, &[f64]); 4] = [
            (0.0, &[1e-9, 0.05, 0.3, 1.0, 2.7, 10.0, 63.0, 199.0, 201.0, 1000.0]),
            (0.3, &[1e-9, 0.1, 1.0, 7.0, 30.0, 250.0]),
            (2.0, &[1e-9, 0.5, 4.0, 40.0, 210.0]),
            (15.0, &[1e-9, 3.0, 50.0]),
        ];
        for (read_noise, means) in cases {
            let transform = of(read_noise);
            for &mean in means {
                let seen = integrated(mean, read_noise);
                let what = format!("mean {mean}, read-out noise {read_noise}");
                approx::assert_abs_diff_eq!(transform.of_mean(mean), seen, epsilon = 2e-7);
                let [found, slope] = transform.to_mean(seen);
                assert!((found - mean).abs() < 2e-6 * (1.0 + mean.sqrt()), "{what}: {found}");
                let h = 1e-3;
                let difference = (transform.to_mean(seen + h)[0] - found) / h;
                assert!((difference / slope - 1.0).abs() < 3e-3, "{what}: {slope}, by differences {difference}");
            }
        }
    }

    /// The closed forms of Mäkitalo & Foi: of 2011 (equation 10 there), and of 2013, which takes the variance off.
    #[test]
    fn published_approximations_are_near() {
        let published = |d: f64, variance: f64| {
            let root = 1.5f64.sqrt();
            let poisson =
                d * d / 4.0 + root / (4.0 * d) - 11.0 / (8.0 * d * d) + 5.0 / 8.0 * root / d.powi(3) - 1.0 / 8.0;
            poisson - variance
        };
        for mean in [0.0, 0.5, 1.0, 3.0, 10.0, 40.0, 190.0, 500.0] {
            let seen = of(0.0).of_mean(mean);
            assert!((of(0.0).to_mean(seen)[0] - published(seen, 0.0)).abs() < 0.03, "{mean}");
            if mean >= 10.0 {
                let seen = of(1.5).of_mean(mean);
                assert!((of(1.5).to_mean(seen)[0] - published(seen, 2.25)).abs() < 0.05, "{mean}");
            }
        }
        // What the algebraic inverse is off by where there are many photons is the variance of f over 4.
        let seen = of(0.0).of_mean(5000.0);
        approx::assert_abs_diff_eq!(5000.0 - (seen * seen / 4.0 - 0.375), 0.25, epsilon = 1e-3);
    }

    #[test]
    fn gain_and_offset_are_units() {
        let transform = Anscombe::new(Detector { gain: 2.5, offset: 100.0, read_noise: 3.0 });
        let plain = of(1.2);
        for photons in [0.0, 0.4, 20.0, 900.0] {
            let number = 100.0 + 2.5 * photons;
            approx::assert_relative_eq!(transform.of_count(number), plain.of_count(photons), max_relative = 1e-12);
            let seen = transform.of_mean(number);
            approx::assert_relative_eq!(seen, plain.of_mean(photons), max_relative = 1e-12);
            approx::assert_relative_eq!(transform.to_mean(seen)[0], number, max_relative = 1e-6);
        }
        // Fewer photons than none there are not.
        assert_eq!(transform.to_mean(0.0)[0], 100.0);
        assert_eq!(transform.of_mean(90.0), transform.of_mean(100.0));
        assert!(Detector { gain: 0.0, offset: 0.0, read_noise: 1.0 }.check().is_err());
        assert!(Detector { gain: 1.0, offset: 0.0, read_noise: -1.0 }.check().is_err());
    }
}
