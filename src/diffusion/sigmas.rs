//! Grids of noise levels.

use crate::error::{Error, Result};

/// `steps` noise levels from `sigma_max` down to `sigma_min`, evenly spaced in `sigma^(1/rho)`, and a final 0
/// (Karras et al. 2022, equation 5).
///
/// Errors unless `steps` is at least 1, `0 < sigma_min <= sigma_max` and `rho > 0`, all finite.
pub fn karras_sigmas(steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Vec<f64>> {
    let sound = sigma_min > 0.0 && sigma_min <= sigma_max && sigma_max.is_finite() && rho > 0.0 && rho.is_finite();
    if steps == 0 || !sound {
        let what = format!(
            "steps at least 1, 0 < sigma_min <= sigma_max and rho > 0; got {steps}, {sigma_min}, {sigma_max}, {rho}"
        );
        return Err(Error::argument("karras_sigmas", what));
    }
    let (low, high) = (sigma_min.powf(1.0 / rho), sigma_max.powf(1.0 / rho));
    let last = (steps - 1).max(1) as f64;
    let level = |i: usize| (high + i as f64 / last * (low - high)).powf(rho);
    Ok((0..steps).map(level).chain([0.0]).collect())
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
            [(0, 0.002, 80.0, 7.0), (4, 0.0, 1.0, 7.0), (4, 2.0, 1.0, 7.0), (4, 1.0, 2.0, 0.0)]
        {
            assert!(karras_sigmas(steps, low, high, rho).is_err());
        }
        assert_eq!(karras_sigmas(1, 0.5, 2.0, 7.0).unwrap().len(), 2);
    }
}
