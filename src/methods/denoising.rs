//! Noisy images to clean ones: any solver, started from the images themselves at the level of their noise.

use crate::data::Images;
use crate::diffusion::{Grid, Model, Request, Sampler, Start, one_hot, solvers};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use crate::train::config::Sampling;

/// The denoiser called `ode` (Heun's method on the probability-flow ODE, which moves the noisy law onto the model's),
/// `sde` (SDE-DPM-Solver++ 2M, which draws from the posterior given each image), or by the name of any
/// [solver](solvers::NAMES).
///
/// `steps` are the levels of the whole grid, from `sigma_max` on; some of them lie above the noise. Errors on other
/// names, and on solvers in which the samples of a batch depend on each other.
pub fn denoiser(name: &str, steps: usize, grid: &Sampling) -> Result<Sampler> {
    let solver = match name {
        "ode" => "heun",
        "sde" => "dpmpp-2m-sde",
        other => other,
    };
    let solver = solvers::named(solver, &Default::default())?;
    if solver.couples_samples() {
        return Err(Error::Config(format!("{name} lets images of a batch depend on each other; take another")));
    }
    let Sampling { sigma_min, sigma_max, rho, .. } = *grid;
    // A round has noise of its own in every step, not that of one path.
    let brownian = Some(false);
    Ok(Sampler { solver, grid: Grid::Karras { rho }, steps, sigma_min, sigma_max, brownian, ..Sampler::default() })
}

/// The pixels of the images at `indices`, which are their samples too, denoised by a model from `(y, sigma)` to 0.
///
/// Errors if the images are not the model's size, and if a result is not finite.
pub fn denoise(
    sampler: &Sampler,
    model: &Model,
    noisy: &Images,
    indices: &[u32],
    sigma: f64,
    seed: u64,
) -> Result<Vec<f32>> {
    let (pixels, classes) = noisy.gather(indices)?;
    let shape = [&[indices.len()][..], &model.denoiser().sample_shape()].concat();
    if pixels.len() != shape.iter().product::<usize>() {
        let expected = format!("images of {:?}", &shape[1..]);
        return Err(Error::shape("denoising", expected, format!("{:?}", noisy.size())));
    }
    let labels = (model.denoiser().label_dim() > 0).then(|| one_hot(model, &classes)).transpose()?;
    let start = Start::Noisy { images: Tensor::from_vec(pixels, shape, &model.weights.device())?, sigma };
    let samples = indices.to_vec();
    let request = Request { model, reference: None, labels, start, seed, samples, trajectory: false };
    sampler.draw(&request)?.samples.to_vec()
}
