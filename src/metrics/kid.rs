//! The kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401): a maximum mean discrepancy with a cubic
//! kernel, over all rows at once or over random subsets of them.

use faer::MatRef;
use rayon::prelude::*;

use super::mmd::{Kernel, mmd2};
use super::{Real, Rows, finite};
use crate::random::{Purpose, RandomKey, permutation};
use crate::{Error, Result, stop};

const NAME: &str = "kid_subsets";
/// Rows whose inner products with all others are in memory at a time.
const TILE: usize = 256;
/// The sites of the random numbers that choose rows of either set.
const SITES: [u32; 2] = [1, 2];

/// Kernel inception distance on any features: `mmd2` with the cubic kernel `(x.y / dims + 1)^3`, over the full sets.
///
/// No subsets and no factor of 1,000. On raw pixels say "KID on pixels": the usual figures are on Inception features.
pub fn kid<T: Real>(a: &[T], b: &[T], dims: usize) -> Result<f64> {
    mmd2(a, b, dims, &[Kernel::kid(dims)])
}

/// [`kid`] over the full sets with its standard error, from the same products of rows.
///
/// The error is that of a mean over rows: with `h(a_i)` the mean kernel of `a_i` with the other rows of its set less
/// that with the other set, and `g(b_j)` likewise, it is the root of `4 (var h / n + var g / m)` (Hoeffding 1948; for
/// two samples of one size Gretton et al. 2012, section 5). It is too large where the sets hardly differ, as the
/// variance then falls with the square of the rows.
///
/// Errors as [`kid`].
pub fn kid_with_error<T: Real>(a: &[T], b: &[T], dims: usize) -> Result<(f64, f64)> {
    const NAME: &str = "kid";
    let (a, b) = (Rows::check(NAME, "a", a, dims, 2)?, Rows::check(NAME, "b", b, dims, 2)?);
    let [x, y] = [a, b].map(|rows| rows.values.iter().map(|&x| x.into()).collect::<Vec<f64>>());
    let means = |x: &[f64], y: &[f64], within: bool| -> Vec<f64> {
        let others = (y.len() / dims - usize::from(within)) as f64;
        row_sums(x, y, dims, within).into_iter().map(|sum| sum / others).collect()
    };
    let (of_a, of_b) = (means(&x, &x, true), means(&y, &y, true));
    let (a_to_b, b_to_a) = (means(&x, &y, false), means(&y, &x, false));
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let spread = |own: &[f64], other: &[f64]| {
        let h: Vec<f64> = own.iter().zip(other).map(|(own, other)| own - other).collect();
        let n = h.len() as f64;
        let middle = mean(&h);
        h.iter().map(|h| (h - middle).powi(2)).sum::<f64>() / (n - 1.0) / n
    };
    let kid = finite(NAME, mean(&of_a) + mean(&of_b) - 2.0 * mean(&a_to_b))?;
    let variance = 4.0 * (spread(&of_a, &a_to_b) + spread(&of_b, &b_to_a));
    Ok((kid, finite(NAME, variance)?.sqrt()))
}

/// The mean of an estimate over random subsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subsets {
    /// Mean over the subsets; unbiased.
    pub mean: f64,
    /// Standard deviation over the subsets, which other programs print after a plus-minus sign. `None` for a single
    /// subset.
    pub std: Option<f64>,
    /// Standard error of `mean`; `None` for a single subset, and where a subset is all rows of a set.
    pub error: Option<f64>,
    /// How many subsets there were.
    pub subsets: usize,
    /// Rows of either set in one.
    pub size: usize,
}

