//! Finding out, before hours of work hang on it, whether samples can be drawn.

use super::model::Model;
use super::sampler::Sampler;
use super::solvers::{Denoise, Noise, Solver, solve};
use crate::error::{Error, Result};
use crate::nn::{Conditions, Context};
use crate::ops;
use crate::ops::random::{Draws, SampleIds};
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device, Tensor};

impl Sampler {
    /// Errors where drawing from `model` would, but for what its weights do on the way: the solver takes its whole grid
    /// with an exact denoiser in the network's place. `start` is the noise level of samples that are not drawn from
    /// noise alone.
    pub fn rehearse(&self, model: &Model, start: Option<f64>) -> Result<()> {
        let sigmas = self.sigmas(model, start)?;
        let mut noise = self.noise(0, SampleIds::From(0), &sigmas)?;
        rehearse(self.solver.as_ref(), &sigmas, noise.as_mut(), model, self.compute)
    }
}

/// Runs `solver` over the whole of `sigmas` with one sample, where Gaussian data of the model's standard deviation,
/// whose denoiser has a closed form, stand in for the network; the network itself is asked twice, at the first level
/// and the last above 0.
///
/// Errors where solver and network do, and if what they return is not finite.
fn rehearse(solver: &dyn Solver, sigmas: &[f64], noise: &mut dyn Noise, model: &Model, compute: DType) -> Result<()> {
    let shape = [&[1][..], &model.denoiser().sample_shape()].concat();
    let draws = Draws { key: RandomKey::new(0, Purpose::Latents), samples: SampleIds::From(0) };
    let unit = ops::normal(shape.as_slice(), DType::F64, &draws, &Device::Cpu)?;
    let at = |sigma: f64, dtype| -> Result<Tensor> { Ok(ops::cast(&ops::scale(&unit, sigma)?, dtype)?.into_value()) };
    // The dtype that the state has on the model's device, on the CPU, where single samples cost least.
    let state = model.weights.device().state_dtype();
    let first = sigmas.first().copied().unwrap_or(f64::NAN);
    let end = solve(solver, &mut Gaussian(model), &at(first, state)?, sigmas, noise, &mut |_| Ok(()))?.x;
    finite(&end, || format!("a sample of Gaussian data by {solver:?} from sigma {first:?}"))?;

    let last = sigmas.iter().copied().filter(|sigma| *sigma > 0.0).fold(first, f64::min);
    for sigma in [first, last] {
        let x = at(sigma, DType::F32)?;
        finite(&x, || format!("noise of sigma {sigma:?} in f32"))?;
        let cx = Context::inference(&model.weights).compute_in(compute);
        let x = x.to_device(&model.weights.device())?.into();
        let denoised = model.denoiser().denoise(&cx, &x, &[sigma], Conditions::default())?.into_value();
        finite(&denoised, || format!("the network's answer to noise of sigma {sigma:?}"))?;
    }
    Ok(())
}

/// The denoiser of `N(0, sigma_data^2)`, with the levels that a model knows.
struct Gaussian<'a>(&'a Model);

impl Denoise for Gaussian<'_> {
    fn at(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let ratio = sigma / self.0.denoiser().sigma_data();
        Ok(ops::scale(x, 1.0 / (1.0 + ratio * ratio))?.into_value())
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        self.0.denoiser().round_sigma(sigma)
    }
}

fn finite(x: &Tensor, what: impl FnOnce() -> String) -> Result<()> {
    let narrow = |value: &f64| !(*value as f32).is_finite();
    match x.to_f64()?.iter().find(|value| narrow(value)) {
        None => Ok(()),
        Some(value) => Err(Error::NonFinite { what: what(), found: format!("{value:?}") }),
    }
}
