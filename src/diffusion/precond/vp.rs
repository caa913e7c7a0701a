use serde::{Deserialize, Serialize};

use super::{Preconditioning, Scaling, check};
use crate::diffusion::sigmas::vp_sigma;
use crate::error::Result;

/// The variance-preserving preconditioning: the network predicts the noise, and is told the time of a process that ends
/// at 1.
///
/// `c_skip = 1`, `c_out = -s`, `c_in = 1 / sqrt(s^2 + 1)`, `c_noise = (M - 1) t(s)` with the noise level
/// `s(t) = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1)` (Song et al. 2021, arXiv 2011.13456, as in Karras et al. 2022).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VpPrecond {
    /// Slope of the rate at which noise is added.
    pub beta_d: f64,
    /// That rate at t = 0.
    pub beta_min: f64,
    /// Time steps of the discrete process.
    #[serde(rename = "M")]
    pub m: usize,
    /// The least time in training.
    pub epsilon_t: f64,
}

impl Default for VpPrecond {
    fn default() -> Self {
        VpPrecond { beta_d: 19.9, beta_min: 0.1, m: 1000, epsilon_t: 1e-5 }
    }
}

impl VpPrecond {
    /// The noise level at time `t`.
    pub fn sigma(&self, t: f64) -> f64 {
        vp_sigma(t, self.beta_d, self.beta_min)
    }

    /// The time at which the noise level is `sigma`.
    pub fn sigma_inv(&self, sigma: f64) -> f64 {
        let root = (self.beta_min.powi(2) + 2.0 * self.beta_d * (sigma * sigma).ln_1p()).sqrt();
        (root - self.beta_min) / self.beta_d
    }

    pub(super) fn checked(&self) -> Result<Self> {
        check("beta_d", self.beta_d, self.beta_d > 0.0 && self.beta_d <= 200.0, "above 0 and at most 200")?;
        check("beta_min", self.beta_min, (0.0..=200.0).contains(&self.beta_min), "between 0 and 200")?;
        check("M", self.m as f64, (1..=1 << 24).contains(&self.m), "between 1 and 2^24")?;
        check("epsilon_t", self.epsilon_t, self.epsilon_t > 0.0 && self.epsilon_t < 1.0, "between 0 and 1")?;
        Ok(*self)
    }
}

impl Preconditioning for VpPrecond {
    fn scaling(&self, sigma: f64) -> Scaling {
        Scaling {
            c_skip: 1.0,
            c_out: -sigma,
            c_in: 1.0 / sigma.hypot(1.0),
            c_noise: (self.m as f64 - 1.0) * self.sigma_inv(sigma),
        }
    }

    fn sigma_range(&self) -> (f64, f64) {
        (self.sigma(self.epsilon_t), self.sigma(1.0))
    }
}
