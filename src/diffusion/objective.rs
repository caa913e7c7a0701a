//! The losses that EDM compares: at which noise levels a denoiser is trained, and how much each counts.

use super::denoiser::{Denoiser, per_sample};
use super::loss::EdmLoss;
use super::noised::{column, noised};
use super::sigmas::{cosine_levels, vp_sigma};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::Conditions;
use crate::nn::Context;
use crate::ops;
use crate::ops::random::{Address, Distribution};
use crate::random::Purpose;
use crate::tensor::{DType, Device, Tensor};

/// Denoising score matching: `mean_b lambda(sigma) sum |D(y + sigma n; sigma) - y|^2`, where the kind decides what
/// `sigma` is drawn from and what `lambda` is (Karras et al. 2022, arXiv 2206.00364, table 1). The sum runs over a
/// sample's elements.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// EDM's own.
    Edm(EdmLoss),
    /// `t ~ U(epsilon_t, 1)`, `sigma = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1)`, `lambda = 1 / sigma^2` (Song et al.
    /// 2021, variance preserving).
    Vp {
        /// Growth of the noise rate.
        beta_d: f64,
        /// The noise rate at time 0.
        beta_min: f64,
        /// The least time.
        epsilon_t: f64,
    },
    /// `ln sigma ~ U(ln sigma_min, ln sigma_max)`, `lambda = 1 / sigma^2` (Song et al. 2021, variance exploding).
    Ve {
        /// The least noise level.
        sigma_min: f64,
        /// The largest.
        sigma_max: f64,
    },
    /// `sigma = u_j` for `j ~ U{0, ..., M - 1}`, `lambda = 1 / sigma^2`: the plain loss of improved DDPM (Nichol &
    /// Dhariwal 2021), whose levels are `u_M = 0`, `u_{j-1} = sqrt((u_j^2 + 1) / max(a_{j-1} / a_j, C_1) - 1)`, `a_j =
    /// sin^2(pi j / (2 M (C_2 + 1)))`.
    Iddpm {
        /// Least ratio of neighbouring `a_j`.
        c_1: f64,
        /// Keeps `a_M` from 1.
        c_2: f64,
        /// Number of levels.
        m: usize,
    },
}

crate::choice! {
    /// The kinds of [`Loss`].
    pub enum LossKind {
        /// EDM's own.
        Edm = "edm",
        /// Variance preserving.
        Vp = "vp",
        /// Variance exploding.
        Ve = "ve",
        /// Improved DDPM's.
        Iddpm = "iddpm",
    }
}

impl Default for Loss {
    fn default() -> Self {
        Loss::Edm(EdmLoss::default())
    }
}

impl From<EdmLoss> for Loss {
    fn from(loss: EdmLoss) -> Self {
        Loss::Edm(loss)
    }
}

impl Loss {
    /// The loss of a kind with EDM's settings.
    pub fn of(kind: LossKind) -> Self {
        match kind {
            LossKind::Edm => Self::default(),
            LossKind::Vp => Loss::Vp { beta_d: 19.9, beta_min: 0.1, epsilon_t: 1e-5 },
            LossKind::Ve => Loss::Ve { sigma_min: 0.02, sigma_max: 100.0 },
            LossKind::Iddpm => Loss::Iddpm { c_1: 0.001, c_2: 0.008, m: 1000 },
        }
    }

    /// Errors with the setting that makes no sense.
    pub fn check(&self) -> Result<()> {
        let sound = match *self {
            Loss::Edm(EdmLoss { p_mean, p_std }) => p_mean.is_finite() && p_std > 0.0 && p_std.is_finite(),
            Loss::Vp { beta_d, beta_min, epsilon_t } => {
                let largest = self.sigma(0.0, 0.0);
                beta_d > 0.0 && beta_min >= 0.0 && epsilon_t > 0.0 && epsilon_t < 1.0 && largest.is_finite()
            }
            Loss::Ve { sigma_min, sigma_max } => sigma_min > 0.0 && sigma_min <= sigma_max && sigma_max.is_finite(),
            Loss::Iddpm { c_1, c_2, m } => {
                c_1 > 0.0 && c_1 <= 1.0 && (0.0..=1.0).contains(&c_2) && (2..=1 << 16).contains(&m)
            }
        };
        if sound { Ok(()) } else { Err(Error::Config(format!("the loss has settings out of range: {self:?}"))) }
    }

