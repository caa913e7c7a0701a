//! Preconditioning: how a network is scaled around at each noise level, so that `D(x; sigma) = c_skip x + c_out F(c_in
//! x; c_noise)`.
//!
//! One file each for the four kinds that EDM compares (Karras et al. 2022, arXiv 2206.00364, table 1); option names are
//! those of its preconditioner classes.

mod edm;
mod iddpm;
mod ve;
mod vp;

pub use edm::EdmPrecond;
pub use iddpm::{IddpmPrecond, IddpmTable};
pub use ve::VePrecond;
pub use vp::VpPrecond;

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The factors of a preconditioning at one noise level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// On the noisy input, around the network.
    pub c_skip: f64,
    /// On the network's output.
    pub c_out: f64,
    /// On the network's input.
    pub c_in: f64,
    /// The noise label.
    pub c_noise: f64,
}

impl Scaling {
    /// EDM's factors for noise of standard deviation `sigma` on data of standard deviation `sigma_data`.
    pub fn edm(sigma: f64, sigma_data: f64) -> Self {
        EdmPrecond::new(sigma_data).scaling(sigma)
    }
}

/// A preconditioning, ready to be used.
pub trait Preconditioning: Debug + Send + Sync {
    /// The factors for noise of standard deviation `sigma`, which is positive.
    fn scaling(&self, sigma: f64) -> Scaling;

    /// The least and the largest noise level that the model is made for; 0 and infinity where there is no limit.
    fn sigma_range(&self) -> (f64, f64);

    /// The noise level next to `sigma` that the model knows: `sigma` itself, unless it knows only those of a table.
    fn round_sigma(&self, sigma: f64) -> f64 {
        sigma
    }

    /// Channels of the network's output for so many channels of data; what comes after the first `channels` is not
    /// used.
    fn outputs(&self, channels: usize) -> usize {
        channels
    }

    /// The table of noise levels, where there is one: part of model files, as `u`.
    fn table(&self) -> Option<&[f32]> {
        None
    }
}

/// Which preconditioning, with its options.
#[derive(Debug, Clone, PartialEq)]
pub enum Precond {
    /// Unit variance at every noise level (Karras et al. 2022).
    Edm(EdmPrecond),
    /// Variance preserving (Song et al. 2021).
    Vp(VpPrecond),
    /// Variance exploding (Song et al. 2021).
    Ve(VePrecond),
    /// A table of noise levels and a learned variance (Nichol & Dhariwal 2021).
    Iddpm(IddpmPrecond),
}

impl Precond {
    /// EDM's preconditioning for data of standard deviation `sigma_data`.
    pub fn edm(sigma_data: f64) -> Self {
        Precond::Edm(EdmPrecond::new(sigma_data))
    }

