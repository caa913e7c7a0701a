//! Linear regression on labels that the last round's model gave.

use faer::Mat;

use super::super::{Arm, Draw, Family, Part, Plan};
use super::mixture::squared_distance;
use super::points::check_dims;
use crate::error::{Error, Result};
use crate::linear_algebra::solve_positive_definite;

/// `y = x . beta + noise` with x standard normal in `dims` dimensions, fitted by least squares. A synthetic sample has
/// a fresh x, the last model's coefficients, and noise of the true size (Dohmatob et al. 2024; Gerstgrasser et al.
/// 2024, arXiv 2404.01413).
#[derive(Debug, Clone)]
pub struct LinearRegression {
    dims: usize,
    noise: f64,
    beta: Vec<f64>,
}

impl LinearRegression {
    /// True coefficients along the diagonal, of length 1. Errors on sizes below 1 and noise that is not positive.
    pub fn new(dims: usize, noise: f64) -> Result<Self> {
        check_dims(dims)?;
        if !(1e-100..=1e100).contains(&noise) {
            return Err(Error::Config(format!("the noise is {noise}; it must lie between 1e-100 and 1e100")));
        }
        Ok(LinearRegression { dims, noise, beta: vec![1.0 / (dims as f64).sqrt(); dims] })
    }

    /// The expected risk of one fit on `n` real samples, `noise^2 d / (n - d - 1)` (the mean of an inverse Wishart
    /// matrix).
    pub fn first_risk(&self, n: f64) -> f64 {
        self.noise * self.noise * self.dims as f64 / (n - self.dims as f64 - 1.0)
    }

    fn label(&self, beta: &[f64], n: u64, draw: &Draw) -> Result<Vec<f64>> {
        let mut sequence = draw.sequence()?;
        let mut rows = Vec::with_capacity(n as usize * (self.dims + 1));
        for _ in 0..n {
            let at = rows.len();
            rows.extend((0..self.dims).map(|_| sequence.normal()));
            let mean: f64 = rows[at..].iter().zip(beta).map(|(x, b)| x * b).sum();
            rows.push(mean + self.noise * sequence.normal());
        }
        Ok(rows)
    }
}

impl Family for LinearRegression {
    /// Rows of x and y.
    type Data = Vec<f64>;
    type Model = Vec<f64>;

    fn measures(&self) -> Vec<String> {
        vec!["squared error of the coefficients".into()]
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        self.label(&self.beta, n, draw)
    }

    fn synthetic(&self, model: &Vec<f64>, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        self.label(model, n, draw)
    }

    fn merge(&self, into: &mut Vec<f64>, more: Vec<f64>) {
        into.extend(more);
    }

    fn fit(&self, parts: &[Part<Vec<f64>>], _: Option<&Vec<f64>>, _: &Draw) -> Result<Vec<f64>> {
        let d = self.dims;
        let (mut gram, mut moment) = (Mat::<f64>::zeros(d, d), vec![0.0; d]);
        for part in parts {
            for row in part.data.chunks_exact(d + 1) {
                for i in 0..d {
                    moment[i] += part.weight * row[i] * row[d];
                    for j in 0..=i {
                        gram[(i, j)] += part.weight * row[i] * row[j];
                    }
                }
            }
        }
        solve_positive_definite(gram.as_ref(), &moment).ok_or_else(|| {
            Error::Config(format!(
                "the samples do not span {d} dimensions, so the coefficients are not determined; raise --samples"
            ))
        })
    }

    fn measure(&self, model: &Vec<f64>) -> Result<Vec<f64>> {
        Ok(vec![squared_distance(model, &self.beta)])
    }

    fn bytes(&self, n: u64) -> u128 {
        16 * u128::from(n) * (self.dims as u128 + 1) + 16 * (self.dims as u128).pow(2)
    }

    /// With fewer the expected risk is infinite.
    fn least_samples(&self) -> u64 {
        self.dims as u64 + 2
    }

    /// Where each model replaces the last, every round adds the risk of one fit.
    fn theory(&self, plan: &Plan) -> Result<Vec<Option<Vec<f64>>>> {
        let (first, rest) = plan.rounds().split_at(1.min(plan.rounds().len()));
        if plan.arm() != Arm::Mixture || rest.iter().any(|round| round.alpha > 0.0) {
            return Ok(vec![None]);
        }
        let sums = first.iter().chain(rest).scan(0.0, |sum, round| {
            *sum += self.first_risk(round.n as f64);
            Some(*sum)
        });
        Ok(vec![Some(sums.collect())])
    }
}
