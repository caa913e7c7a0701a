//! Running averages of weights: how far each step moves them, and averages reconstructed afterwards.

use serde::{Deserialize, Serialize};

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::Tensor;

/// An exponential average with a half-life in images (Karras et al. 2022, arXiv 2206.00364, as their code has it).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalfLife {
    /// Images after which a weight counts half.
    pub images: f64,
    /// Keeps the half-life below this part of the images seen so far, so that the start is forgotten; `None`: no such
    /// limit.
    pub ramp: Option<f64>,
}

impl HalfLife {
    /// The decay of the average for a batch of `batch` images, where `seen` images came before it. 0 at the very start
    /// under a ramp.
    pub fn beta(&self, seen: u64, batch: u64) -> f64 {
        let half_life = self.ramp.map_or(self.images, |ramp| self.images.min(ramp * seen as f64));
        0.5f64.powf(batch as f64 / half_life.max(1e-8))
    }
}

/// An average with the profile `tau^gamma` over a whole run (Karras et al. 2023, arXiv 2312.02696, section 3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerFunction {
    gamma: f64,
}

impl PowerFunction {
    /// The profile whose standard deviation is `width` times the length of the run. Errors unless `width` is in (0,
    /// 0.3).
    pub fn new(width: f64) -> Result<Self> {
        if !(width > 0.0 && width < 0.3) {
            return Err(Error::argument("power function average", format!("width must be in (0, 0.3), got {width}")));
        }
        // The largest root of g^3 + 7 g^2 + (16 - t) g + (12 - t), where the cubic is convex and rising: Newton from
        // above.
        let t = width.powi(-2);
        let mut gamma = t.sqrt() + 1.0;
        loop {
            let value = ((gamma + 7.0) * gamma + 16.0 - t) * gamma + 12.0 - t;
            let next = gamma - value / ((3.0 * gamma + 14.0) * gamma + 16.0 - t);
            if next.is_nan() || next >= gamma {
                return Ok(PowerFunction { gamma });
            }
            gamma = next;
        }
    }

    /// The exponent of the profile.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// The decay of the average for a batch of `batch` images, where `seen` images came before it. 0 for the first
    /// batch.
    pub fn beta(&self, seen: u64, batch: u64) -> f64 {
        let after = seen.saturating_add(batch).max(1);
        (seen as f64 / after as f64).powf(self.gamma + 1.0)
    }
}

/// A stored average: when it was taken, and with which width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Images seen by then.
    pub seen: f64,
    /// Width of its power function.
    pub width: f64,
}

/// With which weights stored averages sum up to the average that would have had the profile `wanted` (the least-squares
/// reconstruction of Karras et al. 2023, section 3.2). The weights sum to 1.
///
/// Errors without snapshots, on widths outside (0, 0.3), on times that are not positive, and if two snapshots are the
/// same.
pub fn post_hoc_weights(snapshots: &[Snapshot], wanted: Snapshot) -> Result<Vec<f64>> {
    const OP: &str = "post-hoc average";
    if snapshots.is_empty() {
        return Err(Error::argument(OP, "there are no snapshots"));
    }
    let profile = |s: &Snapshot| -> Result<(f64, f64)> {
        if !(s.seen > 0.0 && s.seen.is_finite()) {
            return Err(Error::argument(OP, format!("images seen must be positive, got {}", s.seen)));
        }
        Ok((s.seen, PowerFunction::new(s.width)?.gamma))
    };
    let profiles = snapshots.iter().map(profile).collect::<Result<Vec<_>>>()?;
    let wanted = profile(&wanted)?;
    let system = profiles.iter().map(|&a| profiles.iter().map(|&b| inner_product(a, b)).collect()).collect();
    let right = profiles.iter().map(|&a| inner_product(a, wanted)).collect();
    let mut weights = solve(system, right)
        .ok_or_else(|| Error::argument(OP, "the snapshots are not distinct; leave out repeated ones"))?;
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
    Ok(weights)
}

/// The average with the profile `wanted`, from stored averages of one shape. Errors as [`post_hoc_weights`], and if the
/// tensors differ in kind.
pub fn post_hoc(snapshots: &[(Snapshot, &Tensor)], wanted: Snapshot) -> Result<Tensor> {
    let times: Vec<Snapshot> = snapshots.iter().map(|(snapshot, _)| *snapshot).collect();
    let weights = post_hoc_weights(&times, wanted)?;
    let mut sum: Option<Var> = None;
    for ((_, tensor), &weight) in snapshots.iter().zip(&weights) {
        let tensor = Var::from(*tensor);
        sum = Some(match sum {
            None => ops::scale(&tensor, weight)?,
            Some(sum) => ops::add_scaled(&sum, 1.0, &tensor, weight)?,
        });
    }
    sum.map(Var::into_value).ok_or_else(|| Error::argument("post-hoc average", "there are no snapshots"))
}

/// The inner product of two profiles (end, exponent).
fn inner_product((ta, ga): (f64, f64), (tb, gb): (f64, f64)) -> f64 {
    let exponent = if ta < tb { gb } else { -ga };
    (ga + 1.0) * (gb + 1.0) * (ta / tb).powf(exponent) / ((ga + gb + 1.0) * ta.max(tb))
}

/// Gaussian elimination with partial pivoting; `None` if the matrix is singular.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))?;
        if a[pivot][column] == 0.0 || !a[pivot][column].is_finite() {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        for row in column + 1..n {
            let factor = a[row][column] / a[column][column];
            let (above, below) = a.split_at_mut(row);
            for (x, &p) in below[0][column..].iter_mut().zip(&above[column][column..]) {
                *x -= factor * p;
            }
            b[row] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|k| a[row][k] * b[k]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    Some(b)
}