    /// Its name in model files: `edm`, `vp`, `ve` or `iddpm`.
    pub fn name(&self) -> &'static str {
        match self {
            Precond::Edm(_) => "edm",
            Precond::Vp(_) => "vp",
            Precond::Ve(_) => "ve",
            Precond::Iddpm(_) => "iddpm",
        }
    }

    /// Standard deviation of the data: EDM's `sigma_data`, and 0.5 (images in [-1, 1]) for the others, which do not
    /// say.
    pub fn sigma_data(&self) -> f64 {
        match self {
            Precond::Edm(edm) => edm.sigma_data,
            _ => 0.5,
        }
    }

    /// Makes what the options describe. Errors with the option that is out of range.
    pub fn build(&self) -> Result<Arc<dyn Preconditioning>> {
        Ok(match self {
            Precond::Edm(edm) => Arc::new(edm.checked()?),
            Precond::Vp(vp) => Arc::new(vp.checked()?),
            Precond::Ve(ve) => Arc::new(ve.checked()?),
            Precond::Iddpm(iddpm) => Arc::new(iddpm.table()?),
        })
    }

    /// The name and the options, as they stand among those of the network in model files.
    pub(super) fn to_fields(&self) -> Result<Map<String, Value>> {
        fn object(options: &impl Serialize) -> Result<Map<String, Value>> {
            match serde_json::to_value(options) {
                Ok(Value::Object(fields)) => Ok(fields),
                _ => Err(Error::Config("the preconditioning cannot be written".into())),
            }
        }
        let mut fields = match self {
            Precond::Edm(edm) => object(edm),
            Precond::Vp(vp) => object(vp),
            Precond::Ve(ve) => object(ve),
            Precond::Iddpm(iddpm) => object(iddpm),
        }?;
        fields.insert("precond".into(), self.name().into());
        Ok(fields)
    }

    /// Takes the name and the options out of `fields`. Errors with the option that is unknown or of another type.
    pub(super) fn from_fields(fields: &mut Map<String, Value>) -> Result<Self> {
        fn options<T: DeserializeOwned>(fields: &mut Map<String, Value>, names: &[&str]) -> Result<T> {
            let own = names.iter().filter_map(|name| fields.remove_entry(*name)).collect();
            serde_json::from_value(Value::Object(own)).map_err(|error| Error::Config(error.to_string()))
        }
        let precond = fields.remove("precond").unwrap_or_else(|| "edm".into());
        match precond.as_str() {
            Some("edm") => options(fields, &["sigma_min", "sigma_max", "sigma_data"]).map(Precond::Edm),
            Some("vp") => options(fields, &["beta_d", "beta_min", "M", "epsilon_t"]).map(Precond::Vp),
            Some("ve") => options(fields, &["sigma_min", "sigma_max"]).map(Precond::Ve),
            Some("iddpm") => options(fields, &["C_1", "C_2", "M", "betas"]).map(Precond::Iddpm),
            _ => Err(Error::Config(format!("precond must be \"edm\", \"vp\", \"ve\" or \"iddpm\", got {precond}"))),
        }
    }
}

/// Errors with the option's name unless `holds`.
fn check(name: &str, value: f64, holds: bool, range: &str) -> Result<()> {
    if value.is_finite() && holds {
        return Ok(());
    }
    Err(Error::Config(format!("{name} must be {range}, got {value}")))
}

#[cfg(test)]
mod tests {
    use super::{IddpmPrecond, Precond, Preconditioning, Scaling, VePrecond, VpPrecond};

    #[test]
    fn the_networks_input_and_target_have_unit_variance() {
        for sigma in [0.002, 0.1, 0.5, 3.0, 80.0] {
            let sigma_data = 0.5f64;
            let s = Scaling::edm(sigma, sigma_data);
            let input = s.c_in.powi(2) * (sigma_data.powi(2) + sigma.powi(2));
            approx::assert_relative_eq!(input, 1.0, max_relative = 1e-12);
            // Target (y - c_skip (y + sigma n)) / c_out.
            let target = ((1.0 - s.c_skip).powi(2) * sigma_data.powi(2) + (s.c_skip * sigma).powi(2)) / s.c_out.powi(2);
            approx::assert_relative_eq!(target, 1.0, max_relative = 1e-12);
        }
    }

    /// A network that predicts the noise (VE: its negative) exactly gives back the clean data.
    #[test]
    fn the_others_take_the_predicted_noise_away() {
        let (y, n) = (0.7, -1.3);
        for (precond, sign) in [
            (Precond::Vp(VpPrecond::default()), 1.0),
            (Precond::Ve(VePrecond::default()), -1.0),
            (Precond::Iddpm(IddpmPrecond::default()), 1.0),
        ] {
            let built = precond.build().unwrap();
            for sigma in [0.01, 0.5, 20.0] {
                let s = built.scaling(sigma);
                let x = y + sigma * n;
                approx::assert_relative_eq!(s.c_skip * x + s.c_out * sign * n, y, max_relative = 1e-9);
                let variance = if precond.name() == "ve" { 1.0 } else { s.c_in.powi(2) * (1.0 + sigma * sigma) };
                approx::assert_relative_eq!(variance, 1.0, max_relative = 1e-12);
            }
        }
    }

