//! Fidelity and diversity from nearest neighbours.
//!
//! The ball of a point reaches to its `k`-th nearest neighbour in its own sample, itself not counted.

use rayon::prelude::*;

use super::{Real, Rows, squared_distance};
use crate::{Error, Result, stop};

/// Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), both in `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct PrecisionRecall {
    /// Share of generated points inside the ball of some real point: fidelity.
    pub precision: f64,
    /// Share of real points inside the ball of some generated point: diversity.
    pub recall: f64,
}

/// Density and coverage (Naeem et al. 2020, arXiv 2002.09797): as precision and recall, but single outliers weigh less.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct DensityCoverage {
    /// In how many of the balls of real points a generated point lies, divided by `k`; may pass 1.
    pub density: f64,
    /// Share of real points whose ball holds a generated point.
    pub coverage: f64,
}

/// Improved precision and recall of `fake` rows against `real` ones; `k` is usually 3.
///
/// Work is `(n + m)^2 dims`. Errors if a sample has no more than `k` rows, rows are not whole, or values are not
/// finite.
pub fn precision_recall<T: Real>(real: &[T], fake: &[T], dims: usize, k: usize) -> Result<PrecisionRecall> {
    let (real, fake) = check("precision_recall", real, fake, dims, k)?;
    Ok(PrecisionRecall {
        precision: share_inside(fake, real, &squared_radii(real, k)?)?,
        recall: share_inside(real, fake, &squared_radii(fake, k)?)?,
    })
}

/// Density and coverage of `fake` rows against `real` ones; `k` is usually 5. Work and errors as [`precision_recall`].
pub fn density_coverage<T: Real>(real: &[T], fake: &[T], dims: usize, k: usize) -> Result<DensityCoverage> {
    let (real, fake) = check("density_coverage", real, fake, dims, k)?;
    let (radii, stopped) = (squared_radii(real, k)?, stop::watch());
    let held: Vec<usize> = (0..real.len())
        .into_par_iter()
        .filter(|_| !stopped())
        .map(|i| (0..fake.len()).filter(|&j| squared_distance(real.row(i), fake.row(j)) <= radii[i]).count())
        .collect();
    stop::check()?;
    Ok(DensityCoverage {
        density: held.iter().sum::<usize>() as f64 / (k * fake.len()) as f64,
        coverage: held.iter().filter(|&&count| count > 0).count() as f64 / real.len() as f64,
    })
}

/// The coverage that `fake` rows of the same law as the `real` ones are expected to have, whatever law it is, with `k`
/// neighbours (Naeem et al. 2020, lemma 2): `1 - prod_{j=1..k} (real - j) / (real + fake - j)`. 1 where `real <= k`.
pub fn expected_coverage(real: usize, fake: usize, k: usize) -> f64 {
    let missed: f64 = (1..=k.min(real)).map(|j| (real - j) as f64 / (real - j + fake).max(1) as f64).product();
    1.0 - missed
}

fn check<'a, T: Real>(
    metric: &'static str,
    real: &'a [T],
    fake: &'a [T],
    dims: usize,
    k: usize,
) -> Result<(Rows<'a, T>, Rows<'a, T>)> {
    if k == 0 {
        return Err(Error::argument(metric, "k must be at least 1, got 0"));
    }
    let least = k.saturating_add(1);
    Ok((Rows::check(metric, "real", real, dims, least)?, Rows::check(metric, "fake", fake, dims, least)?))
}

/// The squared distance from each row to its `k`-th nearest other one.
fn squared_radii<T: Real>(x: Rows<T>, k: usize) -> Result<Vec<f64>> {
    let stopped = stop::watch();
    let radius = |i: usize| {
        let others = (0..x.len()).filter(|&j| j != i);
        let mut distances: Vec<f64> = others.map(|j| squared_distance(x.row(i), x.row(j))).collect();
        *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1
    };
    let radii = (0..x.len()).into_par_iter().filter(|_| !stopped()).map(radius).collect();
    stop::check().map(|()| radii)
}

/// The share of `points` that lie inside the ball of some centre.
fn share_inside<T: Real>(points: Rows<T>, centres: Rows<T>, squared_radii: &[f64]) -> Result<f64> {
    let stopped = stop::watch();
    let inside =
        |&i: &usize| (0..centres.len()).any(|j| squared_distance(points.row(i), centres.row(j)) <= squared_radii[j]);
    let count = (0..points.len()).into_par_iter().filter(|_| !stopped()).filter(inside).count();
    stop::check().map(|()| count as f64 / points.len() as f64)
}
