//! Densities in the plane, most of them with a score in closed form: what a trained or distilled model can be compared
//! with exactly.

use crate::ops::random::Distribution;
use crate::ops::{self, random::Draws};
use crate::random::{Purpose, RandomKey};
use crate::{DType, Device, Error, Result};

/// A mixture of Gaussians, each the same in every direction: `sum_k w_k N(m_k, s_k^2 I)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// `w_k`, summing to 1.
    weights: Vec<f64>,
    /// `m_k`, `[k, dims]`.
    means: Vec<f64>,
    /// `s_k`.
    deviations: Vec<f64>,
    dims: usize,
}

impl Mixture {
    /// Weights (scaled to sum to 1), means `[k, dims]`, and standard deviations.
    ///
    /// Errors unless there is at least one component, the lengths agree, and weights and deviations are positive and
    /// finite.
    pub fn new(weights: &[f64], means: &[f64], deviations: &[f64]) -> Result<Self> {
        let k = weights.len();
        let fits = k > 0 && deviations.len() == k && !means.is_empty() && means.len().is_multiple_of(k);
        let sound = |values: &[f64]| values.iter().all(|v| v.is_finite() && *v > 0.0);
        if !fits || !sound(weights) || !sound(deviations) || !means.iter().all(|m| m.is_finite()) {
            let what = format!(
                "{k} weights, {} means and {} deviations; expected k, k times dims and k of them, weights and deviations positive",
                means.len(),
                deviations.len()
            );
            return Err(Error::argument("Mixture::new", what));
        }
        let sum: f64 = weights.iter().sum();
        let weights = weights.iter().map(|w| w / sum).collect();
        Ok(Mixture { weights, means: means.to_vec(), deviations: deviations.to_vec(), dims: means.len() / k })
    }

    /// `ln w_k N(x; m_k, (s_k^2 + sigma^2) I)` of each component.
    fn log_parts(&self, x: &[f64], sigma: f64) -> Vec<f64> {
        let parts = self.weights.iter().zip(&self.deviations).zip(self.means.chunks(self.dims));
        parts
            .map(|((w, s), m)| {
                let v = s * s + sigma * sigma;
                let distance: f64 = x.iter().zip(m).map(|(x, m)| (x - m).powi(2)).sum();
                w.ln() - 0.5 * self.dims as f64 * (std::f64::consts::TAU * v).ln() - distance / (2.0 * v)
            })
            .collect()
    }

    /// `ln p(x; sigma)`, the log-density behind noise of standard deviation `sigma` (0: of the mixture itself).
    pub fn log_density(&self, x: &[f64], sigma: f64) -> f64 {
        let parts = self.log_parts(x, sigma);
        let highest = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        highest + parts.iter().map(|p| (p - highest).exp()).sum::<f64>().ln()
    }

    /// The gradient of [`log_density`](Self::log_density): `sum_k r_k (m_k - x) / (s_k^2 + sigma^2)`, where `r_k` is
    /// the probability that `x` is of component `k`.
    pub fn score(&self, x: &[f64], sigma: f64) -> Vec<f64> {
        let total = self.log_density(x, sigma);
        let mut score = vec![0.0; self.dims];
        let parts = self.log_parts(x, sigma).into_iter().zip(&self.deviations).zip(self.means.chunks(self.dims));
        for ((part, s), m) in parts {
            let factor = (part - total).exp() / (s * s + sigma * sigma);
            score.iter_mut().zip(x.iter().zip(m)).for_each(|(score, (x, m))| *score += factor * (m - x));
        }
        score
    }

    /// The best denoiser, `E[clean | noisy x] = x + sigma^2 score(x; sigma)` (Tweedie's formula).
    pub fn denoised(&self, x: &[f64], sigma: f64) -> Vec<f64> {
        self.score(x, sigma).iter().zip(x).map(|(score, x)| x + sigma * sigma * score).collect()
    }
}

