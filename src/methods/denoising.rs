//! Noisy images to clean ones: any solver, started from the images themselves at the level of their noise.

use crate::data::Images;
use crate::diffusion::{Grid, Model, Request, Sampler, Start, one_hot, solvers};
use crate::error::{Error, Result};
use crate::nn::Conditions;
use crate::random::RandomKey;
use crate::tensor::Tensor;
use crate::train::config::Sampling;

use super::noisy::NoiseLevels;

/// Images that are denoised at once.
const AT_ONCE: usize = 64;

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

/// The pixels of the images at `indices`, which are their samples too, denoised by a model from `(y, sigma)` to 0, each
/// from its own level.
///
/// Errors if the images are not the model's size, and if a result is not finite.
pub fn denoise(
    sampler: &Sampler,
    model: &Model,
    noisy: &Images,
    indices: &[u32],
    levels: &NoiseLevels,
    seed: u64,
) -> Result<Vec<f32>> {
    let groups = levels.groups(indices);
    if let [(sigma, _)] = groups[..] {
        return denoise_at(sampler, model, noisy, indices, sigma, seed);
    }
    let values = noisy.values();
    let mut denoised = vec![0f32; indices.len() * values];
    for (sigma, places) in groups {
        let of_level: Vec<u32> = places.iter().map(|&place| indices[place]).collect();
        let part = denoise_at(sampler, model, noisy, &of_level, sigma, seed)?;
        for (place, pixels) in places.into_iter().zip(part.chunks_exact(values)) {
            denoised[place * values..][..values].copy_from_slice(pixels);
        }
    }
    Ok(denoised)
}

/// As [`denoise`], of images whose noise has one level.
fn denoise_at(
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
    let labels = labels(model, noisy, &classes)?;
    let start = Start::Noisy { images: Tensor::from_vec(pixels, shape, &model.weights.device())?, sigma };
    let samples = indices.to_vec();
    let request = Request { model, reference: None, labels, start, seed, samples, trajectory: false };
    sampler.draw(&request)?.samples.to_vec()
}

/// The classes of images for a model that takes some; none for images of which nobody says them.
fn labels(model: &Model, images: &Images, classes: &[u32]) -> Result<Option<Tensor>> {
    let told = model.denoiser().label_dim() > 0 && images.classes() > 1;
    told.then(|| one_hot(model, classes)).transpose()
}

/// What the images at `indices` are expected to be without their noise: one evaluation of the model, at the level of
/// each. Pixels as the model sees them.
///
/// Errors if the images are not the model's size.
pub fn posterior_mean(model: &Model, noisy: &Images, indices: &[u32], levels: &NoiseLevels) -> Result<Vec<f32>> {
    let mut denoised = Vec::with_capacity(indices.len() * noisy.values());
    for part in indices.chunks(AT_ONCE) {
        let (pixels, classes) = noisy.gather(part)?;
        let shape = [&[part.len()][..], &model.denoiser().sample_shape()].concat();
        let x = Tensor::from_vec(pixels, shape, &model.weights.device())?;
        let sigmas: Vec<f64> = part.iter().map(|&i| levels.of(i as usize)).collect();
        let labels = labels(model, noisy, &classes)?.map(Into::into);
        let conditions = Conditions { class_labels: labels.as_ref(), augment_labels: None };
        denoised.extend(model.denoise_each(&x, &sigmas, conditions)?.to_vec::<f32>()?);
    }
    Ok(denoised)
}

/// A draw for each of the images at `indices` from what they may have been without their noise, by the backward SDE
/// from the level of each on the part below it of a grid of `steps` levels. A draw is a pure function of seed, its
/// number and the image's index.
///
/// Errors where [`denoise`] does.
pub fn posterior_draws(
    model: &Model,
    noisy: &Images,
    indices: &[u32],
    levels: &NoiseLevels,
    steps: usize,
    (seed, draw): (u64, u32),
) -> Result<Vec<f32>> {
    let [least, _] = levels.range();
    let grid = Sampling::default();
    // However little noise there is, some of the grid lies below it.
    let sampler = denoiser("sde", steps, &Sampling { sigma_min: grid.sigma_min.min(least / 100.0), ..grid })?;
    denoise(&sampler, model, noisy, indices, levels, RandomKey::stage_seed(seed, draw)?)
}
