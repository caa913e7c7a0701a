//! Decompositions of dense matrices in f64, each checked against its matrix before anybody computes with it.
//!
//! `faer` makes them. Iterations of this kind can fail to converge, or return what is no decomposition at all, on
//! matrices that lack rank, so a singular value decomposition that does not give its matrix back is made again by
//! one-sided Jacobi rotations, which are slow and always converge. Work is done by the calling thread: equal inputs
//! give equal bits on any number of threads.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};

use crate::error::{Error, Result};

/// How far a decomposition may be from its matrix, and its vectors from orthonormal, relative to the matrix (Frobenius
/// norms). Rounding alone leaves about 1e-14; a wrong vector is off by 1.
const TOLERANCE: f64 = 1e-11;
/// Sweeps of Jacobi rotations at most; about ten are needed.
const SWEEPS: usize = 60;

/// `u diag(values) v^T`: the singular value decomposition of a matrix without the part that belongs to vanishing
/// singular values.
#[derive(Debug, Clone)]
pub(crate) struct Svd {
    /// `[rows, r]`, orthonormal columns.
    pub u: Mat<f64>,
    /// `r` positive numbers, in no order.
    pub values: Vec<f64>,
    /// `[columns, r]`, orthonormal columns.
    pub v: Mat<f64>,
}

/// The singular value decomposition of `matrix`, right to eleven digits of its norm.
///
/// Errors, in the name of `op`, on numbers that are not finite, and if no decomposition is found that gives the matrix
/// back.
pub(crate) fn svd(op: &'static str, matrix: MatRef<f64>) -> Result<Svd> {
    let largest = matrix.norm_max();
    if !largest.is_finite() || !matrix.is_all_finite() {
        return Err(Error::NonFinite {
            what: format!("{op}: a matrix"),
            found: "numbers too large; scale them down".into(),
        });
    }
    // By a power of two, so that no digit is lost and squares neither overflow nor vanish.
    let scale = power_of_two(largest);
    let scaled = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] / scale);
    let of_faer = || {
        let found = scaled.thin_svd().ok()?;
        let values = found.S().column_vector().iter().copied().collect();
        Some(Svd { u: found.U().to_owned(), values, v: found.V().to_owned() })
    };
    let found = of_faer().map(Svd::trimmed).filter(|svd| svd.gives_back(&scaled));
    let found = found.or_else(|| Some(jacobi(&scaled).trimmed()).filter(|svd| svd.gives_back(&scaled)));
    let Some(mut svd) = found else {
        let what = format!(
            "the singular values of a {} x {} matrix were not found to {TOLERANCE:e} of its norm; \
             look for columns of very different scales, and scale them alike",
            matrix.nrows(),
            matrix.ncols()
        );
        return Err(Error::argument(op, what));
    };
    svd.values.iter_mut().for_each(|value| *value *= scale);
    Ok(svd)
}

/// The eigenvalues of a symmetric matrix, in no order, and its orthonormal eigenvectors as columns, right to eleven
/// digits of its norm.
///
/// Errors as [`svd`].
pub(crate) fn symmetric_eigen(op: &'static str, matrix: MatRef<f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let n = matrix.nrows();
    if matrix.is_all_finite()
        && let Ok(found) = matrix.self_adjoint_eigen(Side::Lower)
    {
        let values: Vec<f64> = found.S().column_vector().iter().copied().collect();
        let found = Svd { u: found.U().to_owned(), values, v: found.U().to_owned() };
        if found.gives_back(&matrix.to_owned()) {
            return Ok((found.values, found.v));
        }
    }
    // So far along the identity that every eigenvalue is a singular value.
    let norm = matrix.norm_l2();
    let shift = if norm > 0.0 { 2.0 * norm } else { 1.0 };
    let shifted = Mat::from_fn(n, n, |i, j| matrix[(i, j)] + if i == j { shift } else { 0.0 });
    let Svd { values, v, .. } = svd(op, shifted.as_ref())?;
    Ok((values.into_iter().map(|value| value - shift).collect(), v))
}

/// The symmetric root of a covariance, which may be singular; what rounding left below zero counts as zero.
///
/// Errors as [`svd`].
pub(crate) fn symmetric_root(op: &'static str, covariance: MatRef<f64>) -> Result<Mat<f64>> {
    let Svd { u, values, v } = svd(op, covariance)?;
    let n = covariance.nrows();
    // Left and right vectors of a negative eigenvalue are opposite.
    let positive = |k: usize| (0..n).map(|i| u[(i, k)] * v[(i, k)]).sum::<f64>() > 0.0;
    let roots: Vec<f64> = values.iter().enumerate().map(|(k, s)| if positive(k) { s.sqrt() } else { 0.0 }).collect();
    let weighted = Mat::from_fn(n, roots.len(), |i, k| v[(i, k)] * roots[k]);
    Ok(&weighted * v.transpose())
}

