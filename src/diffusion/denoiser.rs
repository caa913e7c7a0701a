//! A network that is told how to scale what it sees and what it says.

use std::sync::Arc;

use super::precond::{Precond, Preconditioning, Scaling};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::{Conditions, Context, Init, Layout, NetworkConfig, Scope, ScoreNetwork};
use crate::ops;
use crate::tensor::{DType, Device, Tensor};

/// The denoiser `D(x; sigma)`: the expected clean data, given noisy data `x = y + sigma n`.
#[derive(Debug, Clone)]
pub struct Denoiser {
    network: Arc<dyn ScoreNetwork>,
    config: NetworkConfig,
    /// Channels of what the network gives.
    outputs: usize,
    precond: Precond,
    scalings: Arc<dyn Preconditioning>,
}

impl Denoiser {
    /// Registers the parameters of `network` in `scope`, behind `precond`. Errors on options that make no network.
    pub(super) fn build(network: &NetworkConfig, precond: &Precond, scope: &mut Scope) -> Result<Self> {
        let scalings = precond.build()?;
        let shape = network.sample_shape();
        let Some(&channels) = shape.last().filter(|_| shape.iter().all(|&extent| extent > 0)) else {
            let what = format!("{} takes samples of shape {shape:?}; expected positive extents", network.model_type());
            return Err(Error::Config(what));
        };
        let outputs = scalings.outputs(channels);
        let built = network.build(scope, outputs)?;
        if let Some(table) = scalings.table() {
            scope.buffer("u", [table.len()], Init::Fixed(table.to_vec()));
        }
        Ok(Denoiser { network: built, config: network.clone(), outputs, precond: precond.clone(), scalings })
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

    /// What names the kind of network, such as `SongUNet`.
    pub fn model_type(&self) -> &'static str {
        self.config.model_type()
    }

    /// Whether a forward pass may leave out parameters; see [`ScoreNetwork::may_leave_out`].
    pub fn may_leave_out(&self) -> bool {
        self.network.may_leave_out()
    }

    /// Number of classes that the network takes; 0 if it is unconditional.
    pub fn label_dim(&self) -> usize {
        self.config.label_dim()
    }

    /// The probability with which training kept a sample's class from the network, if the network's options say it: 0
    /// where it knows nothing of samples without a class.
    pub fn label_dropout(&self) -> Option<f64> {
        self.config.to_fields().ok()?.get("label_dropout")?.as_f64()
    }

    /// Size of the augmentation label that the network takes; 0 if it takes none.
    pub fn augment_dim(&self) -> usize {
        self.config.augment_dim()
    }

    /// The extents of one sample: `[h, w, channels]` or `[dims]`.
    pub fn sample_shape(&self) -> Vec<usize> {
        self.config.sample_shape()
    }

    /// Multiply-adds of one call for one sample, with a class where the network takes one and without an augmentation
    /// label: convolutions, linear layers and the two products of attention. Twice as many are its floating-point
    /// operations. `None` for a network that does not count them.
    ///
    /// Normalisations, activations, resampling and the preconditioning are not counted. `layout` is that of the model's
    /// weights. Errors if it is another network's.
    pub fn multiply_adds(&self, layout: &Layout) -> Result<Option<u64>> {
        self.network.multiply_adds(layout)
    }

    /// The bare network F, for samples `[n, ...]` that are already scaled and noise labels `[n]`. The result is in the
    /// context's compute dtype (or f32, if the network has it so), and has twice the channels with iDDPM's
    /// preconditioning. Errors on other shapes, also of what the network gives.
    pub fn raw(&self, cx: &Context, x: &Var, noise: &Var, conditions: Conditions) -> Result<Var> {
        let f = self.network.forward(cx, x, noise, conditions)?;
        let mut expected = x.shape().to_vec();
        if let Some(channels) = expected.last_mut() {
            *channels = self.outputs;
        }
        if f.shape()[..] != expected[..] {
            let what = format!("a result {expected:?} for samples {}", x.shape());
            return Err(Error::shape(self.model_type(), what, f.shape()));
        }
        if f.dtype() != cx.compute() && f.dtype() != DType::F32 {
            let what = format!("a result in {}, which is computed in, or in f32", cx.compute());
            return Err(Error::dtype(self.model_type(), what, f.dtype()));
        }
        Ok(f)
    }

    /// `D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)` for f32 samples `[n, ...]` (images NHWC) and one sigma each.
    ///
    /// The result is f32, whatever the context computes in. Errors on other shapes, and unless every sigma is positive
    /// and finite.
    pub fn denoise(&self, cx: &Context, x: &Var, sigmas: &[f64], conditions: Conditions) -> Result<Var> {
        self.check(x.value(), sigmas)?;
        let factors = self.factors(sigmas, &x.device())?;
        self.combine(cx, x, &factors, conditions)
    }

    /// Errors unless there are f32 samples and a positive, finite noise level for each.
    pub(super) fn check(&self, x: &Tensor, sigmas: &[f64]) -> Result<()> {
        let n = x.shape().first().copied().unwrap_or(0);
        if x.shape().rank() == 0 || sigmas.len() != n || x.dtype() != DType::F32 {
            let got = format!("{}{} and {} sigmas", x.dtype(), x.shape(), sigmas.len());
            return Err(Error::shape("denoise", "f32 samples [n, ...] and n sigmas", got));
        }
        match sigmas.iter().find(|sigma| !(sigma.is_finite() && **sigma > 0.0)) {
            Some(bad) => Err(Error::argument("denoise", format!("sigma must be positive and finite, got {bad}"))),
            None => Ok(()),
        }
    }

    /// What goes to the device for these noise levels: c_noise, c_in, c_skip and c_out of each, `[4, n]` f32.
    pub(super) fn factors(&self, sigmas: &[f64], device: &Device) -> Result<Tensor> {
        let scalings: Vec<Scaling> = sigmas.iter().map(|&sigma| self.scaling(sigma)).collect();
        let rows: [fn(&Scaling) -> f64; 4] = [|s| s.c_noise, |s| s.c_in, |s| s.c_skip, |s| s.c_out];
        let values: Vec<f32> = rows.iter().flat_map(|of| scalings.iter().map(|s| of(s) as f32)).collect();
        Tensor::from_slice(&values, [4, sigmas.len()], device)
    }

    /// [`denoise`](Self::denoise) with what [`factors`](Self::factors) gave.
    pub(super) fn combine(&self, cx: &Context, x: &Var, factors: &Tensor, conditions: Conditions) -> Result<Var> {
        let n = x.shape().first().copied().unwrap_or(0);
        let mut each = vec![1; x.shape().rank()];
        each[0] = n;
        let row = |i: usize| -> Result<Var> { Ok(factors.narrow(i, 1)?.reshape(&*each)?.into()) };
        let noise = factors.narrow(0, 1)?.reshape([n])?.into();
        let scaled = ops::mul(x, &row(1)?)?;
        let f = self.raw(cx, &scaled, &noise, conditions)?;
        let f = self.first_channels(ops::cast(&f, DType::F32)?, x)?;
        ops::add(&ops::mul(x, &row(2)?)?, &ops::mul(&f, &row(3)?)?)
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
