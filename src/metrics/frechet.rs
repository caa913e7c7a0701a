//! The Fréchet distance between the Gaussians of two samples (Fréchet 1957; Dowson & Landau 1982; on Inception features: FID, Heusel et al.
//! 2017, arXiv 1706.08500).

use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

use super::{Real, Rows, finite};
use crate::{Error, Result, stop};

/// Columns of a covariance that one task adds up.
const PANEL: usize = 128;
/// Rows of a sample that are centred together.
const ROWS: usize = 1024;
/// Sweeps after which an eigenvalue that has not settled counts as an error.
const SWEEPS: usize = 100_000;

/// The Fréchet distance of `a` (`n` rows) and `b` (`m` rows) of features:
///
/// `|mean_a - mean_b|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2))`, covariances divided by `n - 1` and `m - 1`.
///
/// On features of the Inception network this is the FID; on anything else name the features beside the figure. It is biased upwards by
/// small samples, so only figures with the same `n` and `m` compare. Where a covariance lacks rank (fewer rows than dimensions), about
/// half of the digits are lost. Work is `(n + m) dims^2 + dims^3`.
///
/// Errors on fewer than two rows, rows that are not whole, and values that are not finite.
pub fn frechet_distance<T: Real>(a: &[T], b: &[T], dims: usize) -> Result<f64> {
    const NAME: &str = "frechet_distance";
    let a = Gaussian::of(Rows::check(NAME, "a", a, dims, 2)?);
    let b = Gaussian::of(Rows::check(NAME, "b", b, dims, 2)?);
    let means: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b) * (a - b)).sum();
    let traces = finite(NAME, means + a.covariance.trace() + b.covariance.trace())?;
    let unsettled = || Error::NonFinite {
        what: format!("{NAME}: a root of the covariances"),
        found: "eigenvalues that do not settle; scale the features".into(),
    };
    // (Sa Sb)^(1/2) has the trace of (Ra^T Sb Ra)^(1/2), Ra Ra^T = Sa, which is symmetric.
    // Minutes for thousands of dimensions, which nothing can interrupt.
    let eigen =
        stop::or_leave(|| SymmetricEigen::try_new(a.covariance, f64::EPSILON, SWEEPS))?.ok_or_else(unsettled)?;
    let mut root = eigen.eigenvectors;
    for (mut column, value) in root.column_iter_mut().zip(eigen.eigenvalues.iter()) {
        column *= value.max(0.0).sqrt();
    }
    let product = root.transpose() * (b.covariance * &root);
    let values =
        stop::or_leave(|| SymmetricEigen::try_new(product, f64::EPSILON, SWEEPS))?.ok_or_else(unsettled)?.eigenvalues;
    let root_trace: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    finite(NAME, traces - 2.0 * root_trace)
}

/// The mean and the covariance of a sample.
struct Gaussian {
    mean: Vec<f64>,
    covariance: DMatrix<f64>,
}

impl Gaussian {
    fn of<T: Real>(x: Rows<T>) -> Self {
        let (n, d) = (x.len(), x.dims);
        let mut mean = vec![0.0; d];
        for row in x.values.chunks_exact(d) {
            mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value.into());
        }
        mean.iter_mut().for_each(|sum| *sum /= n as f64);
        let stopped = stop::watch();
        // Each task owns some columns and sees the rows in their order: equal bits for any number of threads.
        let panels: Vec<DMatrix<f64>> = (0..d.div_ceil(PANEL))
            .into_par_iter()
            .map(|panel| {
                let (first, width) = (panel * PANEL, PANEL.min(d - panel * PANEL));
                let mut sums = DMatrix::zeros(d, width);
                for rows in x.values.chunks(ROWS * d).take_while(|_| !stopped()) {
                    let centred = DMatrix::from_iterator(
                        d,
                        rows.len() / d,
                        rows.iter().zip(mean.iter().cycle()).map(|(&value, mean)| value.into() - mean),
                    );
                    sums.gemm(1.0, &centred, &centred.rows(first, width).transpose(), 1.0);
                }
                sums / (n - 1) as f64
            })
            .collect();
        let columns = panels.iter().flat_map(|panel| panel.iter().copied());
        Gaussian { covariance: DMatrix::from_iterator(d, d, columns), mean }
    }
}
