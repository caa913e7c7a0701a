//! Grids of noise levels.
//!
//! With `u = i / (steps - 1)`, i = 0, 1, ..., a grid is `steps` levels that fall from `sigma_max` to `sigma_min`, and a
//! final 0.

use crate::error::{Error, Result};

/// How the levels of a grid are spread.
#[derive(Debug, Clone, PartialEq)]
pub enum Grid {
    /// Evenly in `sigma^(1/rho)`: EDM's.
    Karras {
        /// How closely the levels lie near the end.
        rho: f64,
    },
    /// Evenly in ln sigma; EDM's discretisation `ve`.
    Exponential,
    /// `ln sigma` falls like `(1 - u)^rho`.
    Polyexponential {
        /// 1 is the exponential grid.
        rho: f64,
    },
    /// Evenly in the time of the VP process, whose betas follow from the range; EDM's discretisation `vp`.
    Vp {
        /// The time of the lowest level; that of the highest is 1.
        eps_s: f64,
    },
    /// Levels of a cosine schedule of 1000 steps; EDM's discretisation `iddpm`.
    Iddpm,
    /// Evenly in sigma.
    Linear,
    /// These, whatever range and number of steps are asked for.
    Given(Vec<f64>),
}

impl Default for Grid {
    fn default() -> Self {
        Grid::Karras { rho: 7.0 }
    }
}

impl Grid {
    /// The levels, with the final 0 (a given list is taken as it is). Errors on a range or settings that make no grid.
    pub fn sigmas(&self, steps: usize, sigma_min: f64, sigma_max: f64) -> Result<Vec<f64>> {
        match self {
            Grid::Karras { rho } => karras_sigmas(steps, sigma_min, sigma_max, *rho),
            Grid::Exponential => exponential_sigmas(steps, sigma_min, sigma_max),
            Grid::Polyexponential { rho } => polyexponential_sigmas(steps, sigma_min, sigma_max, *rho),
            Grid::Vp { eps_s } => {
                check("vp_sigmas", steps, sigma_min, sigma_max, 1.0)?;
                let (beta_d, beta_min) = vp_betas(sigma_min, sigma_max, *eps_s);
                vp_sigmas(steps, beta_d, beta_min, *eps_s)
            }
            Grid::Iddpm => iddpm_sigmas(steps, sigma_min, sigma_max),
            Grid::Linear => linear_sigmas(steps, sigma_min, sigma_max),
            Grid::Given(sigmas) => falling("grid", None, sigmas.clone()),
        }
    }

    /// The range `(sigma_min, sigma_max)` that EDM takes for it.
    pub fn default_range(&self) -> (f64, f64) {
        match self {
            Grid::Vp { .. } => (vp_sigma(1e-3, 19.9, 0.1), vp_sigma(1.0, 19.9, 0.1)),
            Grid::Iddpm => (0.002, 81.0),
            _ => (0.002, 80.0),
        }
    }
}

