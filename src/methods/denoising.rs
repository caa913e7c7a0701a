//! Noisy images to clean ones: any solver, started from the images themselves at the level of their noise.

use std::sync::Arc;

use crate::data::Images;
use crate::diffusion::solvers::{self, Denoise, FreshNoise, Solver, solve};
use crate::diffusion::{Conditioned, Grid, Model, one_hot, rehearse, sigmas_from};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::SampleIds;
use crate::tensor::{DType, Device, Tensor};

/// How noisy images are denoised.
///
/// The grid is that of sampling, cut at the noise's level, which is put in as it is and not rounded to the grid.
#[derive(Debug, Clone)]
pub struct Denoising {
    /// A solver of the probability-flow ODE, which moves the noisy law onto the model's, or of the reverse SDE, which draws from the posterior
    /// given each image.
    pub solver: Arc<dyn Solver>,
    /// How the levels are spread.
    pub grid: Grid,
    /// Levels of the whole grid, from `sigma_max` on; some of them lie above the noise.
    pub steps: usize,
    /// The last level above 0.
    pub sigma_min: f64,
    /// The first level of the whole grid.
    pub sigma_max: f64,
}

impl Default for Denoising {
    /// The deterministic denoiser of the public code of SFBD: Heun's method on EDM's grid of 40 levels.
    fn default() -> Self {
        Denoising {
            solver: Arc::new(solvers::Heun::default()),
            grid: Grid::default(),
            steps: 40,
            sigma_min: 0.002,
            sigma_max: 80.0,
        }
    }
}

impl Denoising {
    /// `ode` (Heun), `sde` (SDE-DPM-Solver++ 2M), or the name of any [solver](solvers::NAMES). Errors on other names, and on solvers in which
    /// the samples of a batch depend on each other.
    pub fn named(name: &str, steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Self> {
        let solver = match name {
            "ode" => "heun",
            "sde" => "dpmpp-2m-sde",
            other => other,
        };
        let solver = solvers::named(solver, &Default::default())?;
        if solver.couples_samples() {
            return Err(Error::Config(format!("{name} lets images of a batch depend on each other; take another")));
        }
        Ok(Denoising { solver, grid: Grid::Karras { rho }, steps, sigma_min, sigma_max })
    }

    /// The levels from `sigma` on. Errors unless it lies above the grid's last level.
    pub fn sigmas(&self, sigma: f64) -> Result<Vec<f64>> {
        sigmas_from(&self.grid.sigmas(self.steps, self.sigma_min, self.sigma_max)?, sigma)
    }

    /// Errors where denoising noise of level `sigma` by `model` would, but for what its weights do on the way: the solver runs over its whole
    /// grid with one sample of a Gaussian, and the network is asked twice.
    pub fn rehearse(&self, model: &Model, sigma: f64) -> Result<()> {
        let mut noise = FreshNoise::new(0, SampleIds::From(0));
        rehearse(self.solver.as_ref(), &self.sigmas(sigma)?, &mut noise, model, DType::F32)
    }

    /// Denoises `noisy` `[n, ...]`, whose noise is of level `sigma`, with any denoiser; arithmetic is in its dtype. What a stochastic solver
    /// adds is a pure function of seed and sample.
    pub fn run(
        &self,
        denoise: &mut dyn Denoise,
        noisy: &Tensor,
        sigma: f64,
        (seed, samples): (u64, SampleIds),
    ) -> Result<Tensor> {
        let mut noise = FreshNoise::new(seed, samples);
        let sigmas = self.sigmas(sigma)?;
        Ok(solve(self.solver.as_ref(), denoise, noisy, &sigmas, &mut noise, &mut |_| Ok(()))?.x)
    }

    /// Denoises the images at `indices`, which are their samples too, with a model. Returns their pixels.
    ///
    /// Errors if the images are not the model's size, and if a result is not finite.
    pub fn images(&self, model: &Model, noisy: &Images, indices: &[u32], sigma: f64, seed: u64) -> Result<Vec<f32>> {
        let device = model.weights.device();
        let (pixels, classes) = noisy.gather(indices)?;
        let shape = [&[indices.len()][..], &model.denoiser().sample_shape()].concat();
        if pixels.len() != shape.iter().product::<usize>() {
            let expected = format!("images of {:?}", &shape[1..]);
            return Err(Error::shape("denoising", expected, format!("{:?}", noisy.size())));
        }
        let labels = match model.denoiser().label_dim() {
            0 => None,
            _ => Some(one_hot(model, &classes)?),
        };
        let samples = SampleIds::Each(Tensor::from_slice(indices, [indices.len()], &device)?);
        // The solver's own arithmetic costs nothing beside the network's.
        let dtype = if matches!(device, Device::Cpu) { DType::F64 } else { DType::F32 };
        let x = ops::cast(&Tensor::from_slice(&pixels, shape, &device)?.into(), dtype)?.into_value();
        let mut denoise = Conditioned::new(model, labels.as_ref(), DType::F32)?;
        let denoised = self.run(&mut denoise, &x, sigma, (seed, samples))?;
        let denoised = ops::cast(&denoised.into(), DType::F32)?.value().to_vec::<f32>()?;
        match denoised.iter().position(|value| !value.is_finite()) {
            None => Ok(denoised),
            Some(i) => Err(Error::NonFinite {
                what: format!("denoised image {}", indices[i / noisy.values()]),
                found: "NaN or infinity; the model's weights have diverged".into(),
            }),
        }
    }
}