    #[test]
    fn time_and_noise_level_are_inverse() {
        let vp = VpPrecond::default();
        for t in [1e-5, 1e-3, 0.1, 0.5, 1.0] {
            approx::assert_relative_eq!(vp.sigma_inv(vp.sigma(t)), t, max_relative = 1e-9);
        }
        // exp(19.9 / 2 + 0.1) - 1, and beta_min t at its start.
        let (min, max) = vp.sigma_range();
        approx::assert_relative_eq!(max, (10.05f64.exp() - 1.0).sqrt(), max_relative = 1e-12);
        approx::assert_relative_eq!(min, 1e-6f64.sqrt(), max_relative = 2e-3);
        approx::assert_relative_eq!(vp.scaling(max).c_noise, 999.0, max_relative = 1e-12);
        approx::assert_relative_eq!(VePrecond::default().scaling(2.0 * 3f64.exp()).c_noise, 3.0, max_relative = 1e-12);
    }

    #[test]
    fn a_linear_schedule_has_the_levels_of_ddpm() {
        let betas = Some([1e-4, 0.02]);
        let precond = IddpmPrecond { betas, ..IddpmPrecond::default() };
        let table = precond.table().unwrap();
        let u = table.table().unwrap();
        // NumPy in f64, sqrt(1 / cumprod(1 - linspace(1e-4, 0.02, 1000)) - 1), as diffusers' DDPMScheduler has them in
        // f32.
        let levels =
            [(0, 0.01000050003749898), (1, 0.014830923708980388), (500, 3.4429671125258228), (999, 157.40728081040757)];
        for (step, level) in levels {
            approx::assert_relative_eq!(f64::from(u[999 - step]), level, max_relative = 1e-6);
            assert_eq!(table.scaling(level).c_noise, step as f64);
        }
        assert_eq!(u[1000], 0.0);
        let mut fields = Precond::Iddpm(precond).to_fields().unwrap();
        assert_eq!(Precond::from_fields(&mut fields).unwrap(), Precond::Iddpm(precond));
        assert!(!Precond::Iddpm(IddpmPrecond::default()).to_fields().unwrap().contains_key("betas"));
        let refused = |betas| IddpmPrecond { betas: Some(betas), ..precond }.table().unwrap_err().to_string();
        assert!(refused([0.0, 0.02]).contains("betas must be above 0 and below 1, got 0"));
        assert!(refused([1e-4, 1.0]).contains("got 1"));
        assert!(refused([0.5, 0.5]).contains("smaller for so many steps"));
    }

    #[test]
    fn the_table_falls_to_zero_and_holds_its_own_levels() {
        let table = IddpmPrecond::default().table().unwrap();
        let u = table.table().unwrap();
        assert_eq!((u.len(), u[1000]), (1001, 0.0));
        assert!(u.windows(2).all(|pair| pair[0] > pair[1]));
        for j in [0, 1, 500, 999, 1000] {
            assert_eq!(table.round_sigma(f64::from(u[j])), f64::from(u[j]));
            assert_eq!(table.scaling(f64::from(u[j])).c_noise, 999.0 - j as f64);
        }
        let between = 0.4 * f64::from(u[700]) + 0.6 * f64::from(u[701]);
        assert_eq!(table.round_sigma(between), f64::from(u[701]));
        assert_eq!(table.round_sigma(f64::INFINITY), f64::from(u[0]));
        // The recursion in the middle: (u_{j-1}^2 + 1) / (u_j^2 + 1) = a_j / a_{j-1}.
        let a = |j: f64| (std::f64::consts::PI * j / (2000.0 * 1.008)).sin().powi(2);
        let grown = |j: usize| f64::from(u[j]).powi(2) + 1.0;
        approx::assert_relative_eq!(grown(399) / grown(400), a(400.0) / a(399.0), max_relative = 1e-5);
    }
}