/// A distribution of points.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Density {
    /// Gaussians, with a closed score at every noise level.
    Mixture(Mixture),
    /// Two interleaved half circles of radius 1, blurred by Gaussian noise of this standard deviation, centred and
    /// halved.
    TwoMoons {
        /// Standard deviation of the noise, before halving.
        noise: f64,
    },
    /// The plane section of the Swiss roll: a spiral from angle 1.5 pi to 4.5 pi, blurred, with radius below about 1.
    SwissRoll {
        /// Standard deviation of the noise, relative to a radius of 1.
        noise: f64,
    },
    /// The dark squares of a 4 by 4 board on `[-1, 1]^2`: 8 squares, uniform.
    Checkerboard,
}

impl Density {
    /// The density of a name: `gaussian`, `mixture` (8 Gaussians on a circle), `two-moons`, `swiss-roll` or
    /// `checkerboard`.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "gaussian" => Density::Mixture(Mixture::new(&[1.0], &[0.0, 0.0], &[0.5])?),
            "mixture" => {
                let turn = |k: usize| std::f64::consts::TAU * k as f64 / 8.0;
                let means: Vec<f64> = (0..8).flat_map(|k| [0.8 * turn(k).cos(), 0.8 * turn(k).sin()]).collect();
                Density::Mixture(Mixture::new(&[1.0; 8], &means, &[0.08; 8])?)
            }
            "two-moons" => Density::TwoMoons { noise: 0.05 },
            "swiss-roll" => Density::SwissRoll { noise: 0.02 },
            "checkerboard" => Density::Checkerboard,
            _ => {
                let known = "gaussian, mixture, two-moons, swiss-roll and checkerboard";
                return Err(Error::Config(format!("`{name}` is no synthetic density; there are {known}")));
            }
        })
    }

    /// The density of a data set that was opened under this name, `synthetic:…`; `None` of all others.
    pub fn of_data(name: &str) -> Option<Self> {
        Self::named(name.strip_prefix("builtin:").unwrap_or(name).strip_prefix("synthetic:")?).ok()
    }

    /// Numbers per point.
    pub fn dims(&self) -> usize {
        match self {
            Density::Mixture(mixture) => mixture.dims,
            _ => 2,
        }
    }

    /// Points `first` and following of the seed, `[count, dims]`; each is the same whatever others it is made with.
    pub fn sample(&self, seed: u64, first: u32, count: usize) -> Result<Vec<f64>> {
        let dims = self.dims();
        let draws = |site| Draws::from_sample(RandomKey::new(seed, Purpose::Synthetic).at_site(site), first);
        let uniform =
            ops::random::random(Distribution::Uniform, [count, 4], DType::F64, &draws(0), &Device::Cpu)?.to_f64()?;
        let normal = ops::normal([count, dims], DType::F64, &draws(1), &Device::Cpu)?.to_f64()?;
        let point = |(u, z): (&[f64], &[f64])| -> Vec<f64> {
            match self {
                Density::Mixture(mixture) => {
                    let mut left = u[0];
                    let last = mixture.weights.len() - 1;
                    let k = mixture.weights.iter().position(|w| {
                        left -= w;
                        left < 0.0
                    });
                    let k = k.unwrap_or(last);
                    let mean = &mixture.means[k * dims..(k + 1) * dims];
                    mean.iter().zip(z).map(|(m, z)| m + mixture.deviations[k] * z).collect()
                }
                Density::TwoMoons { noise } => {
                    let (sin, cos) = (std::f64::consts::PI * u[1]).sin_cos();
                    let [x, y] = if u[0] < 0.5 { [cos, sin] } else { [1.0 - cos, 0.5 - sin] };
                    vec![0.5 * (x - 0.5 + noise * z[0]), 0.5 * (y - 0.25 + noise * z[1])]
                }
                Density::SwissRoll { noise } => {
                    let angle = 1.5 * std::f64::consts::PI * (1.0 + 2.0 * u[0]);
                    let radius = angle / (4.5 * std::f64::consts::PI);
                    vec![radius * angle.cos() + noise * z[0], radius * angle.sin() + noise * z[1]]
                }
                Density::Checkerboard => {
                    let square = (u[0] * 8.0) as usize;
                    let (row, column) = (square / 2, 2 * (square % 2) + square / 2 % 2);
                    vec![-1.0 + 0.5 * (column as f64 + u[1]), -1.0 + 0.5 * (row as f64 + u[2])]
                }
            }
        };
        Ok(uniform.chunks(4).zip(normal.chunks(dims.max(1))).flat_map(point).collect())
    }

    /// The density at a point: in closed form, or for moons and roll by the midpoint rule along their curve, to more
    /// digits than are ever drawn.
    pub fn density(&self, x: &[f64]) -> f64 {
        use std::f64::consts::PI;
        // The mean over the curve of Gaussians around it.
        let along = |nodes: usize, deviation: f64, curve: &dyn Fn(f64) -> [f64; 2]| {
            let at = |k: usize| {
                let [a, b] = curve((k as f64 + 0.5) / nodes as f64);
                (-((x[0] - a).powi(2) + (x[1] - b).powi(2)) / (2.0 * deviation * deviation)).exp()
            };
            (0..nodes).map(at).sum::<f64>() / nodes as f64 / (2.0 * PI * deviation * deviation)
        };
        match self {
            Density::Mixture(mixture) => mixture.log_density(x, 0.0).exp(),
            Density::TwoMoons { noise } => {
                let upper = |t: f64| [0.5 * ((PI * t).cos() - 0.5), 0.5 * ((PI * t).sin() - 0.25)];
                let lower = |t: f64| [0.5 * (0.5 - (PI * t).cos()), 0.5 * (0.25 - (PI * t).sin())];
                0.5 * (along(200, 0.5 * noise, &upper) + along(200, 0.5 * noise, &lower))
            }
            Density::SwissRoll { noise } => along(800, *noise, &|t| {
                let angle = 1.5 * PI * (1.0 + 2.0 * t);
                let radius = angle / (4.5 * PI);
                [radius * angle.cos(), radius * angle.sin()]
            }),
            Density::Checkerboard => {
                let cell = |v: f64| ((v + 1.0) / 0.5).floor();
                let inside = x.iter().all(|v| (-1.0..1.0).contains(v));
                let dark = (cell(x[0]) + cell(x[1])) % 2.0 == 0.0;
                if inside && dark { 0.5 } else { 0.0 }
            }
        }
    }

    /// The score behind noise of standard deviation `sigma`, where it has a closed form: of mixtures, and of the
    /// checkerboard for `sigma > 0` (each square blurred is a product of differences of Gaussian integrals).
    pub fn score(&self, x: &[f64], sigma: f64) -> Option<Vec<f64>> {
        match self {
            Density::Mixture(mixture) => Some(mixture.score(x, sigma)),
            Density::Checkerboard if sigma > 0.0 && x.len() == 2 => {
                // Along one axis, the density of cell i blurred, and its derivative.
                let cell = |x: f64, i: usize| {
                    let (a, b) = ((-1.0 + 0.5 * i as f64 - x) / sigma, (-0.5 + 0.5 * i as f64 - x) / sigma);
                    let bell = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
                    (between(a, b), (bell(a) - bell(b)) / sigma)
                };
                let cells: [Vec<(f64, f64)>; 2] = [0, 1].map(|axis| (0..4).map(|i| cell(x[axis], i)).collect());
                let (mut p, mut dx, mut dy) = (0.0, 0.0, 0.0);
                for (row, y) in cells[1].iter().enumerate() {
                    for half in 0..2 {
                        let x = cells[0][2 * half + row % 2];
                        p += x.0 * y.0;
                        dx += x.1 * y.0;
                        dy += x.0 * y.1;
                    }
                }
                Some(vec![dx / p, dy / p])
            }
            _ => None,
        }
    }
}

