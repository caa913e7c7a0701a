//! Kernel density estimates: the data themselves, blurred.

use super::super::law::scott;
use super::super::{Draw, Family, Law, Part, Plan, Widening};
use super::mixture::{Mixture, squared_distance};
use super::points::{moments, theory, trace};
use crate::error::{Error, Result};
use crate::random::Alias;

/// How wide the Gaussian kernel is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bandwidth {
    /// This standard deviation in every coordinate, whatever the data.
    Fixed(f64),
    /// `n^(-1 / (d + 4))` times the root of the data's mean variance over coordinates (Scott 1992).
    Scott,
}

/// A mixture as truth, and kernel density estimates of it. Each round blurs once more, so where real data are scarce
/// the variance grows: by `d h^2` a round for a fixed bandwidth h.
#[derive(Debug, Clone)]
pub struct KernelDensity {
    truth: Mixture,
    dims: usize,
    bandwidth: Bandwidth,
    held_out: Vec<f64>,
}

/// An estimate: weighted points and the kernel's standard deviation.
#[derive(Debug, Clone)]
pub struct Blurred {
    points: Vec<f64>,
    weights: Vec<f64>,
    alias: Alias,
    /// Standard deviation of the kernel in every coordinate.
    pub deviation: f64,
}

const HELD_OUT: u64 = 200;

impl KernelDensity {
    /// Errors on a fixed bandwidth that is negative, above 1e100, or no number.
    pub fn new(truth: Mixture, bandwidth: Bandwidth, seed: u64) -> Result<Self> {
        if let Bandwidth::Fixed(h) = bandwidth
            && !(0.0..=1e100).contains(&h)
        {
            return Err(Error::Config(format!("the bandwidth is {h}; it must be a number from 0 to 1e100")));
        }
        let held_out = truth.sample(HELD_OUT, &mut Draw::truth(seed).sequence()?);
        let dims = truth.mean().len();
        Ok(KernelDensity { truth, dims, bandwidth, held_out })
    }

    /// The law of the mean and the variance.
    pub fn law(&self) -> Law {
        let widening = match self.bandwidth {
            Bandwidth::Fixed(h) => Widening::Fixed(self.dims as f64 * h * h),
            Bandwidth::Scott => Widening::Scott { dims: self.dims },
        };
        Law { variance: self.truth.variance(), widening }
    }
}

impl Family for KernelDensity {
    type Data = Vec<f64>;
    type Model = Blurred;

    fn measures(&self) -> Vec<String> {
        ["squared error of the mean", "variance of the data", "negative log-likelihood of real points"]
            .map(String::from)
            .into()
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        Ok(self.truth.sample(n, &mut draw.sequence()?))
    }

    fn synthetic(&self, model: &Blurred, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        let mut sequence = draw.sequence()?;
        let mut rows = Vec::with_capacity(n as usize * self.dims);
        for _ in 0..n {
            let at = model.alias.draw(&mut sequence) * self.dims;
            rows.extend(model.points[at..at + self.dims].iter().map(|x| x + model.deviation * sequence.normal()));
        }
        Ok(rows)
    }

    fn merge(&self, into: &mut Vec<f64>, more: Vec<f64>) {
        into.extend(more);
    }

    fn fit(&self, parts: &[Part<Vec<f64>>], _: Option<&Blurred>, _: &Draw) -> Result<Blurred> {
        let points = parts.iter().flat_map(|part| part.data.iter().copied()).collect::<Vec<_>>();
        let weights: Vec<f64> =
            parts.iter().flat_map(|part| std::iter::repeat_n(part.weight, part.data.len() / self.dims)).collect();
        let deviation = match self.bandwidth {
            Bandwidth::Fixed(h) => h,
            Bandwidth::Scott => {
                let (_, covariance) = moments(parts, self.dims);
                (scott(weights.len() as f64, self.dims) * trace(&covariance) / self.dims as f64).sqrt()
            }
        };
        Ok(Blurred { alias: Alias::new(&weights)?, points, weights, deviation })
    }

    fn measure(&self, model: &Blurred) -> Result<Vec<f64>> {
        // One part of the points with all their weights: equal ones but for known provenance.
        let total: f64 = model.weights.iter().sum();
        let mut mean = vec![0.0; self.dims];
        for (row, weight) in model.points.chunks_exact(self.dims).zip(&model.weights) {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight / total * x);
        }
        let rows = model.points.chunks_exact(self.dims).zip(&model.weights);
        let variance: f64 = rows.map(|(row, weight)| weight / total * squared_distance(row, &mean)).sum();
        // Points without a kernel have no density; a thousandth of the truth's deviation stands in.
        let least = 1e-3 * (self.truth.variance() / self.dims as f64).sqrt();
        let v = model.deviation.max(least).powi(2);
        let norm = 0.5 * self.dims as f64 * (std::f64::consts::TAU * v).ln() + total.ln();
        let mut logs = 0.0;
        for x in self.held_out.chunks_exact(self.dims) {
            let rows = model.points.chunks_exact(self.dims).zip(&model.weights);
            let terms: Vec<f64> =
                rows.map(|(row, weight)| weight.ln() - squared_distance(x, row) / (2.0 * v)).collect();
            let highest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            logs += highest + terms.iter().map(|t| (t - highest).exp()).sum::<f64>().ln() - norm;
        }
        let likelihood = -logs / (self.held_out.len() / self.dims) as f64;
        Ok(vec![squared_distance(&mean, &self.truth.mean()), variance, likelihood])
    }

    fn bytes(&self, n: u64) -> u128 {
        u128::from(n) * (24 * self.dims as u128 + 40)
    }

    fn theory(&self, plan: &Plan) -> Result<Vec<Option<Vec<f64>>>> {
        theory(&self.law(), plan, self.least_samples())
    }
}
