//! A network that is told how to scale what it sees and what it says.

use std::sync::Arc;

use super::precond::{Precond, Preconditioning, Scaling};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::{Conditions, Context, DhariwalUNet, Layout, Mlp, SongUNet};
use crate::ops;
use crate::tensor::{DType, Device, Tensor};

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a denoiser holds one
pub(super) enum Network {
    Song(SongUNet),
    Dhariwal(DhariwalUNet),
    Mlp(Mlp),
}

/// The denoiser `D(x; sigma)`: the expected clean data, given noisy data `x = y + sigma n`.
#[derive(Debug, Clone)]
pub struct Denoiser {
    network: Network,
    precond: Precond,
    scalings: Arc<dyn Preconditioning>,
}

impl Denoiser {
    pub(super) fn new(network: Network, precond: &Precond, scalings: Arc<dyn Preconditioning>) -> Self {
        Denoiser { network, precond: precond.clone(), scalings }
    }

    /// The preconditioning and its options.
    pub fn precond(&self) -> &Precond {
        &self.precond
    }

    /// Standard deviation of the data that the model is made for (see [`Precond::sigma_data`]).
    pub fn sigma_data(&self) -> f64 {
        self.precond.sigma_data()
    }

    /// The least and the largest noise level that the model is made for; 0 and infinity where there is no limit.
    pub fn sigma_range(&self) -> (f64, f64) {
        self.scalings.sigma_range()
    }

    /// The noise level next to `sigma` that the model knows: `sigma` itself, except for iDDPM, which has a table.
    ///
    /// Solvers ask for the levels of their grid; [`denoise`](Self::denoise) takes any.
    pub fn round_sigma(&self, sigma: f64) -> f64 {
        self.scalings.round_sigma(sigma)
    }

    /// The factors around the network at noise level `sigma`, which is positive.
    pub fn scaling(&self, sigma: f64) -> Scaling {
        self.scalings.scaling(sigma)
    }

    /// Number of classes that the network takes; 0 if it is unconditional.
    pub fn label_dim(&self) -> usize {
        match &self.network {
            Network::Song(network) => network.config().label_dim,
            Network::Dhariwal(network) => network.config().label_dim,
            Network::Mlp(network) => network.config().label_dim,
        }
    }

    /// Size of the augmentation label that the network takes; 0 if it takes none.
    pub fn augment_dim(&self) -> usize {
        match &self.network {
            Network::Song(network) => network.config().augment_dim,
            Network::Dhariwal(network) => network.config().augment_dim,
            Network::Mlp(_) => 0,
        }
    }

    /// The extents of one sample: `[h, w, channels]` or `[dims]`.
    pub fn sample_shape(&self) -> Vec<usize> {
        let images = |resolution: usize, channels: usize| vec![resolution, resolution, channels];
        match &self.network {
            Network::Song(network) => images(network.config().img_resolution, network.config().img_channels),
            Network::Dhariwal(network) => images(network.config().img_resolution, network.config().img_channels),
            Network::Mlp(network) => vec![network.config().dims],
        }
    }

    /// Multiply-adds of one call for one sample, with a class where the network takes one and without an augmentation label:
    /// convolutions, linear layers and the two products of attention. Twice as many are its floating-point operations.
    ///
    /// Normalisations, activations, resampling and the preconditioning are not counted. `layout` is that of the model's
    /// weights. Errors if it is another network's.
    pub fn multiply_adds(&self, layout: &Layout) -> Result<u64> {
        match &self.network {
            Network::Song(network) => network.multiply_adds(layout),
            Network::Dhariwal(network) => network.multiply_adds(layout),
            Network::Mlp(network) => network.multiply_adds(layout),
        }
    }

    /// The bare network F, for samples `[n, ...]` that are already scaled and noise labels `[n]`. The result is in the context's compute
    /// dtype, and has twice the channels with iDDPM's preconditioning. Errors on other shapes.
    pub fn raw(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var> {
        match &self.network {
            Network::Song(network) => network.forward(cx, x, noise, conditions),
            Network::Dhariwal(network) => network.forward(cx, x, noise, conditions),
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
        let scalings: Vec<Scaling> = sigmas.iter().map(|&sigma| self.scaling(sigma)).collect();
        let device = x.device();
        let column = |f: fn(&Scaling) -> f64| per_sample(scalings.iter().map(f), x.shape().rank(), &device);
        let noise = column(|s| s.c_noise)?.reshape([n])?;
        let scaled = ops::mul(x, &column(|s| s.c_in)?)?;
        let f = self.raw(cx, &scaled, &noise, conditions)?;
        let f = self.first_channels(ops::cast(&f, DType::F32)?, x)?;
        ops::add(&ops::mul(x, &column(|s| s.c_skip)?)?, &ops::mul(&f, &column(|s| s.c_out)?)?)
    }

    /// The channels of `f` that `x` has.
    fn first_channels(&self, f: Var, x: &Var) -> Result<Var> {
        let (axis, channels) = (x.shape().rank() - 1, x.shape().last().copied().unwrap_or(0));
        if f.shape().last() == Some(&channels) { Ok(f) } else { ops::slice(&f, axis, 0..channels) }
    }
}

/// A number for each sample as `[n, 1, ...]` of `rank` axes in f32, to multiply samples with.
pub fn per_sample(values: impl Iterator<Item = f64>, rank: usize, device: &Device) -> Result<Var> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    let mut shape = vec![1; rank];
    if let Some(first) = shape.first_mut() {
        *first = values.len();
    }
    Ok(Tensor::from_slice(&values, shape, device)?.into())
}