/// The solution `x` of `matrix x = right` for a positive definite matrix, of which the lower triangle is read; `None`
/// if the matrix is singular in f64.
pub(crate) fn solve_positive_definite(matrix: MatRef<f64>, right: &[f64]) -> Option<Vec<f64>> {
    let factor = matrix.llt(Side::Lower).ok()?;
    // A pivot is what of a column the ones before do not explain. Rounding leaves less than this of one that they
    // explain wholly.
    let rounding = 16.0 * matrix.nrows() as f64 * f64::EPSILON;
    let lower = factor.L();
    if (0..matrix.nrows()).any(|i| lower[(i, i)] * lower[(i, i)] <= rounding * matrix[(i, i)]) {
        return None;
    }
    let mut x = Mat::from_fn(right.len(), 1, |i, _| right[i]);
    factor.solve_in_place(&mut x);
    let x: Vec<f64> = x.col_as_slice(0).to_vec();
    x.iter().all(|x| x.is_finite()).then_some(x)
}

/// The largest power of two up to `value`; 1 for zero and what is too small to have one.
pub(crate) fn power_of_two(value: f64) -> f64 {
    let exponent = f64::from_bits(value.to_bits() & f64::INFINITY.to_bits());
    if exponent > 0.0 { exponent } else { 1.0 }
}

impl Svd {
    /// Without the vectors of singular values that rounding makes out of zero.
    fn trimmed(self) -> Self {
        let largest = self.values.iter().copied().fold(0.0, f64::max);
        let kept: Vec<usize> = (0..self.values.len()).filter(|&k| self.values[k] > f64::EPSILON * largest).collect();
        let columns = |m: &Mat<f64>| Mat::from_fn(m.nrows(), kept.len(), |i, k| m[(i, kept[k])]);
        Svd { u: columns(&self.u), v: columns(&self.v), values: kept.iter().map(|&k| self.values[k]).collect() }
    }

    /// Whether this is a decomposition of `matrix`: NaN anywhere makes it none.
    fn gives_back(&self, matrix: &Mat<f64>) -> bool {
        let weighted = Mat::from_fn(self.u.nrows(), self.values.len(), |i, k| self.u[(i, k)] * self.values[k]);
        let off = (matrix - &weighted * self.v.transpose()).norm_l2();
        let skew = |m: &Mat<f64>| (m.transpose() * m - Mat::<f64>::identity(m.ncols(), m.ncols())).norm_l2();
        off <= TOLERANCE * matrix.norm_l2() && skew(&self.u) <= TOLERANCE && skew(&self.v) <= TOLERANCE
    }
}

/// One-sided Jacobi (Hestenes 1958): columns are turned against each other until all are orthogonal; their lengths are
/// then the singular values.
fn jacobi(matrix: &Mat<f64>) -> Svd {
    if matrix.nrows() < matrix.ncols() {
        let Svd { u, values, v } = jacobi(&matrix.transpose().to_owned());
        return Svd { u: v, values, v: u };
    }
    let n = matrix.ncols();
    let (mut work, mut v) = (matrix.clone(), Mat::<f64>::identity(n, n));
    let orthogonal = f64::EPSILON * matrix.nrows() as f64;
    for _ in 0..SWEEPS {
        let mut turned = false;
        for j in 1..n {
            for i in 0..j {
                let (x, y) = (work.col_as_slice(i), work.col_as_slice(j));
                let (alpha, beta, gamma) = (dot(x, x), dot(y, y), dot(x, y));
                if gamma.abs() <= orthogonal * alpha.sqrt() * beta.sqrt() {
                    continue;
                }
                turned = true;
                let zeta = (beta - alpha) / (2.0 * gamma);
                let tangent = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                for m in [&mut work, &mut v] {
                    turn(m, (i, j), (cosine, cosine * tangent));
                }
            }
        }
        if !turned {
            break;
        }
    }
    let values: Vec<f64> = (0..n).map(|k| dot(work.col_as_slice(k), work.col_as_slice(k)).sqrt()).collect();
    let u = Mat::from_fn(work.nrows(), n, |i, k| if values[k] > 0.0 { work[(i, k)] / values[k] } else { 0.0 });
    Svd { u, values, v }
}

