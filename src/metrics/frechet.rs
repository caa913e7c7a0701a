//! The Fréchet distance between the Gaussians of two samples (Fréchet 1957; Dowson & Landau 1982; on Inception
//! features: FID, Heusel et al. 2017, arXiv 1706.08500).

use faer::Mat;
use rayon::prelude::*;

use super::{Real, Rows, finite};
use crate::linear_algebra::{power_of_two, svd};
use crate::{Result, stop};

const NAME: &str = "frechet_distance";
/// Rows that one task factorises, in multiples of their length and at least.
const ROWS: (usize, usize) = (4, 1024);

/// The Fréchet distance of `a` (`n` rows) and `b` (`m` rows) of features:
///
/// `|mean_a - mean_b|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2))`, covariances divided by `n - 1` and `m - 1`.
///
/// On features of the Inception network this is the FID; on anything else name the features beside the figure. It is
/// biased upwards by small samples, so only figures with the same `n` and `m` compare. Work is
/// `(n + m) dims^2 + dims^3`, where fewer rows than dimensions count as the dimensions.
///
/// No covariance is formed. With `A` and `B` the centred rows over `sqrt(n - 1)` and `sqrt(m - 1)`, the traces are `min
/// |A - Q B|^2` over orthogonal `Q` (`|.|` is the Frobenius norm; Bhatia, Jain & Lim 2019), which the singular vectors
/// of `A B^T` attain. So it holds for covariances of any rank, is a sum of squares and never negative, and is wrong by
/// about 1e-14 of the variances, whatever the means are.
///
/// Errors on fewer than two rows, rows that are not whole, values that are not finite or too large to square, and if
/// the decomposition of `A B^T` fails its check.
pub fn frechet_distance<T: Real>(a: &[T], b: &[T], dims: usize) -> Result<f64> {
    let (a, b) = (Rows::check(NAME, "a", a, dims, 2)?, Rows::check(NAME, "b", b, dims, 2)?);
    let (mean_a, mean_b) = (Mean::of(a), Mean::of(b));
    let means: f64 = mean_a.difference(&mean_b).map(|d| d * d).sum();
    // One power of two for both samples: it takes no digit and keeps squares in range.
    let scale = power_of_two(finite(NAME, mean_a.reach(a).max(mean_b.reach(b)))?);
    let (a, b) = (factor(a, &mean_a, scale), factor(b, &mean_b, scale));
    finite(NAME, finite(NAME, means)? + scale * scale * least_squares(&a, &b)?)
}

/// `min |a - Q b|^2` over orthogonal Q. The matrices may have different numbers of rows; the shorter one is filled up
/// with zeros.
fn least_squares(a: &Mat<f64>, b: &Mat<f64>) -> Result<f64> {
    let product = a * b.transpose();
    // Minutes for thousands of dimensions, which nothing can interrupt.
    let found = stop::or_leave(move || svd(NAME, product.as_ref()))??;
    // Rows of a along the left vectors are matched with rows of b along the right ones; what neither reaches has no
    // counterpart.
    let (along_a, along_b) = (found.u.transpose() * a, found.v.transpose() * b);
    let beside = (a - &found.u * &along_a).squared_norm_l2() + (b - &found.v * &along_b).squared_norm_l2();
    Ok((along_a - along_b).squared_norm_l2() + beside)
}

/// The mean of a sample, as a sum of two numbers for each column: the second is what rounding took from the first.
struct Mean {
    near: Vec<f64>,
    rest: Vec<f64>,
}

impl Mean {
    fn of<T: Real>(x: Rows<T>) -> Self {
        let mean_from = |from: &[f64]| -> Vec<f64> {
            let mut sums = vec![0.0; x.dims];
            for row in x.values.chunks_exact(x.dims) {
                sums.iter_mut().zip(row).zip(from).for_each(|((sum, &value), from)| *sum += value.into() - from);
            }
            sums.iter().map(|sum| sum / x.len() as f64).collect()
        };
        let near = mean_from(&vec![0.0; x.dims]);
        Mean { rest: mean_from(&near), near }
    }

    fn difference(&self, other: &Mean) -> impl Iterator<Item = f64> {
        let (near, rest) = (self.near.iter().zip(&other.near), self.rest.iter().zip(&other.rest));
        near.zip(rest).map(|((a, b), (c, d))| (a - b) + (c - d))
    }

    fn centred<T: Real>(&self, values: &[T], row: usize, column: usize) -> f64 {
        values[row * self.near.len() + column].into() - self.near[column] - self.rest[column]
    }

    /// The largest distance of a value from its column's mean.
    fn reach<T: Real>(&self, x: Rows<T>) -> f64 {
        let centred = (0..x.len()).flat_map(|row| (0..x.dims).map(move |column| (row, column)));
        centred.map(|(row, column)| self.centred(x.values, row, column).abs()).fold(0.0, f64::max)
    }
}

/// A matrix with at most `dims` rows whose `F^T F` is the sample's covariance over `scale^2`.
///
/// Blocks of rows and their order depend on the shape alone: equal bits for any number of threads.
fn factor<T: Real>(x: Rows<T>, mean: &Mean, scale: f64) -> Mat<f64> {
    let block = (ROWS.0 * x.dims).max(ROWS.1);
    let mut parts: Vec<Mat<f64>> = x
        .values
        .par_chunks(block * x.dims)
        .map(|rows| triangle(Mat::from_fn(rows.len() / x.dims, x.dims, |i, j| mean.centred(rows, i, j) / scale)))
        .collect();
    while parts.len() > 1 {
        parts = parts.par_chunks(ROWS.0).map(|some| triangle(stacked(some))).collect();
    }
    let all = parts.pop().unwrap_or_else(|| Mat::zeros(0, x.dims));
    let degrees = ((x.len() - 1) as f64).sqrt();
    Mat::from_fn(all.nrows(), all.ncols(), |i, j| all[(i, j)] / degrees)
}

/// A matrix with the same `F^T F` and no more rows than columns: R of a QR decomposition.
fn triangle(rows: Mat<f64>) -> Mat<f64> {
    if rows.nrows() > rows.ncols() { rows.qr().thin_R().to_owned() } else { rows }
}

/// One matrix under the other.
fn stacked(parts: &[Mat<f64>]) -> Mat<f64> {
    let (rows, columns) = (parts.iter().map(Mat::nrows).sum(), parts.first().map_or(0, Mat::ncols));
    let mut all = Mat::zeros(rows, columns);
    let mut first = 0;
    for part in parts {
        all.subrows_mut(first, part.nrows()).copy_from(part);
        first += part.nrows();
    }
    all
}
