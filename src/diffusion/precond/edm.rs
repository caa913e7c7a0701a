use serde::{Deserialize, Serialize};

use super::{Preconditioning, Scaling, check};
use crate::error::{Error, Result};

/// EDM's preconditioning: the network's input, its target and hence its loss have unit variance at every noise level.
///
/// With `s` the noise level and `d = sigma_data`: `c_skip = d^2 / (s^2 + d^2)`, `c_out = s d / sqrt(s^2 + d^2)`,
/// `c_in = 1 / sqrt(s^2 + d^2)`, `c_noise = ln(s) / 4` (Karras et al. 2022, table 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdmPrecond {
    /// Standard deviation of the data; 0.5 suits images in [-1, 1].
    #[serde(default = "EdmPrecond::half")]
    pub sigma_data: f64,
    /// The least noise level that the model is made for.
    #[serde(default)]
    pub sigma_min: f64,
    /// The largest; none in files means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma_max: Option<f64>,
}

impl EdmPrecond {
    /// For data of this standard deviation, without limits to the noise level.
    pub fn new(sigma_data: f64) -> Self {
        EdmPrecond { sigma_data, sigma_min: 0.0, sigma_max: None }
    }

    fn half() -> f64 {
        0.5
    }

    pub(super) fn checked(&self) -> Result<Self> {
        check("sigma_data", self.sigma_data, self.sigma_data > 0.0, "a positive number")?;
        check("sigma_min", self.sigma_min, self.sigma_min >= 0.0, "0 or a positive number")?;
        if self.sigma_max.is_some_and(|max| max.is_nan() || max <= self.sigma_min) {
            let (min, max) = (self.sigma_min, self.sigma_max);
            return Err(Error::Config(format!("sigma_max must be above sigma_min {min}, got {max:?}")));
        }
        Ok(*self)
    }
}

impl Preconditioning for EdmPrecond {
    fn scaling(&self, sigma: f64) -> Scaling {
        let total = sigma.hypot(self.sigma_data);
        Scaling {
            c_skip: (self.sigma_data / total).powi(2),
            c_out: sigma * self.sigma_data / total,
            c_in: 1.0 / total,
            c_noise: sigma.ln() / 4.0,
        }
    }

    fn sigma_range(&self) -> (f64, f64) {
        (self.sigma_min, self.sigma_max.unwrap_or(f64::INFINITY))
    }
}
