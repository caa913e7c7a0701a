//! New samples from a model.

use super::model::Model;
use super::sigmas::karras_sigmas;
use super::solvers::heun;
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::Draws;
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device, Tensor};

/// Heun's method on EDM's grid of noise levels, deterministic after the first noise. The defaults are EDM's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Solver steps; the network runs `2 steps - 1` times.
    pub steps: usize,
    /// The noise level before the last step.
    pub sigma_min: f64,
    /// The noise level at the start.
    pub sigma_max: f64,
    /// How closely the levels lie near the end.
    pub rho: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler { steps: 18, sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 }
    }
}

impl Sampler {
    /// `count` samples of an unconditional model, `[count, ...]` in f32 (images NHWC).
    ///
    /// They are samples `first` and following of the seed; each is the same whatever others it is made with. Errors if the
    /// model takes classes, on settings that make no grid, and if a sample is not finite.
    pub fn sample(&self, model: &Model, seed: u64, first: u32, count: usize) -> Result<Tensor> {
        match model.denoiser().label_dim() {
            0 => self.run(model, seed, first, count, None),
            known => {
                let what = format!("the model takes a class for each sample, one of {known}; use `sample_classes`");
                Err(Error::argument("sample", what))
            }
        }
    }

    /// As [`sample`](Self::sample), for a model with classes: one sample for each entry of `classes`. Errors on classes that the
    /// model does not have.
    pub fn sample_classes(&self, model: &Model, seed: u64, first: u32, classes: &[u32]) -> Result<Tensor> {
        let known = model.denoiser().label_dim();
        if let Some(unknown) = classes.iter().find(|&&class| class as usize >= known) {
            return Err(Error::argument("sample", format!("class {unknown}; the model has {known}, counted from 0")));
        }
        let index = Tensor::from_slice(classes, [classes.len()], &model.weights.device())?;
        self.run(model, seed, first, classes.len(), Some(&ops::one_hot(&index, known, DType::F32)?))
    }

    fn run(&self, model: &Model, seed: u64, first: u32, count: usize, labels: Option<&Tensor>) -> Result<Tensor> {
        let device = model.weights.device();
        let sigmas = karras_sigmas(self.steps, self.sigma_min, self.sigma_max, self.rho)?;
        // The solver's own arithmetic costs nothing beside the network's.
        let dtype = if matches!(device, Device::Cpu) { DType::F64 } else { DType::F32 };
        let shape = [&[count][..], &model.denoiser().sample_shape()].concat();
        let draws = Draws::from_sample(RandomKey::new(seed, Purpose::Latents), first);
        let noise = ops::normal(shape, dtype, &draws, &device)?;
        let start = ops::scale(&noise.into(), sigmas[0])?.into_value();
        let samples = heun(&mut |x: &Tensor, sigma| model.denoise(x, sigma, labels), &start, &sigmas)?;
        let samples = ops::cast(&samples.into(), DType::F32)?.into_value();
        if let Some(i) = samples.to_vec::<f32>()?.iter().position(|value| !value.is_finite()) {
            let what = format!("sample {}", first as usize + i / (samples.len() / count));
            return Err(Error::NonFinite { what, found: "NaN or infinity; the model's weights have diverged".into() });
        }
        Ok(samples)
    }
}
