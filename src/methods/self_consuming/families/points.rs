//! What the families of points share: weighted moments of rows.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use super::super::Part;
use crate::error::{Error, Result};

/// Weighted mean and (biased) covariance of rows of `dims` numbers.
pub(super) fn moments(parts: &[Part<Vec<f64>>], dims: usize) -> (DVector<f64>, DMatrix<f64>) {
    let (mut sum, mut total) = (DVector::zeros(dims), 0.0);
    for part in parts {
        for row in part.data.chunks_exact(dims) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += part.weight * x);
            total += part.weight;
        }
    }
    let mean = sum / total;
    let mut products = DMatrix::zeros(dims, dims);
    let mut centred = vec![0.0; dims];
    for part in parts {
        for row in part.data.chunks_exact(dims) {
            centred.iter_mut().zip(row.iter().zip(mean.iter())).for_each(|(c, (x, m))| *c = x - m);
            for i in 0..dims {
                for j in 0..=i {
                    products[(i, j)] += part.weight * centred[i] * centred[j];
                }
            }
        }
    }
    for i in 0..dims {
        for j in 0..i {
            products[(j, i)] = products[(i, j)];
        }
    }
    (mean, products / total)
}

/// The symmetric root of a covariance, which may be singular. Errors if its eigenvalues do not settle.
pub(super) fn root(covariance: &DMatrix<f64>) -> Result<DMatrix<f64>> {
    if covariance.nrows() == 1 {
        return Ok(covariance.map(|v| v.max(0.0).sqrt()));
    }
    let eigen = SymmetricEigen::try_new(covariance.clone(), f64::EPSILON, 100_000).ok_or_else(|| Error::NonFinite {
        what: "the root of a covariance".into(),
        found: "eigenvalues that do not settle".into(),
    })?;
    let roots = DMatrix::from_diagonal(&eigen.eigenvalues.map(|v| v.max(0.0).sqrt()));
    Ok(&eigen.eigenvectors * roots * eigen.eigenvectors.transpose())
}

/// Errors unless points have between 1 and 4096 dimensions.
pub(super) fn check_dims(dims: usize) -> Result<()> {
    match (1..=4096).contains(&dims) {
        true => Ok(()),
        false => Err(Error::Config(format!("points of {dims} dimensions; there are 1 to 4096"))),
    }
}