/// The probability that a standard normal number lies between `a` and `b`, precise in both tails.
fn between(a: f64, b: f64) -> f64 {
    let above = |t: f64| 0.5 * libm::erfc(t * std::f64::consts::FRAC_1_SQRT_2);
    if a > 0.0 { above(a) - above(b) } else { above(-b) - above(-a) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 5] = ["gaussian", "mixture", "two-moons", "swiss-roll", "checkerboard"];

    #[test]
    fn a_point_depends_on_its_index_alone() {
        for name in ALL {
            let density = Density::named(name).unwrap();
            let all = density.sample(7, 0, 100).unwrap();
            assert_eq!(density.sample(7, 40, 10).unwrap(), all[80..100], "{name}");
            assert_ne!(density.sample(8, 40, 10).unwrap(), all[80..100], "{name}");
            assert!(all.iter().all(|x| x.abs() < 2.5), "{name}");
        }
        assert!(Density::named("moons").unwrap_err().to_string().contains("two-moons"));
    }

    /// The score is the derivative of a density that the points are drawn from: checked by Stein's identity,
    /// `E[score(x) . x] = -dims` over noisy points.
    #[test]
    fn scores_fit_their_samples() {
        for name in ["gaussian", "mixture", "checkerboard"] {
            let density = Density::named(name).unwrap();
            let points = density.sample(1, 0, 100_000).unwrap();
            let draws = Draws::new(RandomKey::new(1, Purpose::Custom));
            let noise = ops::normal([100_000, 2], DType::F64, &draws, &Device::Cpu).unwrap().to_f64().unwrap();
            let sigma = 0.3;
            let mut mean = 0.0;
            for (x, n) in points.chunks(2).zip(noise.chunks(2)) {
                let noisy = [x[0] + sigma * n[0], x[1] + sigma * n[1]];
                let score = density.score(&noisy, sigma).unwrap();
                mean += (score[0] * noisy[0] + score[1] * noisy[1]) / 1e5;
            }
            assert!((mean + 2.0).abs() < 0.05, "{name}: {mean}");
        }
    }

    /// It integrates to 1 over a grid, and its mean over points is its square's integral, which a density that is
    /// elsewhere than the points would miss.
    #[test]
    fn densities_are_those_of_their_samples() {
        const SIDE: usize = 200;
        for name in ALL {
            let density = Density::named(name).unwrap();
            let step = 5.0 / SIDE as f64;
            let at = |i: usize| -2.5 + (i as f64 + 0.5) * step;
            let values: Vec<f64> = (0..SIDE * SIDE).map(|i| density.density(&[at(i % SIDE), at(i / SIDE)])).collect();
            let total = values.iter().sum::<f64>() * step * step;
            let square = values.iter().map(|p| p * p).sum::<f64>() * step * step;
            assert!((total - 1.0).abs() < 2e-3, "{name}: {total}");
            let points = density.sample(5, 0, 5_000).unwrap();
            let found: Vec<f64> = points.chunks(2).map(|x| density.density(x)).collect();
            let mean = found.iter().sum::<f64>() / 5e3;
            let error = (found.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / 25e6).sqrt();
            assert!((mean - square).abs() < 4.0 * error + 2e-3 * square, "{name}: {mean} and {square}");
        }
    }

    #[test]
    fn the_score_of_a_mixture_is_the_slope_of_its_log_density() {
        let mixture = Mixture::new(&[1.0, 3.0], &[0.5, -0.2, -1.0, 0.3], &[0.2, 0.5]).unwrap();
        for (x, sigma) in [([0.1, 0.2], 0.0), ([-2.0, 1.0], 0.7), ([40.0, -3.0], 5.0)] {
            let score = mixture.score(&x, sigma);
            for axis in 0..2 {
                let shifted = |by: f64| {
                    let mut x = x;
                    x[axis] += by;
                    mixture.log_density(&x, sigma)
                };
                let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                approx::assert_relative_eq!(score[axis], slope, max_relative = 1e-6, epsilon = 1e-6);
            }
        }
        let one = Mixture::new(&[2.0], &[1.0], &[3.0]).unwrap();
        approx::assert_relative_eq!(one.denoised(&[6.0], 4.0)[0], 6.0 - 16.0 * 5.0 / 25.0, epsilon = 1e-12);
        assert!(Mixture::new(&[1.0, -1.0], &[0.0, 1.0], &[1.0, 1.0]).is_err() && Mixture::new(&[], &[], &[]).is_err());
    }

    #[test]
    fn the_checkerboard_has_its_points_on_dark_squares() {
        for p in Density::Checkerboard.sample(3, 0, 1000).unwrap().chunks(2) {
            let cell = |v: f64| ((v + 1.0) / 0.5) as usize;
            assert_eq!((cell(p[0]) + cell(p[1])) % 2, 0, "{p:?}");
        }
    }
}
