//! Distances between samples, and scores of classifiers and taggers. Everything is computed in f64, in an order that
//! does not depend on the number of threads.
//!
//! Samples are flat slices of `n` rows of `dims` values (pixels, features, points), `f32` or `f64`.

mod classification;
mod frechet;
mod inception_score;
mod kid;
mod mmd;
mod neighbours;
mod ranking;
mod wasserstein;

pub use classification::{Classification, Confusion, classification};
pub use frechet::{Gaussian, frechet_distance};
pub use inception_score::{InceptionScore, inception_score};
pub use kid::{Subsets, kid, kid_subsets, kid_with_error};
pub use mmd::{Kernel, median_distance, mmd2};
pub use neighbours::{DensityCoverage, PrecisionRecall, density_coverage, expected_coverage, precision_recall};
pub use ranking::{AtCutoff, MultilabelF1, Ranking, multilabel_f1, ranking};
pub use wasserstein::{sliced_wasserstein, sliced_wasserstein_along, wasserstein_1d};

use crate::{Error, Result, stop};

/// A scalar that metrics take: `f32` or `f64`.
pub trait Real: Copy + Into<f64> + Send + Sync {}
impl Real for f32 {}
impl Real for f64 {}

/// Rows of one sample, checked once: at least `least` of them, whole, finite.
#[derive(Clone, Copy)]
struct Rows<'a, T> {
    values: &'a [T],
    dims: usize,
}

impl<'a, T: Real> Rows<'a, T> {
    fn check(metric: &'static str, name: &str, values: &'a [T], dims: usize, least: usize) -> Result<Self> {
        if dims == 0 || !values.len().is_multiple_of(dims) {
            let got = format!("{name} with {} values", values.len());
            return Err(Error::shape(metric, format!("whole rows of {dims} values"), got));
        }
        if values.len() / dims < least {
            let got = format!("{name} with {}", values.len() / dims);
            return Err(Error::shape(metric, format!("at least {least} rows"), got));
        }
        if let Some(i) = values.iter().position(|&v| !v.into().is_finite()) {
            let what = format!("{metric}: {name}, row {}, column {}", i / dims, i % dims);
            return Err(Error::NonFinite { what, found: values[i].into().to_string() });
        }
        Ok(Rows { values, dims })
    }

    fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    fn row(&self, i: usize) -> &'a [T] {
        &self.values[i * self.dims..(i + 1) * self.dims]
    }
}

/// A result that overflowed is an error, not a distance; nor is one that was left half-way because the calling thread
/// is to [stop](crate::stop).
fn finite(metric: &'static str, value: f64) -> Result<f64> {
    stop::check()?;
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::NonFinite { what: format!("{metric}: the result"), found: format!("{value}; scale the samples down") })
}

fn squared_distance<T: Real>(x: &[T], y: &[T]) -> f64 {
    fold(x, y, |x, y| (x - y) * (x - y))
}

/// The sum of `term` over pairs of elements: eight running sums, so that the compiler may use vectors without
/// reordering anything.
fn fold<T: Real>(x: &[T], y: &[T], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(&x, &y)| term(x.into(), y.into())).sum();
    for (x, y) in xs.zip(ys) {
        for lane in 0..8 {
            sums[lane] += term(x[lane].into(), y[lane].into());
        }
    }
    sums.iter().sum::<f64>() + rest
}
