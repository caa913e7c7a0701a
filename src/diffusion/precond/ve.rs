use serde::{Deserialize, Serialize};

use super::{Preconditioning, Scaling, check};
use crate::error::Result;

/// The variance-exploding preconditioning: the network predicts the negative noise from the bare noisy data.
///
/// `c_skip = 1`, `c_out = s`, `c_in = 1`, `c_noise = ln(s / 2)` (Song et al. 2021, arXiv 2011.13456, as in Karras et
/// al. 2022).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VePrecond {
    /// The least noise level that the model is made for.
    pub sigma_min: f64,
    /// The largest.
    pub sigma_max: f64,
}

impl Default for VePrecond {
    fn default() -> Self {
        VePrecond { sigma_min: 0.02, sigma_max: 100.0 }
    }
}

impl VePrecond {
    pub(super) fn checked(&self) -> Result<Self> {
        check("sigma_min", self.sigma_min, self.sigma_min > 0.0, "a positive number")?;
        check("sigma_max", self.sigma_max, self.sigma_max > self.sigma_min, "above sigma_min")?;
        Ok(*self)
    }
}

impl Preconditioning for VePrecond {
    fn scaling(&self, sigma: f64) -> Scaling {
        Scaling { c_skip: 1.0, c_out: sigma, c_in: 1.0, c_noise: (0.5 * sigma).ln() }
    }

    fn sigma_range(&self) -> (f64, f64) {
        (self.sigma_min, self.sigma_max)
    }
}