/// `steps` noise levels from `sigma_max` down to `sigma_min`, evenly spaced in `sigma^(1/rho)`, and a final 0
/// (Karras et al. 2022, equation 5).
///
/// Errors unless `steps` is at least 1, `0 < sigma_min <= sigma_max` and `rho > 0`, all finite.
pub fn karras_sigmas(steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Vec<f64>> {
    check("karras_sigmas", steps, sigma_min, sigma_max, rho)?;
    let (low, high) = (sigma_min.powf(1.0 / rho), sigma_max.powf(1.0 / rho));
    falling("karras_sigmas", Some(rho), ended(steps, |u| (high + u * (low - high)).powf(rho)))
}

/// `sigma_max (sigma_min / sigma_max)^u`, and a final 0. Errors as [`karras_sigmas`] does.
pub fn exponential_sigmas(steps: usize, sigma_min: f64, sigma_max: f64) -> Result<Vec<f64>> {
    check("exponential_sigmas", steps, sigma_min, sigma_max, 1.0)?;
    falling("exponential_sigmas", None, ended(steps, |u| sigma_max * (sigma_min / sigma_max).powf(u)))
}

/// `sigma_min (sigma_max / sigma_min)^((1 - u)^rho)`, and a final 0. Errors as [`karras_sigmas`] does.
pub fn polyexponential_sigmas(steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Vec<f64>> {
    check("polyexponential_sigmas", steps, sigma_min, sigma_max, rho)?;
    let level = |u: f64| sigma_min * (sigma_max / sigma_min).powf((1.0 - u).powf(rho));
    falling("polyexponential_sigmas", Some(rho), ended(steps, level))
}

/// `sigma_max + u (sigma_min - sigma_max)`, and a final 0. Errors as [`karras_sigmas`] does.
pub fn linear_sigmas(steps: usize, sigma_min: f64, sigma_max: f64) -> Result<Vec<f64>> {
    check("linear_sigmas", steps, sigma_min, sigma_max, 1.0)?;
    falling("linear_sigmas", None, ended(steps, |u| sigma_max + u * (sigma_min - sigma_max)))
}

/// `sqrt(e^(beta_d t^2 / 2 + beta_min t) - 1)` at `t = 1 + u (eps_s - 1)`, and a final 0 (Song et al. 2021; Karras et
/// al. 2022, table 1).
///
/// Errors unless `steps` is at least 1, `0 < eps_s < 1` and the levels fall, as they do with betas that are not
/// negative.
pub fn vp_sigmas(steps: usize, beta_d: f64, beta_min: f64, eps_s: f64) -> Result<Vec<f64>> {
    let sigmas = ended(steps.max(1), |u| vp_sigma(1.0 + u * (eps_s - 1.0), beta_d, beta_min));
    let sound = eps_s > 0.0 && eps_s < 1.0 && sigmas.iter().all(|sigma| sigma.is_finite());
    if steps == 0 || !sound || !sigmas.windows(2).all(|pair| pair[0] > pair[1]) {
        let what = format!(
            "steps at least 1, 0 < eps_s < 1 and betas with which the levels fall; got {steps}, {eps_s}, beta_d {beta_d}, beta_min {beta_min}"
        );
        return Err(Error::argument("vp_sigmas", what));
    }
    Ok(sigmas)
}

/// The betas `(beta_d, beta_min)` with which the VP process has `sigma_min` at time `eps_s` and `sigma_max` at 1, as
/// EDM recovers them.
pub fn vp_betas(sigma_min: f64, sigma_max: f64, eps_s: f64) -> (f64, f64) {
    let (low, high) = ((sigma_min * sigma_min).ln_1p(), (sigma_max * sigma_max).ln_1p());
    let beta_d = 2.0 * (low / eps_s - high) / (eps_s - 1.0);
    (beta_d, high - 0.5 * beta_d)
}

/// The noise level of the VP process at time `t`.
pub(super) fn vp_sigma(t: f64, beta_d: f64, beta_min: f64) -> f64 {
    (0.5 * beta_d * t * t + beta_min * t).exp_m1().sqrt()
}

/// `steps` of the levels of [`iddpm_levels`] within the range, evenly by index, and a final 0. Errors as
/// [`karras_sigmas`] does, and if no level lies in the range or there are fewer than steps.
pub fn iddpm_sigmas(steps: usize, sigma_min: f64, sigma_max: f64) -> Result<Vec<f64>> {
    const OP: &str = "iddpm_sigmas";
    check(OP, steps, sigma_min, sigma_max, 1.0)?;
    let levels: Vec<f64> = iddpm_levels().into_iter().filter(|sigma| (sigma_min..=sigma_max).contains(sigma)).collect();
    if levels.len() < steps {
        let what =
            format!("{steps} steps from {sigma_max} to {sigma_min}, where the schedule has {} levels", levels.len());
        return Err(Error::argument(OP, what));
    }
    falling(OP, None, ended(steps, |u| levels[((levels.len() - 1) as f64 * u).round_ties_even() as usize]))
}

/// The 1001 levels `u_0 > ... > u_1000 = 0` of improved DDPM's cosine schedule (Karras et al. 2022, table 1, with C_1 =
/// 0.001, C_2 = 0.008).
pub fn iddpm_levels() -> Vec<f64> {
    cosine_levels(0.001, 0.008, 1000)
}

/// `u_m = 0`, `u_{j-1} = sqrt((u_j^2 + 1) / max(a_{j-1} / a_j, c_1) - 1)`, `a_j = sin^2(pi j / (2 m (c_2 + 1)))`: `m +
/// 1` levels, falling.
pub(super) fn cosine_levels(c_1: f64, c_2: f64, m: usize) -> Vec<f64> {
    let alpha_bar = |j: usize| (0.5 * std::f64::consts::PI * j as f64 / m as f64 / (c_2 + 1.0)).sin().powi(2);
    let mut u = vec![0.0; m + 1];
    for j in (1..=m).rev() {
        let next: f64 = u[j];
        u[j - 1] = ((next * next + 1.0) / (alpha_bar(j - 1) / alpha_bar(j)).max(c_1) - 1.0).max(0.0).sqrt();
    }
    u
}

/// The grid from `sigma` on: `sigma`, then the levels below it. Errors unless `sigma` is finite and above the lowest
/// level.
///
/// A level less than half of the following step below `sigma`, in ln sigma, gives way to it. A short first step gains
/// nothing; and a solver of several steps that adds noise divides what the noise did in it by its length: on Gaussian
/// data DPM-Solver++ 2M SDE then had up to a hundred times the variance that it should have.
pub fn sigmas_from(sigmas: &[f64], sigma: f64) -> Result<Vec<f64>> {
    let mut below: Vec<f64> = sigmas.iter().copied().filter(|level| *level < sigma * (1.0 - 1e-6)).collect();
    if let [first, second, ..] = below[..]
        && second > 0.0
        && (sigma / first).ln() < 0.5 * (first / second).ln()
    {
        below.remove(0);
    }
    if !sigma.is_finite() || below.is_empty() {
        let low = sigmas.last().copied().unwrap_or(f64::NAN);
        return Err(Error::argument(
            "sigmas_from",
            format!("start at {sigma}: the start must be finite, and above the lowest of the levels, {low}"),
        ));
    }
    Ok([&[sigma], below.as_slice()].concat())
}

fn ended(steps: usize, level: impl Fn(f64) -> f64) -> Vec<f64> {
    let last = (steps - 1).max(1) as f64;
    (0..steps).map(|i| level(i as f64 / last)).chain([0.0]).collect()
}

/// `sigmas` if they fall strictly from a finite level. Errors with the exponent and the place where they do not.
fn falling(op: &'static str, rho: Option<f64>, sigmas: Vec<f64>) -> Result<Vec<f64>> {
    let ordered = |pair: &[f64]| pair[0] > pair[1] && pair[0].is_finite();
    match sigmas.windows(2).position(|pair| !ordered(pair)) {
        None => Ok(sigmas),
        Some(i) => {
            let (a, b) = (sigmas[i], sigmas[i + 1]);
            let (with, what) = match rho {
                Some(rho) => (format!(" with rho {rho:?}"), "a rho nearer to 7, "),
                None => (String::new(), ""),
            };
            let (n, first) = (sigmas.len() - 1, sigmas[0]);
            Err(Error::argument(
                op,
                format!(
                    "{n} noise levels from {first:?}{with} must fall strictly, but level {i} is {a:?} and the next {b:?}; take {what}fewer steps or a wider range"
                ),
            ))
        }
    }
}

fn check(op: &'static str, steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Result<()> {
    let sound = sigma_min > 0.0 && sigma_min <= sigma_max && sigma_max.is_finite() && rho > 0.0 && rho.is_finite();
    // More levels than this are no grid but a slip, and would take the memory.
    if !(1..=1_000_000).contains(&steps) || !sound || (steps > 1 && sigma_min == sigma_max) {
        let what = format!(
            "{steps} steps from sigma_max = {sigma_max:?} down to sigma_min = {sigma_min:?} with rho = {rho:?}; expected 1 to \
             1000000 steps, 0 < sigma_min < sigma_max (equal for one step) and rho > 0"
        );
        return Err(Error::argument(op, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_the_papers() {
        let grid = karras_sigmas(18, 0.002, 80.0, 7.0).unwrap();
        assert_eq!(grid.len(), 19);
        approx::assert_relative_eq!(grid[0], 80.0, max_relative = 1e-12);
        approx::assert_relative_eq!(grid[17], 0.002, max_relative = 1e-12);
        assert_eq!(grid[18], 0.0);
        // Points of the 18-step grid that papers on noisy data use (rounded there to 1.92, 1.09, 0.59, 0.30).
        for (sigma, digits) in [(1.9233, 1e-4), (1.0882, 1e-4), (0.5853, 1e-4), (0.2964, 1e-4)] {
            assert!(grid.iter().any(|point| (point - sigma).abs() < digits), "{sigma} is not in {grid:?}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for (steps, low, high, rho) in
            [(0, 0.002, 80.0, 7.0), (4, 0.0, 1.0, 7.0), (4, 2.0, 1.0, 7.0), (4, 1.0, 2.0, 0.0), (2, 1.0, 1.0, 7.0)]
        {
            assert!(karras_sigmas(steps, low, high, rho).is_err());
        }
        assert_eq!(karras_sigmas(1, 0.5, 2.0, 7.0).unwrap().len(), 2);
        assert!(vp_sigmas(4, -30.0, 0.1, 1e-3).is_err() && vp_sigmas(4, 19.9, 0.1, 1.0).is_err());
        assert!(iddpm_sigmas(900, 0.002, 1.0).is_err());
        // Exponents with which the levels overflow, or are all the same.
        for rho in [1e-3, 1e308] {
            let error = karras_sigmas(18, 0.002, 80.0, rho).unwrap_err().to_string();
            assert!(error.contains("with rho") && error.contains("nearer to 7"), "{error}");
            assert!(Grid::Polyexponential { rho: 1e308 }.sigmas(18, 0.002, 80.0).is_err());
        }
        assert!(Grid::Given(vec![2.0, 1.0, 1.0, 0.0]).sigmas(1, 0.0, 0.0).is_err());
    }

    #[test]
    fn every_grid_spans_its_range() {
        let grids = [
            Grid::default(),
            Grid::Exponential,
            Grid::Polyexponential { rho: 2.0 },
            Grid::Vp { eps_s: 1e-3 },
            Grid::Linear,
        ];
        for grid in grids {
            let sigmas = grid.sigmas(12, 0.01, 50.0).unwrap();
            assert_eq!((sigmas.len(), sigmas[12]), (13, 0.0));
            approx::assert_relative_eq!(sigmas[0], 50.0, max_relative = 1e-9);
            approx::assert_relative_eq!(sigmas[11], 0.01, max_relative = 1e-9);
            assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]), "{grid:?}");
        }
    }

    #[test]
    fn a_grid_can_start_anywhere() {
        let grid = [4.0, 2.0, 1.0, 0.0];
        assert_eq!(sigmas_from(&grid, 3.0).unwrap(), [3.0, 2.0, 1.0, 0.0]);
        assert_eq!(sigmas_from(&grid, 2.0000000001).unwrap(), [2.0000000001, 1.0, 0.0]);
        assert_eq!(sigmas_from(&grid, 9.0).unwrap(), [9.0, 4.0, 2.0, 1.0, 0.0]);
        assert!(sigmas_from(&grid, 0.0).is_err() && sigmas_from(&grid, f64::NAN).is_err());
    }
}
