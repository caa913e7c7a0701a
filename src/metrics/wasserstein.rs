//! Wasserstein distances in one dimension, and their mean over directions (Rabin et al. 2011; Bonneel et al. 2015).

use rayon::prelude::*;

use super::{Real, Rows, finite};
use crate::random::{self, Purpose, RandomKey, Samples};
use crate::{Error, Result, stop};

/// A gigabyte of directions: far more than anyone needs.
const MAX_DIRECTION_VALUES: usize = 1 << 27;

/// The `p`-Wasserstein distance of two samples on the line, exactly, also for different sizes:
///
/// `(integral_0^1 |Fa^-1(u) - Fb^-1(u)|^p du)^(1/p)`.
///
/// Errors on empty samples, values that are not finite, and `p < 1`.
pub fn wasserstein_1d<T: Real>(a: &[T], b: &[T], p: f64) -> Result<f64> {
    check_order("wasserstein_1d", p)?;
    let in_order = |name, values: &[T]| -> Result<Vec<f64>> {
        let rows = Rows::check("wasserstein_1d", name, values, 1, 1)?;
        Ok(sorted(rows.values.iter().map(|&v| v.into()).collect()))
    };
    finite("wasserstein_1d", transport(&in_order("a", a)?, &in_order("b", b)?, p).powf(1.0 / p))
}

/// The sliced Wasserstein distance along given directions, `[l, dims]`, used as they are:
///
/// `(1/l sum_l W_p^p(a.theta_l, b.theta_l))^(1/p)`; the mean is inside the root.
///
/// `a` and `b` may have different numbers of rows. Errors as [`wasserstein_1d`], and on rows that are not whole.
pub fn sliced_wasserstein_along<T: Real>(a: &[T], b: &[T], dims: usize, directions: &[f64], p: f64) -> Result<f64> {
    const NAME: &str = "sliced_wasserstein";
    check_order(NAME, p)?;
    let (a, b) = (Rows::check(NAME, "a", a, dims, 1)?, Rows::check(NAME, "b", b, dims, 1)?);
    let directions = Rows::check(NAME, "directions", directions, dims, 1)?;
    let stopped = stop::watch();
    let costs: Vec<f64> = (0..directions.len())
        .into_par_iter()
        .filter(|_| !stopped())
        .map(|l| transport(&project(a, directions.row(l)), &project(b, directions.row(l)), p))
        .collect();
    finite(NAME, (costs.iter().sum::<f64>() / costs.len() as f64).powf(1.0 / p))
}

/// The sliced Wasserstein distance along `count` directions drawn uniformly from the sphere by `seed`.
///
/// Two calls with one seed use the same directions, so their results compare. Errors as [`sliced_wasserstein_along`].
pub fn sliced_wasserstein<T: Real>(a: &[T], b: &[T], dims: usize, count: usize, p: f64, seed: u64) -> Result<f64> {
    sliced_wasserstein_along(a, b, dims, &directions(dims, count, seed)?, p)
}

/// `count` unit vectors, `[count, dims]`: normals, divided by their length.
fn directions(dims: usize, count: usize, seed: u64) -> Result<Vec<f64>> {
    if dims == 0 || dims.checked_mul(count).is_none_or(|values| values == 0 || values > MAX_DIRECTION_VALUES) {
        let what = format!(
            "{count} directions in {dims} dimensions; at least 1, together at most {MAX_DIRECTION_VALUES} values"
        );
        return Err(Error::argument("sliced_wasserstein", what));
    }
    let mut normals = vec![0.0f32; dims * count];
    let stream = RandomKey::new(seed, Purpose::Metrics).stream()?;
    random::fill(random::Normal, &stream, Samples::From(0), dims, &mut normals)?;
    let mut directions: Vec<f64> = normals.into_iter().map(f64::from).collect();
    for direction in directions.chunks_exact_mut(dims) {
        let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
        direction.iter_mut().for_each(|v| *v /= length);
    }
    Ok(directions)
}

fn check_order(metric: &'static str, p: f64) -> Result<()> {
    if p >= 1.0 && p.is_finite() {
        return Ok(());
    }
    Err(Error::argument(metric, format!("p is {p}, expected a finite number from 1 up, usually 1 or 2")))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn project<T: Real>(rows: Rows<T>, direction: &[f64]) -> Vec<f64> {
    let along = |i| rows.row(i).iter().zip(direction).map(|(&v, d)| v.into() * d).sum();
    sorted((0..rows.len()).map(along).collect())
}

/// `W_p^p` of two sorted samples.
///
/// Both quantile functions are steps; between two jumps of either the difference is constant. Positions are counted in
/// units of `1 / (n m)`, so the jumps `i m` and `j n` are whole numbers and the intervals exact.
fn transport(a: &[f64], b: &[f64], p: f64) -> f64 {
    let (n, m) = (a.len() as u128, b.len() as u128);
    let (mut i, mut j, mut at) = (0, 0, 0u128);
    let mut sum = 0.0;
    while i < a.len() && j < b.len() {
        let (next_a, next_b) = ((i as u128 + 1) * m, (j as u128 + 1) * n);
        let next = next_a.min(next_b);
        let gap = (a[i] - b[j]).abs();
        sum += (next - at) as f64 * power(gap, p);
        at = next;
        i += usize::from(next == next_a);
        j += usize::from(next == next_b);
    }
    sum / (n * m) as f64
}

/// `powf`, spared in the two cases that everybody uses.
fn power(gap: f64, p: f64) -> f64 {
    match p {
        1.0 => gap,
        2.0 => gap * gap,
        _ => gap.powf(p),
    }
}
