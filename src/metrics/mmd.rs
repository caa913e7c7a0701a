//! Maximum mean discrepancy (Gretton et al. 2012, JMLR 13).

use rayon::prelude::*;

use super::{Real, Rows, finite, fold, squared_distance};
use crate::{Error, Result, stop};

/// A kernel `k(x, y)` on rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kernel {
    /// `(gamma x.y + coef)^degree`.
    Polynomial {
        /// Power, at least 1.
        degree: u32,
        /// Factor of the inner product.
        gamma: f64,
        /// Constant inside the power.
        coef: f64,
    },
    /// `exp(-|x-y|^2 / (2 bandwidth^2))`.
    Gaussian {
        /// Positive.
        bandwidth: f64,
    },
    /// `exp(-|x-y| / bandwidth)`.
    Laplace {
        /// Positive.
        bandwidth: f64,
    },
    /// `(1 + |x-y|^2 / (2 alpha bandwidth^2))^-alpha`: a mixture of Gaussians of many widths.
    RationalQuadratic {
        /// Positive; small values weigh wide Gaussians more.
        alpha: f64,
        /// Positive.
        bandwidth: f64,
    },
    /// `-|x-y|`, which makes `mmd2` the energy distance. Nothing to tune.
    Energy,
}

impl Kernel {
    /// The kernel of KID, `(x.y / dims + 1)^3`.
    pub fn kid(dims: usize) -> Self {
        Kernel::Polynomial { degree: 3, gamma: 1.0 / dims as f64, coef: 1.0 }
    }

    fn check(&self) -> Result<()> {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let good = match *self {
            Kernel::Polynomial { degree, gamma, coef } => {
                (1..=1 << 10).contains(&degree) && gamma.is_finite() && coef.is_finite()
            }
            Kernel::Gaussian { bandwidth } | Kernel::Laplace { bandwidth } => positive(bandwidth),
            Kernel::RationalQuadratic { alpha, bandwidth } => positive(alpha) && positive(bandwidth),
            Kernel::Energy => true,
        };
        if good { Ok(()) } else { Err(Error::argument("mmd2", format!("{self:?} is not a kernel"))) }
    }

    fn uses_distance(&self) -> bool {
        !matches!(self, Kernel::Polynomial { .. })
    }

    fn of(&self, inner: f64, distance2: f64) -> f64 {
        match *self {
            Kernel::Polynomial { degree, gamma, coef } => (gamma * inner + coef).powi(degree as i32),
            Kernel::Gaussian { bandwidth } => (-0.5 * distance2 / (bandwidth * bandwidth)).exp(),
            Kernel::Laplace { bandwidth } => (-distance2.sqrt() / bandwidth).exp(),
            Kernel::RationalQuadratic { alpha, bandwidth } => {
                (1.0 + 0.5 * distance2 / (alpha * bandwidth * bandwidth)).powf(-alpha)
            }
            Kernel::Energy => -distance2.sqrt(),
        }
    }
}

/// Unbiased squared MMD between `a` (`n` rows) and `b` (`m` rows) for the sum of `kernels`:
///
/// `mean_{i != j} k(a_i, a_j) + mean_{i != j} k(b_i, b_j) - 2 mean_{ij} k(a_i, b_j)`.
///
/// Zero on average when both come from one distribution, so single values may be negative. Work is `(n + m)^2 dims`.
///
/// Errors on fewer than two rows, rows that are not whole, values that are not finite, and kernels with impossible
/// settings.
pub fn mmd2<T: Real>(a: &[T], b: &[T], dims: usize, kernels: &[Kernel]) -> Result<f64> {
    let (a, b) = (Rows::check("mmd2", "a", a, dims, 2)?, Rows::check("mmd2", "b", b, dims, 2)?);
    if kernels.is_empty() {
        return Err(Error::argument("mmd2", "no kernel given"));
    }
    kernels.iter().try_for_each(Kernel::check)?;
    let pairs = |x: Rows<T>| x.len() as f64 * (x.len() - 1) as f64;
    let within = |x: Rows<T>| 2.0 * kernel_sum(x, None, kernels) / pairs(x);
    let across = kernel_sum(a, Some(b), kernels) / (a.len() as f64 * b.len() as f64);
    finite("mmd2", within(a) + within(b) - 2.0 * across)
}

/// The median distance between rows of `a` and `b` together: the usual bandwidth when there is no better idea.
///
/// At most 500 rows of each set take part, evenly spread. Errors as [`mmd2`]; zero if most rows are equal.
pub fn median_distance<T: Real>(a: &[T], b: &[T], dims: usize) -> Result<f64> {
    let sets = [Rows::check("median_distance", "a", a, dims, 1)?, Rows::check("median_distance", "b", b, dims, 1)?];
    let spread = |x: Rows<'_, T>| {
        let taken = x.len().min(500);
        (0..taken).map(|i| to_f64(x.row(i * x.len() / taken))).collect::<Vec<_>>()
    };
    let rows: Vec<_> = sets.into_iter().flat_map(spread).collect();
    let mut distances: Vec<f64> = rows
        .par_iter()
        .enumerate()
        .flat_map_iter(|(i, x)| rows[i + 1..].iter().map(|y| squared_distance(x, y).sqrt()))
        .collect();
    let middle = distances.len() / 2;
    let (_, median, _) = distances.select_nth_unstable_by(middle, f64::total_cmp);
    finite("median_distance", *median)
}

/// Rows of `y` that are converted to f64 at a time.
const TILE: usize = 64;

/// The sum of the kernels over all pairs `(x_i, y_j)`, or without `y` over the pairs `i < j` of `x`.
///
/// One task owns 64 rows of `x` and adds its pairs up in order; the tasks' sums are added in order.
fn kernel_sum<T: Real>(x: Rows<T>, y: Option<Rows<T>>, kernels: &[Kernel]) -> f64 {
    let inner_used = kernels.iter().any(|k| !k.uses_distance());
    let distance_used = kernels.iter().any(Kernel::uses_distance);
    let others = y.unwrap_or(x);
    let stopped = stop::watch();
    let tasks: Vec<f64> = (0..x.len().div_ceil(TILE))
        .into_par_iter()
        .map(|tile| {
            let mine = tile * TILE..x.len().min((tile + 1) * TILE);
            let xs: Vec<f64> = to_f64(&x.values[mine.start * x.dims..mine.end * x.dims]);
            let first = if y.is_some() { 0 } else { mine.start };
            let mut sum = 0.0;
            for start in (first..others.len()).step_by(TILE).take_while(|_| !stopped()) {
                let end = others.len().min(start + TILE);
                let ys: Vec<f64> = to_f64(&others.values[start * x.dims..end * x.dims]);
                for (i, xi) in mine.clone().zip(xs.chunks_exact(x.dims)) {
                    for (j, yj) in (start..end).zip(ys.chunks_exact(x.dims)) {
                        if y.is_none() && j <= i {
                            continue;
                        }
                        let inner = if inner_used { fold(xi, yj, |x, y| x * y) } else { 0.0 };
                        let distance2 = if distance_used { squared_distance(xi, yj) } else { 0.0 };
                        sum += kernels.iter().map(|k| k.of(inner, distance2)).sum::<f64>();
                    }
                }
            }
            sum
        })
        .collect();
    tasks.iter().sum()
}

fn to_f64<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}
