//! A network that is told how to scale what it sees and what it says.

use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::song::Conditions;
use crate::nn::{Context, Mlp, SongUNet};
use crate::ops;
use crate::tensor::{DType, Device, Tensor};

/// The factors of EDM's preconditioning at one noise level (Karras et al. 2022, table 1), for data of standard deviation
/// `sigma_data`.
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
    /// The factors for noise of standard deviation `sigma` on data of standard deviation `sigma_data`.
    pub fn edm(sigma: f64, sigma_data: f64) -> Self {
        let total = sigma.hypot(sigma_data);
        Scaling {
            c_skip: (sigma_data / total).powi(2),
            c_out: sigma * sigma_data / total,
            c_in: 1.0 / total,
            c_noise: sigma.ln() / 4.0,
        }
    }
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a denoiser holds one
pub(super) enum Network {
    Song(SongUNet),
    Mlp(Mlp),
}

/// The denoiser `D(x; sigma)`: the expected clean data, given noisy data `x = y + sigma n`.
#[derive(Debug, Clone)]
pub struct Denoiser {
    pub(super) network: Network,
    pub(super) sigma_data: f64,
}

impl Denoiser {
    /// Standard deviation of the data that the model is made for.
    pub fn sigma_data(&self) -> f64 {
        self.sigma_data
    }

    /// Number of classes that the network takes; 0 if it is unconditional.
    pub fn label_dim(&self) -> usize {
        match &self.network {
            Network::Song(network) => network.config().label_dim,
            Network::Mlp(network) => network.config().label_dim,
        }
    }

    /// The extents of one sample: `[h, w, channels]` or `[dims]`.
    pub fn sample_shape(&self) -> Vec<usize> {
        match &self.network {
            Network::Song(network) => {
                let config = network.config();
                vec![config.img_resolution, config.img_resolution, config.img_channels]
            }
            Network::Mlp(network) => vec![network.config().dims],
        }
    }

    /// The bare network F, for samples `[n, ...]` that are already scaled and noise labels `[n]`. The result is in the context's compute
    /// dtype. Errors on other shapes.
    pub fn raw(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var> {
        match &self.network {
            Network::Song(network) => network.forward(cx, x, noise, conditions),
            Network::Mlp(network) => network.forward(cx, x, noise, conditions),
        }
    }

    /// `D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)` for f32 samples `[n, ...]` (images NHWC) and one sigma each.
    ///
    /// The result is f32, whatever the context computes in. Errors on other shapes, and unless every sigma is positive and
    /// finite.
    pub fn denoise(&self, cx: &Context, x: &Var, sigmas: &[f64], conditions: Conditions) -> Result<Var> {
        let n = x.shape().first().copied().unwrap_or(0);
        if sigmas.len() != n || x.dtype() != DType::F32 {
            let got = format!("{}{} and {} sigmas", x.dtype(), x.shape(), sigmas.len());
            return Err(Error::shape("denoise", "f32 samples [n, ...] and n sigmas", got));
        }
        if let Some(bad) = sigmas.iter().find(|sigma| !(sigma.is_finite() && **sigma > 0.0)) {
            return Err(Error::argument("denoise", format!("sigma must be positive and finite, got {bad}")));
        }
        let scalings: Vec<Scaling> = sigmas.iter().map(|&sigma| Scaling::edm(sigma, self.sigma_data)).collect();
        let device = x.device();
        let column = |f: fn(&Scaling) -> f64| per_sample(scalings.iter().map(f), x.shape().rank(), &device);
        let noise = column(|s| s.c_noise)?.reshape([n])?;
        let scaled = ops::mul(x, &column(|s| s.c_in)?)?;
        let f = self.raw(cx, &scaled, &noise, conditions)?;
        let f = if f.dtype() == DType::F32 { f } else { ops::cast(&f, DType::F32)? };
        ops::add(&ops::mul(x, &column(|s| s.c_skip)?)?, &ops::mul(&f, &column(|s| s.c_out)?)?)
    }
}

/// `[n, 1, ...]` of `rank` axes, to multiply samples with.
pub(super) fn per_sample(values: impl Iterator<Item = f64>, rank: usize, device: &Device) -> Result<Var> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    let mut shape = vec![1; rank];
    if let Some(first) = shape.first_mut() {
        *first = values.len();
    }
    Ok(Tensor::from_slice(&values, shape, device)?.into())
}

#[cfg(test)]
mod tests {
    use super::Scaling;

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
}
