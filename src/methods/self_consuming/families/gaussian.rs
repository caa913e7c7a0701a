//! A Gaussian of any dimension, fitted by mean and covariance.

use faer::Mat;

use super::super::{Draw, Family, Law, Part, Plan};
use super::points::{check_dims, moments, trace};
use crate::error::Result;
use crate::linear_algebra::symmetric_root;

/// The standard normal truth in `dims` dimensions, fitted by maximum likelihood (covariance over n, not n - 1). Where
/// all data are the model's own, its expected variance is `(1 - 1/n)^(t+1)` (Shumailov et al. 2024).
#[derive(Debug, Clone)]
pub struct Gaussian {
    dims: usize,
}

/// A fitted Gaussian.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    mean: Vec<f64>,
    covariance: Mat<f64>,
    root: Mat<f64>,
}

impl Gaussian {
    /// Errors unless there are between 1 and 4096 dimensions.
    pub fn new(dims: usize) -> Result<Self> {
        check_dims(dims)?;
        Ok(Gaussian { dims })
    }

    /// The law of the mean's squared error, and of the variance beside it.
    pub fn law(&self) -> Law {
        Law::new(self.dims as f64)
    }
}

impl Family for Gaussian {
    type Data = Vec<f64>;
    type Model = Normal;

    fn measures(&self) -> Vec<String> {
        ["squared error of the mean", "variance of a coordinate", "squared Wasserstein distance"]
            .map(String::from)
            .into()
    }

    fn real(&self, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        let mut sequence = draw.sequence()?;
        Ok((0..n as usize * self.dims).map(|_| sequence.normal()).collect())
    }

    fn synthetic(&self, model: &Normal, n: u64, draw: &Draw) -> Result<Vec<f64>> {
        let mut sequence = draw.sequence()?;
        let mut rows = Vec::with_capacity(n as usize * self.dims);
        for _ in 0..n {
            let mut row = model.mean.clone();
            for j in 0..self.dims {
                let z = sequence.normal();
                row.iter_mut().zip(model.root.col_as_slice(j)).for_each(|(x, root)| *x += root * z);
            }
            rows.extend(row);
        }
        Ok(rows)
    }

    fn merge(&self, into: &mut Vec<f64>, more: Vec<f64>) {
        into.extend(more);
    }

    fn fit(&self, parts: &[Part<Vec<f64>>], _: Option<&Normal>, _: &Draw) -> Result<Normal> {
        let (mean, covariance) = moments(parts, self.dims);
        Ok(Normal { root: symmetric_root("the root of the fitted covariance", covariance.as_ref())?, mean, covariance })
    }

    fn measure(&self, model: &Normal) -> Result<Vec<f64>> {
        let risk: f64 = model.mean.iter().map(|m| m * m).sum();
        let variance = trace(&model.covariance);
        // Between N(m, S) and N(0, I): |m|^2 + tr(S + I - 2 S^(1/2)) (Dowson & Landau 1982).
        let distance = risk + variance + self.dims as f64 - 2.0 * trace(&model.root);
        Ok(vec![risk, variance / self.dims as f64, distance])
    }

    fn bytes(&self, n: u64) -> u128 {
        // Twice, for a merge that grows a vector.
        16 * u128::from(n) * self.dims as u128 + 32 * (self.dims * self.dims) as u128
    }

    fn theory(&self, plan: &Plan) -> Result<Vec<Option<Vec<f64>>>> {
        let law = self.law();
        let variance = law.spread(plan)?.iter().map(|v| v / self.dims as f64).collect();
        Ok(vec![Some(law.risk(plan)?), Some(variance), None])
    }
}