/// Turns columns `i` and `j` by an angle.
fn turn(m: &mut Mat<f64>, (i, j): (usize, usize), (cosine, sine): (f64, f64)) {
    for row in 0..m.nrows() {
        let (x, y) = (m[(row, i)], m[(row, j)]);
        m[(row, i)] = cosine * x - sine * y;
        m[(row, j)] = sine * x + cosine * y;
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [-1, 1) without a pattern.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }
    }

    /// Matrices of every rank, with zero columns, repeated values and scales far apart.
    fn matrices() -> Vec<Mat<f64>> {
        let mut all = vec![
            Mat::zeros(3, 3),
            Mat::identity(7, 7),
            Mat::from_fn(4, 6, |_, _| 1.0),
            Mat::from_fn(1, 1, |_, _| -2.0),
        ];
        for seed in 0..60 {
            let mut draw = noise(seed + 1);
            let (m, n) = (1 + seed as usize * 7 % 41, 1 + seed as usize * 11 % 37);
            let rank = 1 + seed as usize % 9;
            let scale = [1e-150, 1e-6, 1.0, 1e6, 1e150][seed as usize % 5];
            let left = Mat::from_fn(m, rank, |_, _| draw());
            let right = Mat::from_fn(rank, n, |_, j| if j % 3 == 1 { 0.0 } else { draw() });
            let product = &left * &right;
            all.push(Mat::from_fn(m, n, |i, j| scale * product[(i, j)]));
            all.push(Mat::from_fn(n, n, |i, j| if i == j { [1.0, 1.0, 1e-9][i % 3] } else { 0.0 }));
        }
        all
    }

    #[test]
    fn every_matrix_is_given_back_by_both_ways() {
        for (which, matrix) in matrices().iter().enumerate() {
            let found = svd("test", matrix.as_ref()).unwrap();
            let scale = power_of_two(matrix.norm_max());
            let scaled = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] / scale);
            let other = jacobi(&scaled).trimmed();
            assert!(other.gives_back(&scaled), "matrix {which}: {other:?}");
            let sum = |svd: &Svd| svd.values.iter().sum::<f64>();
            assert!((sum(&found) / scale - sum(&other)).abs() <= 1e-12 * sum(&other), "matrix {which}");
        }
    }

    #[test]
    fn what_is_no_decomposition_is_not_taken_for_one() {
        let matrix = Mat::from_fn(5, 4, |i, j| 1.0 / (1.0 + (i + j) as f64));
        let right = svd("test", matrix.as_ref()).unwrap();
        assert!(right.gives_back(&matrix));
        for wrong in [f64::NAN, f64::INFINITY, 1e-6] {
            let (mut value, mut vector) = (right.clone(), right.clone());
            value.values[1] += wrong;
            vector.u[(2, 1)] += wrong;
            assert!(!value.gives_back(&matrix) && !vector.gives_back(&matrix), "{wrong}");
        }
        let error = svd("test", Mat::from_fn(2, 2, |i, _| if i == 0 { f64::NAN } else { 1.0 }).as_ref()).unwrap_err();
        assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    }

    /// The root of `A^T A` squares to it, and one of `diag` is known.
    #[test]
    fn roots_of_singular_covariances() {
        for matrix in matrices() {
            let scale = power_of_two(matrix.norm_max());
            let scaled = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] / scale);
            let covariance = scaled.transpose() * &scaled;
            let root = symmetric_root("test", covariance.as_ref()).unwrap();
            assert!((&root * &root - &covariance).norm_l2() <= 1e-11 * covariance.norm_l2());
        }
        let diagonal = Mat::from_fn(4, 4, |i, j| if i == j { [4.0, 0.0, 9.0, 4.0][i] } else { 0.0 });
        let expected = Mat::from_fn(4, 4, |i, j| if i == j { [2.0, 0.0, 3.0, 2.0][i] } else { 0.0 });
        assert!((symmetric_root("test", diagonal.as_ref()).unwrap() - expected).norm_l2() < 1e-14);
    }

    /// Of `Q diag(values) Q^T` with signs of both kinds, zeros, and values that repeat.
    #[test]
    fn eigenvalues_of_symmetric_matrices() {
        for (which, matrix) in matrices().iter().enumerate().filter(|(_, m)| m.norm_max() > 1e-100) {
            let n = matrix.nrows();
            let scale = power_of_two(matrix.norm_max());
            let symmetric = Mat::from_fn(n, n, |i, j| {
                if j < matrix.ncols() && i < matrix.ncols() { (matrix[(i, j)] + matrix[(j, i)]) / scale } else { 0.0 }
            });
            let (values, vectors) = symmetric_eigen("test", symmetric.as_ref()).unwrap();
            let back =
                Mat::from_fn(n, n, |i, j| (0..n).map(|k| values[k] * vectors[(i, k)] * vectors[(j, k)]).sum::<f64>());
            assert!((back - &symmetric).norm_l2() <= 1e-10 * symmetric.norm_l2(), "matrix {which}");
            let trace: f64 = (0..n).map(|i| symmetric[(i, i)]).sum();
            assert!((values.iter().sum::<f64>() - trace).abs() <= 1e-10 * symmetric.norm_l2(), "matrix {which}");
        }
    }

    #[test]
    fn singular_systems_have_no_solution() {
        // [[4, 2], [2, 3]] x = [8, 8] has x = [1, 2]; the upper triangle is not read.
        let matrix = Mat::from_fn(2, 2, |i, j| [[4.0, f64::NAN], [2.0, 3.0]][i][j]);
        let x = solve_positive_definite(matrix.as_ref(), &[8.0, 8.0]).unwrap();
        assert!((x[0] - 1.0).abs() < 1e-14 && (x[1] - 2.0).abs() < 1e-14, "{x:?}");
        // Gram matrices of rank 2, whose pivots are zero up to rounding.
        for seed in 1..40 {
            let mut draw = noise(seed);
            let rows = Mat::from_fn(2, 5, |_, _| draw());
            let gram = rows.transpose() * &rows;
            assert_eq!(solve_positive_definite(gram.as_ref(), &[1.0; 5]), None);
        }
    }
}
