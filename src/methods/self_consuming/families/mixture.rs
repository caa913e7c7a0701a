//! Mixtures of Gaussians, fitted by expectation maximisation.

use super::super::{Draw, Family, Law, Part, Plan};
use super::points::{check_dims, moments, theory, trace};
use crate::error::{Error, Result};
use crate::memory;
use crate::random::Sequence;

/// A mixture of spherical Gaussians.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    weights: Vec<f64>,
    /// `[components, dims]`
    means: Vec<f64>,
    /// The variance of a coordinate in each component.
    variances: Vec<f64>,
    dims: usize,
}

impl Mixture {
    /// `components` of them on a circle of radius 1 in the first two of `dims` dimensions (on a line for one
    /// dimension), all alike, with this standard deviation. Errors on sizes below 1 and deviations that are not
    /// positive.
    pub fn circle(components: usize, dims: usize, deviation: f64) -> Result<Self> {
        check_dims(dims)?;
        if !((1..=1 << 16).contains(&components) && (1e-100..=1e100).contains(&deviation)) {
            return Err(Error::Config(format!(
                "a mixture of {components} components of deviation {deviation}; there are 1 to 65536, of 1e-100 to 1e100"
            )));
        }
        // Of the truth, of a model before and after a step, and of the points that densities are measured on.
        let bytes = 32 * (components as u128 * dims as u128) + 8 * HELD_OUT as u128 * dims as u128;
        let what = format!("a mixture of {components} components in {dims} dimensions");
        memory::check(bytes, &what, "lower --components or --dims")?;
        let mut means = vec![0.0; components * dims];
        for (k, mean) in means.chunks_mut(dims).enumerate() {
            let turn = std::f64::consts::TAU * k as f64 / components as f64;
            mean[0] = turn.cos();
            if dims > 1 {
                mean[1] = turn.sin();
            }
        }
        let (weights, variances) = (vec![1.0 / components as f64; components], vec![deviation * deviation; components]);
        Ok(Mixture { weights, means, variances, dims })
    }

    /// The mean over all components.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dims];
        for (weight, component) in self.weights.iter().zip(self.means.chunks(self.dims)) {
            mean.iter_mut().zip(component).for_each(|(sum, m)| *sum += weight * m);
        }
        mean
    }

    /// The trace of the covariance.
    pub fn variance(&self) -> f64 {
        let mean = self.mean();
        let components = self.weights.iter().zip(&self.variances).zip(self.means.chunks(self.dims));
        components.map(|((w, v), m)| w * (self.dims as f64 * v + squared_distance(m, &mean))).sum()
    }

    /// The logarithm of the density at `x`.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        let mut parts = vec![0.0; self.weights.len()];
        self.log_parts(x, &mut parts)
    }

    /// Fills in `ln w_k N(x; m_k, v_k I)` and returns the logarithm of their sum.
    fn log_parts(&self, x: &[f64], parts: &mut [f64]) -> f64 {
        let half = 0.5 * self.dims as f64;
        for (k, part) in parts.iter_mut().enumerate() {
            let v = self.variances[k];
            let distance = squared_distance(x, &self.means[k * self.dims..][..self.dims]);
            *part = self.weights[k].ln() - half * (std::f64::consts::TAU * v).ln() - distance / (2.0 * v);
        }
        let highest = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        highest + parts.iter().map(|p| (p - highest).exp()).sum::<f64>().ln()
    }

    /// `n` points, `[n, dims]`.
    pub fn sample(&self, n: u64, sequence: &mut Sequence) -> Vec<f64> {
        let mut rows = Vec::with_capacity(n as usize * self.dims);
        for _ in 0..n {
            let mut left = sequence.uniform();
            let last = self.weights.iter().rposition(|&w| w > 0.0).unwrap_or(0);
            let k = self.weights.iter().position(|w| {
                left -= w;
                left < 0.0
            });
            let k = k.unwrap_or(last);
            let deviation = self.variances[k].sqrt();
            rows.extend(self.means[k * self.dims..][..self.dims].iter().map(|m| m + deviation * sequence.normal()));
        }
        rows
    }
}

pub(super) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// A mixture as truth, and mixtures with as many spherical components fitted by EM: from the last round's model, in the
/// first round from points of the data. Each step of EM keeps the data's mean and total variance, so the loop obeys
/// [`Law`].
#[derive(Debug, Clone)]
pub struct GaussianMixture {
    truth: Mixture,
    steps: usize,
    held_out: Vec<f64>,
}

/// Points of the truth that densities are measured on.
const HELD_OUT: u64 = 1000;
/// A component that shrinks onto one point stops here, relative to the truth's variance.
const LEAST_VARIANCE: f64 = 1e-9;

impl GaussianMixture {
    /// Fits by `steps` of EM. Errors on none, and on more than a million.
    pub fn new(truth: Mixture, steps: usize, seed: u64) -> Result<Self> {
        if !(1..=1_000_000).contains(&steps) {
            return Err(Error::Config(format!("{steps} steps of EM; a fit takes 1 to 1000000")));
        }
        let held_out = truth.sample(HELD_OUT, &mut Draw::truth(seed).sequence()?);
        Ok(GaussianMixture { truth, steps, held_out })
    }

