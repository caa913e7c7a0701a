//! The Fréchet distance between the Gaussians of two samples (Fréchet 1957; Dowson & Landau 1982; on Inception
//! features: FID, Heusel et al. 2017, arXiv 1706.08500).

use faer::Mat;
use rayon::prelude::*;

use super::{Real, Rows, finite};
use crate::figures::significant;
use crate::linear_algebra::{power_of_two, svd, symmetric_eigen};
use crate::{Error, Result, stop};

const NAME: &str = "frechet_distance";
/// Rows that one task factorises, in multiples of their length and at least.
const ROWS: (usize, usize) = (4, 1024);

/// How far below zero an eigenvalue of a covariance may be, and entries from symmetric, beside the largest: what
/// 32-bit numbers make of a covariance, and far below what is none.
const ROUNDING: f64 = 1e-6;

/// The Fréchet distance of `a` (`n` rows) and `b` (`m` rows) of features:
///
/// `|mean_a - mean_b|^2 + tr(Sa) + tr(Sb) - 2 tr((Sa Sb)^(1/2))`, covariances divided by `n - 1` and `m - 1`.
///
/// On features of the Inception network this is the FID; on anything else name the features beside the figure. It is
/// biased upwards by small samples, so only figures with the same `n` and `m` compare; with no more rows than
/// dimensions a covariance lacks rank and the figure says little ([`Gaussian::lacks_rank`]). Work is
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
    Gaussian::of_rows(a)?.frechet_distance(&Gaussian::of_rows(b)?)
}

/// Mean and covariance of features: all that the Fréchet distance asks for, of rows or from where there are no rows any
/// more, as in the reference statistics of public benchmarks.
#[derive(Debug, Clone)]
pub struct Gaussian {
    mean: Mean,
    /// At most `dims` rows; `scale^2 factor^T factor` is the covariance.
    factor: Mat<f64>,
    /// A power of two: it takes no digit and keeps squares in range.
    scale: f64,
    rows: Option<usize>,
}

impl Gaussian {
    /// Of a sample of whole rows. Errors as [`frechet_distance`].
    pub fn of<T: Real>(sample: &[T], dims: usize) -> Result<Self> {
        Self::of_rows(Rows::check(NAME, "sample", sample, dims, 2)?)
    }

    fn of_rows<T: Real>(rows: Rows<T>) -> Result<Self> {
        let mean = Mean::of(rows);
        let scale = power_of_two(finite(NAME, mean.reach(rows))?);
        Ok(Gaussian { factor: factor(rows, &mean, scale), mean, scale, rows: Some(rows.len()) })
    }

    /// From a mean `[dims]` and a covariance `[dims, dims]`, in any order of rows. Work is `dims^3`.
    ///
    /// Errors on extents that do not fit, numbers that are not finite, a covariance that is not symmetric or has an
    /// eigenvalue below zero (either by more than 1e-6 of the largest), and if its decomposition fails its check.
    pub fn new(mean: Vec<f64>, covariance: &[f64]) -> Result<Self> {
        const OP: &str = "covariance";
        let dims = mean.len();
        if dims == 0 || dims.checked_mul(dims) != Some(covariance.len()) {
            let got = format!("{} numbers beside a mean of {dims}", covariance.len());
            return Err(Error::shape(OP, "a square, with as many rows and columns as the mean has numbers", got));
        }
        if let Some(i) = mean.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { what: format!("number {i} of the mean"), found: mean[i].to_string() });
        }
        if let Some(i) = covariance.iter().position(|x| !x.is_finite()) {
            let what = format!("row {}, column {} of the covariance", i / dims, i % dims);
            return Err(Error::NonFinite { what, found: covariance[i].to_string() });
        }
        let largest = covariance.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        let at = |i: usize, j: usize| covariance[i * dims + j];
        for (i, j) in (0..dims).flat_map(|i| (0..i).map(move |j| (i, j))) {
            if (at(i, j) - at(j, i)).abs() > ROUNDING * largest {
                let (below, above) = (at(i, j), at(j, i));
                let what = format!("not symmetric: [{i}, {j}] is {below}, [{j}, {i}] is {above}");
                return Err(Error::argument(OP, what));
            }
        }
        // An even power of two, whose root is one, too.
        let scale = power_of_two(largest.sqrt());
        let even = |i: usize, j: usize| (at(i, j) / 2.0 + at(j, i) / 2.0) / scale / scale;
        let matrix = Mat::from_fn(dims, dims, even);
        // Minutes for thousands of dimensions, which nothing can interrupt.
        let (values, vectors) = stop::or_leave(move || symmetric_eigen(OP, matrix.as_ref()))??;
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        if least < -ROUNDING * most {
            let [least, most] = [least, most].map(|value| significant(value * scale * scale, 6));
            let what = format!(
                "not positive semidefinite: its least eigenvalue is {least}, its largest {most}, so it is no covariance"
            );
            return Err(Error::argument(OP, what));
        }
        // As numpy.linalg.matrix_rank: what rounding leaves of zero.
        let kept: Vec<usize> = (0..dims).filter(|&k| values[k] > dims as f64 * f64::EPSILON * most).collect();
        let factor = Mat::from_fn(kept.len(), dims, |i, j| values[kept[i]].sqrt() * vectors[(j, kept[i])]);
        Ok(Gaussian { mean: Mean { rest: vec![0.0; dims], near: mean }, factor, scale, rows: None })
    }

    /// Numbers in a row of features.
    pub fn dims(&self) -> usize {
        self.mean.near.len()
    }

    /// Rows of the sample, where it was one.
    pub fn rows(&self) -> Option<usize> {
        self.rows
    }

    /// The rank that the covariance has at most: `rows - 1` of a sample, and of a given covariance what is not zero but
    /// for rounding.
    pub fn rank(&self) -> usize {
        self.rows.map_or(self.factor.nrows(), |rows| (rows - 1).min(self.dims()))
    }

    /// Whether the covariance has directions without any variance because there were too few rows. The Fréchet distance
    /// then is one between flat Gaussians, mostly of what was left out of them.
    pub fn lacks_rank(&self) -> bool {
        self.rank() < self.dims()
    }

    /// The [`frechet_distance`] of the two. Errors where dimensions differ, and as that does.
    pub fn frechet_distance(&self, other: &Gaussian) -> Result<f64> {
        if self.dims() != other.dims() {
            let dims = |of: &Gaussian| format!("{} numbers a row", of.dims());
            return Err(Error::shape(NAME, dims(self), dims(other)));
        }
        let means: f64 = self.mean.difference(&other.mean).map(|d| d * d).sum();
        let scale = self.scale.max(other.scale);
        let scaled = |of: &Gaussian| {
            Mat::from_fn(of.factor.nrows(), of.factor.ncols(), |i, j| of.factor[(i, j)] * (of.scale / scale))
        };
        finite(NAME, finite(NAME, means)? + scale * scale * least_squares(&scaled(self), &scaled(other))?)
    }
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
#[derive(Debug, Clone)]
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
