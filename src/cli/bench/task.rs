//! What is done with a network, made ready to run.

use std::cell::Cell;
use std::rc::Rc;

use veridical::diffusion::{Model, ModelConfig, Request, Sampler, Start, per_sample};
use veridical::nn::{Conditions, Context};
use veridical::ops::random::{Address, Draws};
use veridical::random::{Purpose, RandomKey};
use veridical::train::{RunConfig, TrainOptions, Trainer};
use veridical::{DType, Device, Result, Tensor, Var, ops};

use super::case::Work;

/// The seed of weights and data: the same in every run.
const SEED: u64 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// One call of the denoiser, without a tape
    Forward,
    /// Loss, backward pass, optimiser and running average for one batch
    Train,
    /// The preset's sampler from noise to images: 18 steps and 35 calls for CIFAR-10
    Sample,
}

impl Task {
    pub const ALL: [Task; 3] = [Task::Forward, Task::Train, Task::Sample];

    pub fn name(self) -> &'static str {
        match self {
            Task::Forward => "forward",
            Task::Train => "train",
            Task::Sample => "sample",
        }
    }
}

/// A task that can be run again and again.
pub struct Prepared {
    pub work: Work,
    /// Denoiser calls of the last run of the sampler.
    nfe: Option<Rc<Cell<usize>>>,
}

impl Prepared {
    /// Denoiser calls of the sampler, once it has run; `None` for other tasks.
    pub fn nfe(&self) -> Option<usize> {
        self.nfe.as_ref().map(|nfe| nfe.get())
    }
}

/// Fresh weights and random images `[batch, ...]`, for a network that computes in `dtype`. The settings are those of
/// `config`.
///
/// Errors with [`OutOfMemory`](veridical::Error::OutOfMemory) if they do not fit the device.
pub fn prepare(
    task: Task,
    config: &RunConfig,
    model: &ModelConfig,
    dtype: DType,
    batch: u32,
    device: &Device,
) -> Result<Prepared> {
    let model = Model::new(model, SEED, device)?;
    match task {
        Task::Forward => forward(config, model, dtype, batch).map(|work| Prepared { work, nfe: None }),
        Task::Train => train(config, model, dtype, batch).map(|work| Prepared { work, nfe: None }),
        Task::Sample => Ok(sample(config, model, dtype, batch)),
    }
}

fn forward(config: &RunConfig, model: Model, dtype: DType, batch: u32) -> Result<Work> {
    let images = images(&model, batch)?;
    let device = images.device();
    let sigmas = config.loss.loss()?.sigmas(batch as usize, &Address::new(SEED, 0))?;
    let noise = ops::normal(images.shape(), DType::F32, &draws(1), &device)?;
    let deviations = per_sample(sigmas.iter().copied(), images.shape().rank(), &device)?;
    let x = ops::add(images, &ops::mul(noise, &deviations)?)?;
    let weights = model.weights.clone().for_compute(dtype)?;
    Ok(Box::new(move || {
        let cx = Context::inference(&weights).compute_in(dtype);
        model.denoiser().denoise(&cx, &x, &sigmas, Conditions::default()).map(drop)
    }))
}

fn train(config: &RunConfig, model: Model, dtype: DType, batch: u32) -> Result<Work> {
    let images = images(&model, batch)?;
    let augment_labels: Option<Var> = match model.denoiser().augment_dim() {
        0 => None,
        dim => Some(ops::normal([batch as usize, dim], DType::F32, &draws(2), &images.device())?.into()),
    };
    let loss = config.loss.loss()?;
    let denoiser = model.denoiser().clone();
    let options = TrainOptions { compute: dtype, ..config.train_options() };
    // The trainer gets the only copy of the weights, or the first step would have to make another.
    let mut trainer = Trainer::new(model.weights, options)?;
    Ok(Box::new(move || {
        let step = trainer.step(batch as usize, |cx| {
            let conditions = Conditions { class_labels: None, augment_labels: augment_labels.as_ref() };
            loss.forward(cx, &denoiser, &images, conditions)
        });
        step.map(drop)
    }))
}

fn sample(config: &RunConfig, model: Model, dtype: DType, batch: u32) -> Prepared {
    let sampler = Sampler { compute: dtype, at_once: Some(batch as usize), ..config.sampling.sampler() };
    let nfe = Rc::new(Cell::new(0));
    let calls = nfe.clone();
    let work = move || {
        let (start, samples) = (Start::Noise, (0..batch).collect());
        let request =
            Request { model: &model, reference: None, labels: None, start, seed: SEED, samples, trajectory: false };
        calls.set(sampler.draw(&request)?.nfe);
        Ok(())
    };
    Prepared { work: Box::new(work), nfe: Some(nfe) }
}

/// Pixels uniform in [-1, 1): random ones, as matrix units draw less power, and run faster, on zeros.
fn images(model: &Model, batch: u32) -> Result<Tensor> {
    let shape = [&[batch as usize][..], &model.denoiser().sample_shape()].concat();
    let uniform = ops::uniform(shape, DType::F32, &draws(0), &model.weights.device())?;
    Ok(ops::shift(&ops::scale(uniform, 2.0)?, -1.0)?.into_value())
}

/// One site for each tensor of data.
fn draws(site: u32) -> Draws {
    Draws::new(RandomKey::new(SEED, Purpose::Synthetic).at_site(site))
}
