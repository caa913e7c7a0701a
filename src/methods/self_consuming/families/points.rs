//! What the families of points share: weighted moments of rows.

use faer::Mat;

use super::super::{Arm, Law, Part, Plan, Widening};
use crate::error::{Error, Result};

/// Weighted mean and (biased) covariance of rows of `dims` numbers.
pub(super) fn moments(parts: &[Part<Vec<f64>>], dims: usize) -> (Vec<f64>, Mat<f64>) {
    let (mut sum, mut total) = (vec![0.0; dims], 0.0);
    for part in parts {
        for row in part.data.chunks_exact(dims) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += part.weight * x);
            total += part.weight;
        }
    }
    let mean: Vec<f64> = sum.iter().map(|sum| sum / total).collect();
    let mut products = Mat::<f64>::zeros(dims, dims);
    let mut centred = vec![0.0; dims];
    for part in parts {
        for row in part.data.chunks_exact(dims) {
            centred.iter_mut().zip(row.iter().zip(&mean)).for_each(|(c, (x, m))| *c = x - m);
            for i in 0..dims {
                for j in 0..=i {
                    products[(i, j)] += part.weight * centred[i] * centred[j];
                }
            }
        }
    }
    let covariance = Mat::from_fn(dims, dims, |i, j| products[(i.max(j), i.min(j))] / total);
    (mean, covariance)
}

/// The sum of the diagonal.
pub(super) fn trace(matrix: &Mat<f64>) -> f64 {
    matrix.diagonal().column_vector().iter().sum()
}

/// Errors unless points have between 1 and 4096 dimensions.
pub(super) fn check_dims(dims: usize) -> Result<()> {
    match (1..=4096).contains(&dims) {
        true => Ok(()),
        false => Err(Error::Config(format!("points of {dims} dimensions; there are 1 to 4096"))),
    }
}

/// Theory of mean, variance and a third measure without one.
///
/// Behind a filter it holds for fits on one sample and more (a family that needs more keeps its model more often), and
/// for kernels whose width does not follow the number of samples that is left.
pub(super) fn theory(law: &Law, plan: &Plan, least: u64) -> Result<Vec<Option<Vec<f64>>>> {
    let filtered = matches!(plan.arm(), Arm::Filter { .. });
    if filtered && (least > 1 || matches!(law.widening, Widening::Scott { .. })) {
        return Ok(vec![None, None, None]);
    }
    Ok(vec![Some(law.risk(plan)?), Some(law.spread(plan)?), None])
}
