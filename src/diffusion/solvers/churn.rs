//! Noise that is added before a step, so that the step can remove it.

use super::{PathUse, Run};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// EDM's stochasticity: before a step the noise level is raised by a factor `1 + gamma` and new noise makes up the
/// difference (Karras et al. 2022, algorithm 2, lines 4 to 6). The default is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// S_churn: the amount over the whole run; 0 for none.
    pub amount: f64,
    /// S_min: the lowest level that is churned.
    pub s_min: f64,
    /// S_max: the highest level that is churned.
    pub s_max: f64,
    /// S_noise: standard deviation of the new noise.
    pub s_noise: f64,
}

impl Default for Churn {
    fn default() -> Self {
        Churn { amount: 0.0, s_min: 0.0, s_max: f64::INFINITY, s_noise: 1.0 }
    }
}

impl Churn {
    /// gamma at a noise level of a run of `steps` steps.
    pub fn gamma(&self, sigma: f64, steps: usize) -> f64 {
        match self.amount > 0.0 && (self.s_min..=self.s_max).contains(&sigma) {
            true => (self.amount / steps as f64).min(std::f64::consts::SQRT_2 - 1.0),
            false => 0.0,
        }
    }

    /// Churn raises a level that the steps have come down from: on a path its noise would be what the steps have just
    /// used.
    pub(super) fn path_use(&self) -> PathUse {
        if self.amount > 0.0 { PathUse::Never } else { PathUse::Possible }
    }

    /// The samples with more noise, and their level. With an amount above 0 every step makes one request for noise,
    /// used or not.
    pub(super) fn apply(&self, run: &mut Run, x: &Tensor, sigma: f64, steps: usize) -> Result<(Tensor, f64)> {
        if self.amount == 0.0 {
            return Ok((x.clone(), sigma));
        }
        let gamma = self.gamma(sigma, steps);
        let sigma_hat = if gamma > 0.0 { run.round_sigma(sigma * (1.0 + gamma)) } else { sigma };
        let deviation = (sigma_hat * sigma_hat - sigma * sigma).max(0.0).sqrt() * self.s_noise;
        Ok((run.add_noise(x, deviation, sigma, sigma_hat)?, sigma_hat))
    }

    /// Errors on numbers that make no sense.
    pub(super) fn check(&self) -> Result<()> {
        let sound = self.amount >= 0.0
            && self.amount.is_finite()
            && self.s_min >= 0.0
            && self.s_max >= self.s_min
            && self.s_noise >= 0.0
            && self.s_noise.is_finite();
        match sound {
            true => Ok(()),
            false => Err(Error::Config(format!(
                "churn needs S_churn >= 0, 0 <= S_min <= S_max and S_noise >= 0, got {self:?}"
            ))),
        }
    }
}