    /// The noise level for a draw `u`, uniform in (0, 1), or `z`, standard normal; each kind takes one of the two.
    pub fn sigma(&self, u: f64, z: f64) -> f64 {
        match *self {
            Loss::Edm(EdmLoss { p_mean, p_std }) => (p_mean + p_std * z).exp(),
            Loss::Vp { beta_d, beta_min, epsilon_t } => vp_sigma(1.0 + u * (epsilon_t - 1.0), beta_d, beta_min),
            Loss::Ve { sigma_min, sigma_max } => sigma_min * (sigma_max / sigma_min).powf(u),
            Loss::Iddpm { c_1, c_2, m } => cosine_levels(c_1, c_2, m)[drawn(u, m)],
        }
    }

    /// `lambda(sigma)`, for data of standard deviation `sigma_data` (which EDM's alone depends on).
    pub fn weight(&self, sigma: f64, sigma_data: f64) -> f64 {
        match self {
            Loss::Edm(_) => (sigma * sigma + sigma_data * sigma_data) / (sigma * sigma_data).powi(2),
            _ => sigma.powi(-2),
        }
    }

    /// The noise levels of `n` samples, a pure function of their address.
    pub fn sigmas(&self, n: usize, address: &Address) -> Result<Vec<f64>> {
        self.sigmas_at(n, address, 0)
    }

    /// Other noise levels for each site, drawn as [`sigmas`](Self::sigmas) are, which are those of site 0.
    pub fn sigmas_at(&self, n: usize, address: &Address, site: u32) -> Result<Vec<f64>> {
        let draws = address.on_cpu()?.draws_at(Purpose::Sigma, site);
        let distribution = if matches!(self, Loss::Edm(_)) { Distribution::Normal } else { Distribution::Uniform };
        let numbers = ops::random::random(distribution, [n, 1], DType::F64, &draws, &Device::Cpu)?.to_f64()?;
        if let Loss::Iddpm { c_1, c_2, m } = *self {
            // The recursion once for all samples.
            let levels = cosine_levels(c_1, c_2, m);
            return Ok(numbers.into_iter().map(|u| levels[drawn(u, m)]).collect());
        }
        Ok(numbers.into_iter().map(|number| self.sigma(number, number)).collect())
    }

    /// The loss of clean f32 samples `y` `[n, ...]` (images NHWC), a scalar. Noise levels and noise come from the
    /// context's [address](Context::address), without which there is an error.
    pub fn forward(&self, cx: &Context, denoiser: &Denoiser, y: &Tensor, conditions: Conditions) -> Result<Var> {
        let address = cx.address()?;
        let sigmas = self.sigmas(y.shape().first().copied().unwrap_or(0), address)?;
        let x = noised(y, column(&sigmas, &y.device())?, &address.draws(Purpose::TrainingNoise))?;
        self.at(cx, denoiser, y, &x, &sigmas, conditions)
    }

    /// The loss for given noisy samples `x = y + sigma n`. Errors on an empty batch and where
    /// [`Denoiser::denoise`] does.
    pub fn at(
        &self,
        cx: &Context,
        denoiser: &Denoiser,
        y: &Tensor,
        x: &Var,
        sigmas: &[f64],
        conditions: Conditions,
    ) -> Result<Var> {
        if y.is_empty() {
            return Err(Error::shape("loss", "at least one sample", y.shape()));
        }
        let denoised = denoiser.denoise(cx, x, sigmas, conditions)?;
        self.of_denoised(&denoised, y, sigmas, denoiser.sigma_data())
    }

    /// `mean_b lambda(sigma) sum |denoised - y|^2` for what a denoiser made of samples `y` behind noise of these
    /// levels. Errors on an empty batch and unless the shapes fit.
    pub fn of_denoised(&self, denoised: &Var, y: &Tensor, sigmas: &[f64], sigma_data: f64) -> Result<Var> {
        if y.is_empty() {
            return Err(Error::shape("loss", "at least one sample", y.shape()));
        }
        let n = sigmas.len() as f64;
        let weights = sigmas.iter().map(|&sigma| self.weight(sigma, sigma_data) / n);
        let rank = y.shape().rank();
        let weights = per_sample(weights, rank, &y.device())?;
        let squares = ops::square(&ops::sub(denoised, y)?)?;
        let axes: Vec<usize> = (0..rank).collect();
        ops::sum(&ops::mul(&squares, &weights)?, &axes)
    }
}