/// KID as the mean over `subsets` random subsets of `size` rows of either set, drawn from all of them without
/// replacement inside a subset, by `seed`: the estimate that published figures are (100 subsets of 1,000).
///
/// Subsets share rows, so the deviation `s` over them, divided by the root of their number, is too small an error:
/// however many there are, the mean is no surer than all `n` rows of the smaller set can make it. With the variance of
/// a subset's value as `c / size` over draws of new data, it is `s^2 = c (1 / size - 1 / n)` over subsets of the same
/// data, and the error is the root of `c / n + s^2 / subsets = s^2 (size / (n - size) + 1 / subsets)`. It is too large
/// where the sets hardly differ (the variance then falls with the square of the rows) or the other set is much larger.
///
/// Work is `subsets size^2 dims`. Errors as [`kid`], on a `size` below 2 or beyond the rows of a set, and on no subset.
pub fn kid_subsets<T: Real>(
    a: &[T],
    b: &[T],
    dims: usize,
    (subsets, size): (usize, usize),
    seed: u64,
) -> Result<Subsets> {
    let (a, b) = (Rows::check(NAME, "a", a, dims, 2)?, Rows::check(NAME, "b", b, dims, 2)?);
    let n = a.len().min(b.len());
    if !(2..=n).contains(&size) || subsets == 0 {
        let what = format!("{subsets} subsets of {size} rows; at least 1 of 2 to {n} rows, as the smaller set has");
        return Err(Error::argument(NAME, what));
    }
    let stopped = stop::watch();
    let subset = |index: usize| -> Result<f64> {
        if stopped() {
            return Ok(f64::NAN);
        }
        let draw = |rows: Rows<T>, site: u32| -> Result<Vec<f64>> {
            let length = u32::try_from(rows.len())
                .map_err(|_| Error::argument(NAME, format!("{} rows; at most 2^32 - 1", rows.len())))?;
            let step = u32::try_from(index).map_err(|_| Error::argument(NAME, "at most 2^32 - 1 subsets"))?;
            let order =
                permutation(&RandomKey { site, step, ..RandomKey::new(seed, Purpose::Metrics) }.stream()?, length);
            Ok(order.iter().take(size).flat_map(|&i| rows.row(i as usize)).map(|&x| x.into()).collect())
        };
        let (x, y) = (draw(a, SITES[0])?, draw(b, SITES[1])?);
        let pairs = size as f64 * (size - 1) as f64;
        let across = kernel_sum(&x, &y, dims, false) / (size as f64 * size as f64);
        Ok((kernel_sum(&x, &x, dims, true) + kernel_sum(&y, &y, dims, true)) / pairs - 2.0 * across)
    };
    let each = (0..subsets).into_par_iter().map(subset).collect::<Result<Vec<f64>>>()?;
    stop::check()?;
    let mean = finite(NAME, each.iter().sum::<f64>() / subsets as f64)?;
    let squares: f64 = each.iter().map(|k| (k - mean).powi(2)).sum();
    let variance = (subsets > 1).then(|| squares / (subsets - 1) as f64);
    let error =
        variance.filter(|_| size < n).map(|v| (v * (size as f64 / (n - size) as f64 + 1.0 / subsets as f64)).sqrt());
    Ok(Subsets { mean, std: variance.map(f64::sqrt), error, subsets, size })
}

/// The sum of the cubic kernel over all pairs of rows; within one set without those of a row and itself.
fn kernel_sum(x: &[f64], y: &[f64], dims: usize, within: bool) -> f64 {
    x.chunks(TILE * dims).enumerate().flat_map(|(tile, rows)| tile_sums(tile, rows, y, dims, within)).sum()
}

/// For each row of `x` the sum of the kernel over the rows of `y`. The tasks' results do not depend on their number.
fn row_sums(x: &[f64], y: &[f64], dims: usize, within: bool) -> Vec<f64> {
    let stopped = stop::watch();
    let tile = |(tile, rows)| if stopped() { Vec::new() } else { tile_sums(tile, rows, y, dims, within) };
    x.par_chunks(TILE * dims).enumerate().map(tile).collect::<Vec<_>>().concat()
}

/// As [`row_sums`], of the rows of one tile of `x`.
fn tile_sums(tile: usize, rows: &[f64], y: &[f64], dims: usize, within: bool) -> Vec<f64> {
    let rows = MatRef::from_row_major_slice(rows, rows.len() / dims, dims);
    let inner = MatRef::from_row_major_slice(y, y.len() / dims, dims) * rows.transpose();
    let kernel = |inner: f64| (inner / dims as f64 + 1.0).powi(3);
    let sum = |(j, column): (usize, faer::ColRef<f64>)| {
        let itself = within.then_some(tile * TILE + j);
        column.iter().enumerate().filter(|(i, _)| Some(*i) != itself).map(|(_, &inner)| kernel(inner)).sum()
    };
    inner.col_iter().enumerate().map(sum).collect()
}