    /// The law of the mean and the total variance.
    pub fn law(&self) -> Law {
        Law::new(self.truth.variance())
    }

    fn start(&self, parts: &[Part<Vec<f64>>], draw: &Draw) -> Result<Mixture> {
        let dims = self.truth.dims;
        let (_, covariance) = moments(parts, dims);
        let rows = parts.iter().flat_map(|part| part.data.chunks_exact(dims)).collect::<Vec<_>>();
        let mut sequence = draw.sequence()?;
        let k = self.truth.weights.len();
        // Each next centre is likelier the farther it is from those before (k-means++, Arthur & Vassilvitskii 2007).
        let mut means = rows[sequence.below(rows.len() as u64) as usize].to_vec();
        let mut nearest = vec![f64::INFINITY; rows.len()];
        while means.len() < k * dims {
            let last = &means[means.len() - dims..];
            nearest.iter_mut().zip(&rows).for_each(|(d, row)| *d = d.min(squared_distance(row, last)));
            let mut left = sequence.uniform() * nearest.iter().sum::<f64>();
            let pick = nearest.iter().position(|d| {
                left -= d;
                left < 0.0
            });
            means.extend(rows[pick.unwrap_or(rows.len() - 1)]);
        }
        let spread = (trace(&covariance) / dims as f64 / k as f64).max(self.least_variance());
        Ok(Mixture { weights: vec![1.0 / k as f64; k], means, variances: vec![spread; k], dims })
    }

    fn least_variance(&self) -> f64 {
        LEAST_VARIANCE * self.truth.variance() / self.truth.dims as f64
    }

    /// One step of EM.
    fn step(&self, model: &mut Mixture, parts: &[Part<Vec<f64>>]) {
        let (dims, k) = (model.dims, model.weights.len());
        let (mut masses, mut sums, mut squares) = (vec![0.0; k], vec![0.0; k * dims], vec![0.0; k]);
        let mut logs = vec![0.0; k];
        for part in parts {
            for row in part.data.chunks_exact(dims) {
                let total = model.log_parts(row, &mut logs);
                for (j, log) in logs.iter().enumerate() {
                    let share = part.weight * (log - total).exp();
                    let mean = &model.means[j * dims..][..dims];
                    masses[j] += share;
                    squares[j] += share * squared_distance(row, mean);
                    // Relative to the last mean, so that tight clusters far out lose no digits.
                    sums[j * dims..][..dims]
                        .iter_mut()
                        .zip(row.iter().zip(mean))
                        .for_each(|(s, (x, m))| *s += share * (x - m));
                }
            }
        }
        let all: f64 = masses.iter().sum();
        for j in 0..k {
            model.weights[j] = masses[j] / all;
            if masses[j] <= 0.0 {
                continue;
            }
            let moved: Vec<f64> = sums[j * dims..][..dims].iter().map(|s| s / masses[j]).collect();
            let variance = (squares[j] / masses[j] - moved.iter().map(|m| m * m).sum::<f64>()) / dims as f64;
            model.variances[j] = variance.max(self.least_variance());
            model.means[j * dims..][..dims].iter_mut().zip(moved).for_each(|(mean, moved)| *mean += moved);
        }
    }
}

impl Family for GaussianMixture {
    type Data = Vec<f64>;
    type Model = Mixture;

    fn measures(&self) -> Vec<String> {
        ["squared error of the mean", "total variance", "negative log-likelihood of real points"]
            .map(String::from)
            .into()
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        self.synthetic(&self.truth, n, draw)
    }

    fn synthetic(&self, model: &Mixture, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        Ok(model.sample(n, &mut draw.sequence()?))
    }

    fn merge(&self, into: &mut Vec<f64>, more: Vec<f64>) {
        into.extend(more);
    }

    fn fit(&self, parts: &[Part<Vec<f64>>], previous: Option<&Mixture>, draw: &Draw) -> Result<Mixture> {
        let mut model = match previous {
            Some(previous) => previous.clone(),
            None => self.start(parts, draw)?,
        };
        (0..self.steps).for_each(|_| self.step(&mut model, parts));
        Ok(model)
    }

    fn measure(&self, model: &Mixture) -> Result<Vec<f64>> {
        let risk = squared_distance(&model.mean(), &self.truth.mean());
        let dims = self.truth.dims;
        let logs: f64 = self.held_out.chunks_exact(dims).map(|x| model.log_density(x)).sum();
        Ok(vec![risk, model.variance(), -logs / (self.held_out.len() / dims) as f64])
    }

    fn bytes(&self, n: u64) -> u128 {
        // The points twice, for a merge that grows a vector; a model before and after a step of EM.
        16 * u128::from(n) * (self.truth.dims as u128 + 2) + 40 * self.truth.means.len() as u128
    }

    fn least_samples(&self) -> u64 {
        self.truth.weights.len() as u64 + 1
    }

    fn theory(&self, plan: &Plan) -> Result<Vec<Option<Vec<f64>>>> {
        theory(&self.law(), plan, self.least_samples())
    }
}