/// The index that a draw `u`, uniform in (0, 1), means among `m` levels.
fn drawn(u: f64, m: usize) -> usize {
    ((u * m as f64) as usize).min(m - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::random::SampleIds;

    #[test]
    fn the_levels_have_the_stated_distributions() {
        for name in ["edm", "vp", "ve", "iddpm"] {
            let loss = Loss::of(name.parse().unwrap());
            loss.check().unwrap();
            let n = 40_000;
            let sigmas = loss.sigmas(n, &Address::new(3, 7)).unwrap();
            assert_eq!(
                loss.sigmas(5, &Address { samples: SampleIds::From(10), ..Address::new(3, 7) }).unwrap(),
                sigmas[10..15],
                "{name}"
            );
            // The level at three quantiles: of the normal numbers -1.6449, 0 and 1.6449 stand for 5, 50 and 95 %.
            // Levels of VP and VE rise with their uniform number, those of iDDPM fall with their index.
            for (share, z) in [(0.05, -1.6448536269514722), (0.5, 0.0), (0.95, 1.6448536269514722f64)] {
                let expected = match name {
                    "edm" => (-1.2 + 1.2 * z).exp(),
                    "vp" => {
                        let t: f64 = 1e-5 + share * (1.0 - 1e-5);
                        ((9.95 * t * t + 0.1 * t).exp() - 1.0).sqrt()
                    }
                    "ve" => (0.02f64.ln() * (1.0 - share) + 100f64.ln() * share).exp(),
                    _ => {
                        // sigma_j^2 = a_M / a_j - 1 with a_j = sin^2(pi j / 2016), see below.
                        let a = |j: f64| (std::f64::consts::PI * j / 2016.0).sin().powi(2);
                        (a(1000.0) / a(1000.0 * (1.0 - share)) - 1.0).sqrt()
                    }
                };
                let below = sigmas.iter().filter(|&&sigma| sigma < expected).count() as f64 / n as f64;
                // Four standard errors at the middle are 0.01.
                assert!(
                    (below - share).abs() < 0.01 * (0.3 + (share * (1.0 - share)).sqrt()),
                    "{name}: {below} of {share}"
                );
            }
        }
    }

    #[test]
    fn iddpms_levels_are_the_cosine_schedules() {
        // Without the floor C_1 the ratios telescope: sigma_j^2 = a_M / a_j - 1. It acts only at the last step.
        let levels = cosine_levels(0.001, 0.008, 1000);
        let a = |j: f64| (std::f64::consts::PI * j / 2016.0).sin().powi(2);
        for j in [2, 10, 500, 900] {
            let expected = (a(1000.0) / a(j as f64) - 1.0).sqrt();
            approx::assert_relative_eq!(levels[j], expected, max_relative = 1e-9);
        }
        // u_500, worked out by the recursion in Python.
        approx::assert_relative_eq!(levels[500], 1.0123895639480018, max_relative = 1e-12);
        assert!(levels.windows(2).all(|pair| pair[0] > pair[1]) && levels[0].is_finite());
    }

    #[test]
    fn weights_and_settings() {
        for (sigma, weight) in [(0.5, 4.0), (2.0, 0.25)] {
            for name in ["vp", "ve", "iddpm"] {
                assert_eq!(Loss::of(name.parse().unwrap()).weight(sigma, 0.7), weight, "{name}");
            }
        }
        assert_eq!(Loss::default().weight(0.5, 0.5), 8.0);
        assert!("vlb".parse::<LossKind>().unwrap_err().to_string().contains("iddpm"));
        for bad in [
            Loss::Edm(EdmLoss { p_mean: 0.0, p_std: 0.0 }),
            Loss::Vp { beta_d: 19.9, beta_min: 0.1, epsilon_t: 0.0 },
            Loss::Vp { beta_d: 1e9, beta_min: 0.1, epsilon_t: 1e-5 },
            Loss::Ve { sigma_min: 2.0, sigma_max: 1.0 },
            Loss::Iddpm { c_1: 0.0, c_2: 0.008, m: 1000 },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
