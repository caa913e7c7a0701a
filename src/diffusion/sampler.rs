//! New samples from a model.

use std::sync::Arc;

use super::conditioned::Conditioned;
use super::guidance::{Guidance, Guided};
use super::model::Model;
use super::noised::noised;
use super::sigmas::{Grid, sigmas_from};
use super::solvers::{BrownianPath, Denoise, FreshNoise, Heun, Noise, PathUse, Solver, solve};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::{Draws, SampleIds};
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device, Tensor};

/// How samples are drawn. The state is f64 on the CPU, f32 on a GPU (see [`draw`](Self::draw)). The defaults are EDM's:
/// Heun's method in 18 steps, no churn, sigma from 80 to 0.002 with rho = 7.
///
/// ```
/// use veridical::diffusion::{Model, ModelConfig, Sampler, solvers};
/// use veridical::{Device, nn::MlpConfig};
/// # fn main() -> veridical::Result<()> {
/// let model = Model::new(&ModelConfig::new(MlpConfig::new(2)), 0, &Device::Cpu)?;
/// let sampler = Sampler { steps: 10, solver: solvers::named("dpmpp-2m", &Default::default())?, ..Sampler::default() };
/// let points = sampler.sample(&model, 7, 0, 100)?; // samples 0 to 99 of seed 7
/// assert_eq!(points.shape()[..], [100, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    /// The method.
    pub solver: Arc<dyn Solver>,
    /// How the noise levels are spread.
    pub grid: Grid,
    /// Noise levels above 0.
    pub steps: usize,
    /// The noise level before the last step; clipped to what the model knows.
    pub sigma_min: f64,
    /// The noise level at the start; clipped to what the model knows.
    pub sigma_max: f64,
    /// Whether a stochastic solver's noise belongs to one Brownian path, so that step counts compare; `None` leaves it
    /// to [the solver](Solver::path_use).
    pub brownian: Option<bool>,
    /// What steers the samples; classifier-free unless a request has a reference.
    pub guidance: Option<Guidance>,
    /// What the network computes in: f32 or bf16.
    pub compute: DType,
    /// Samples that are drawn together, at least 1; `None`: as many as caches (on a GPU, some gigabytes of memory)
    /// like.
    pub at_once: Option<usize>,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler {
            solver: Arc::new(Heun::default()),
            grid: Grid::default(),
            steps: 18,
            sigma_min: 0.002,
            sigma_max: 80.0,
            brownian: None,
            guidance: None,
            compute: DType::F32,
            at_once: None,
        }
    }
}

/// What samples start from.
#[derive(Debug, Clone)]
pub enum Start {
    /// Noise of the seed, at the first level of the grid.
    Noise,
    /// Given noise of unit variance `[n, ...]` f32, scaled to the first level.
    Latents(Tensor),
    /// Given samples `[n, ...]` f32 behind noise of the seed at level `sigma`: image to image.
    Image {
        /// The clean samples.
        images: Tensor,
        /// The noise level that they are taken to.
        sigma: f64,
    },
    /// Given samples `[n, ...]` f32 that have noise of level `sigma` already.
    Noisy {
        /// The noisy samples.
        images: Tensor,
        /// The noise level that they have.
        sigma: f64,
    },
}

/// What is to be drawn.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The model.
    pub model: &'a Model,
    /// What guidance steers away from; `None`: the model itself without classes.
    pub reference: Option<&'a Model>,
    /// `[n, label_dim]` f32, all zeros for no class; `None` for a model without classes.
    pub labels: Option<Tensor>,
    /// Where to start.
    pub start: Start,
    /// The seed of all random numbers.
    pub seed: u64,
    /// Which samples of the seed: each is the same whatever others it is drawn with (on a GPU up to rounding: how its
    /// sums are cut into parts may depend on the batch).
    pub samples: Vec<u32>,
    /// Whether to keep the way.
    pub trajectory: bool,
}

/// What was drawn.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// `[n, ...]` in f32 (images NHWC).
    pub samples: Tensor,
    /// Denoiser calls, of the sample that took most. A guided call counts once.
    pub nfe: usize,
    /// Noise level and samples `[n, ...]` f32 before each step and after the last, if asked for.
    pub trajectory: Vec<(f64, Tensor)>,
}

impl Sampler {
    /// `count` samples of an unconditional model, `[count, ...]` in f32 (images NHWC).
    ///
    /// They are samples `first` and following of the seed; each is the same whatever others it is made with, on a GPU
    /// up to rounding. Errors if the model takes classes, on settings that make no grid, and if a sample is not finite.
    pub fn sample(&self, model: &Model, seed: u64, first: u32, count: usize) -> Result<Tensor> {
        match model.denoiser().label_dim() {
            0 => self.simple(model, seed, first, count, None),
            known => {
                let what = format!("the model takes a class for each sample, one of {known}; use `sample_classes`");
                Err(Error::argument("sample", what))
            }
        }
    }

    /// As [`sample`](Self::sample), for a model with classes: one sample for each entry of `classes`. Errors on classes
    /// that the model does not have.
    pub fn sample_classes(&self, model: &Model, seed: u64, first: u32, classes: &[u32]) -> Result<Tensor> {
        let labels = one_hot(model, classes)?;
        self.simple(model, seed, first, classes.len(), Some(labels))
    }

    fn simple(&self, model: &Model, seed: u64, first: u32, count: usize, labels: Option<Tensor>) -> Result<Tensor> {
        let samples = (0..count as u32).map(|i| first.wrapping_add(i)).collect();
        let start = Start::Noise;
        Ok(self.draw(&Request { model, reference: None, labels, start, seed, samples, trajectory: false })?.samples)
    }

    /// The noise levels for a model: the grid, from `start` on if there is one, each rounded to what the model knows.
    /// Errors on settings that make no grid.
    pub fn sigmas(&self, model: &Model, start: Option<f64>) -> Result<Vec<f64>> {
        let denoiser = model.denoiser();
        if self.sigma_min.is_nan() || self.sigma_max.is_nan() {
            let what =
                format!("sigma_min is {} and sigma_max {}; give two noise levels", self.sigma_min, self.sigma_max);
            return Err(Error::argument("sampler", what));
        }
        let (low, high) = denoiser.sigma_range();
        let sigmas = self.grid.sigmas(self.steps, self.sigma_min.max(low), self.sigma_max.min(high))?;
        let mut sigmas = start.map_or(Ok(sigmas.clone()), |sigma| sigmas_from(&sigmas, sigma))?;
        for sigma in sigmas.iter_mut().filter(|sigma| **sigma > 0.0 && sigma.is_finite()) {
            *sigma = denoiser.round_sigma(*sigma);
        }
        // Levels that fall strictly may round to the same one.
        sigmas.dedup();
        Ok(sigmas)
    }

    /// Draws what is asked for. The state that the solver works on is f64 on the CPU and f32 on a GPU, as GPU tensors
    /// have no f64 in this crate: there, every step rounds to f32.
    ///
    /// Many samples are drawn some at a time, as memory and caches like it; each is the same whatever others it is
    /// drawn with.
    ///
    /// Errors on shapes that are not the model's, on settings that make no grid or no guidance, and if a sample is not
    /// finite.
    pub fn draw(&self, request: &Request) -> Result<Drawn> {
        let n = request.samples.len();
        let at_once = match self.solver.couples_samples() {
            true => 1,
            false => self.at_once.unwrap_or_else(|| at_once(request.model)).max(1),
        };
        if n <= at_once {
            return self.draw_together(request);
        }
        let parts = (0..n).step_by(at_once).map(|i| self.draw_together(&request.part(i, at_once.min(n - i))?));
        let parts: Vec<Drawn> = parts.collect::<Result<_>>()?;
        if parts.iter().any(|part| !part.same_levels(&parts[0])) {
            let what =
                format!("{:?} takes other steps for each sample: ask for the trajectory of one alone", self.solver);
            return Err(Error::Config(what));
        }
        let join = |of: &dyn Fn(&Drawn) -> Tensor| -> Result<Tensor> {
            let parts: Vec<_> = parts.iter().map(|part| of(part).into()).collect();
            Ok(ops::concat(&parts.iter().collect::<Vec<_>>(), 0)?.into_value())
        };
        let trajectory = parts[0].trajectory.iter().enumerate();
        Ok(Drawn {
            samples: join(&|part| part.samples.clone())?,
            nfe: parts.iter().map(|part| part.nfe).max().unwrap_or(0),
            trajectory: trajectory
                .map(|(i, (sigma, _))| Ok((*sigma, join(&|part| part.trajectory[i].1.clone())?)))
                .collect::<Result<_>>()?,
        })
    }

    fn draw_together(&self, request: &Request) -> Result<Drawn> {
        let model = request.model;
        let device = model.weights.device();
        let ids = SampleIds::Each(Tensor::from_slice(&request.samples, [request.samples.len()], &device)?);
        let (x, sigmas) = self.start(request, &ids)?;
        let mut noise = self.noise(request.seed, ids, &sigmas)?;
        let main = Conditioned::new(model, request.labels.as_ref(), self.compute)?;
        let mut denoise: Box<dyn Denoise> = match &self.guidance {
            None => Box::new(main),
            Some(guidance) => {
                guidance.check()?;
                Box::new(Guided { main, reference: self.reference(request)?, guidance: *guidance })
            }
        };
        let mut trajectory = Vec::new();
        let solution = solve(self.solver.as_ref(), denoise.as_mut(), &x, &sigmas, noise.as_mut(), &mut |state| {
            if request.trajectory {
                trajectory.push((state.sigma, cast(state.x, DType::F32)?));
            }
            Ok(())
        })?;
        let samples = cast(&solution.x, DType::F32)?;
        if let Some(i) = samples.to_vec::<f32>()?.iter().position(|value| !value.is_finite()) {
            let what = format!("sample {}", request.samples[i / (samples.len() / request.samples.len())]);
            let found =
                "NaN or infinity; the model's weights have diverged, or the solver left its stable range".into();
            return Err(Error::NonFinite { what, found });
        }
        Ok(Drawn { samples, nfe: solution.nfe, trajectory })
    }

    /// What a stochastic solver adds on its way over `sigmas`: fresh noise, or that of one Brownian path. Errors on a
    /// path for a solver that cannot do with one.
    pub(super) fn noise(&self, seed: u64, ids: SampleIds, sigmas: &[f64]) -> Result<Box<dyn Noise>> {
        let path_use = self.solver.path_use();
        if self.brownian == Some(true) && path_use == PathUse::Never {
            return Err(Error::Config(format!(
                "{:?} needs fresh noise, from one Brownian path it would draw another distribution; leave out the path, or the churn or corrector steps",
                self.solver
            )));
        }
        let positive: Vec<f64> = sigmas.iter().copied().filter(|sigma| *sigma > 0.0).collect();
        Ok(match (self.brownian.unwrap_or(path_use == PathUse::Meant), positive.as_slice()) {
            (true, [first, .., last]) => Box::new(BrownianPath::new(seed, ids, *last, *first)?),
            _ => Box::new(FreshNoise::new(seed, ids)),
        })
    }

    /// The denoiser that guidance steers away from.
    fn reference<'a>(&self, request: &Request<'a>) -> Result<Conditioned<'a>> {
        let model = request.model;
        let Some(reference) = request.reference else {
            if model.denoiser().label_dim() == 0 {
                return Err(Error::Config(
                    "classifier-free guidance needs a model with classes; give a second model to guide with".into(),
                ));
            }
            let dim = model.denoiser().label_dim();
            let labels = request.labels.as_ref().map(|labels| labels.to_vec::<f32>()).transpose()?.unwrap_or_default();
            let has_class = |i: usize| labels.chunks(dim).nth(i).is_some_and(|row| row.iter().any(|&x| x != 0.0));
            let acts = self.guidance.is_some_and(|guidance| guidance.weight != 1.0);
            if let Some(i) = (0..request.samples.len()).find(|&i| acts && !has_class(i)) {
                return Err(Error::Config(format!(
                    "guidance away from no class does nothing for sample {}, which has no class; give it one, or a second model to guide with",
                    request.samples[i]
                )));
            }
            return Conditioned::new(model, None, self.compute);
        };
        if reference.denoiser().sample_shape() != model.denoiser().sample_shape() {
            let (a, b) = (reference.denoiser().sample_shape(), model.denoiser().sample_shape());
            return Err(Error::Config(format!("the model to guide with draws {a:?}, the model itself {b:?}")));
        }
        // A reference without classes serves for all of them.
        let labels = request.labels.as_ref().filter(|_| reference.denoiser().label_dim() > 0);
        Conditioned::new(reference, labels, self.compute)
    }

    /// The first state and the grid that it starts on.
    fn start(&self, request: &Request, ids: &SampleIds) -> Result<(Tensor, Vec<f64>)> {
        let model = request.model;
        let device = model.weights.device();
        let dtype = device.state_dtype();
        let shape = [&[request.samples.len()][..], &model.denoiser().sample_shape()].concat();
        let given = |tensor: &Tensor, what: &'static str| match tensor.shape()[..] == shape[..] {
            true => cast(&tensor.to_device(&device)?, dtype),
            false => Err(Error::shape(what, format!("{shape:?}"), tensor.shape())),
        };
        if let Some(labels) = &request.labels
            && labels.shape().first() != shape.first()
        {
            return Err(Error::shape(
                "class labels",
                format!("a row for each of {} samples", shape[0]),
                labels.shape(),
            ));
        }
        let draws = Draws { key: RandomKey::new(request.seed, Purpose::Latents), samples: ids.clone() };
        Ok(match &request.start {
            Start::Noise => {
                let sigmas = self.sigmas(model, None)?;
                let noise = ops::normal(shape, dtype, &draws, &device)?;
                (ops::scale(noise, first(&sigmas))?.into_value(), sigmas)
            }
            Start::Latents(latents) => {
                let sigmas = self.sigmas(model, None)?;
                (ops::scale(given(latents, "latents")?, first(&sigmas))?.into_value(), sigmas)
            }
            Start::Image { images, sigma } => {
                let sigmas = self.sigmas(model, Some(*sigma))?;
                let images = given(images, "images to start from")?;
                (noised(images, first(&sigmas), &draws)?.into_value(), sigmas)
            }
            Start::Noisy { images, sigma } => {
                let mut sigmas = self.sigmas(model, Some(*sigma))?;
                // The level that they have, whether the model knows it or not.
                if let Some(first) = sigmas.first_mut() {
                    *first = *sigma;
                }
                (given(images, "noisy images to start from")?, sigmas)
            }
        })
    }
}

impl Drawn {
    /// Whether both ways went over the same noise levels, so that their states stand side by side.
    pub fn same_levels(&self, other: &Drawn) -> bool {
        let levels = |drawn: &Drawn| drawn.trajectory.iter().map(|(sigma, _)| *sigma).collect::<Vec<_>>();
        levels(self) == levels(other)
    }
}

impl Request<'_> {
    /// `count` of the samples from `first` on, for those who draw many in several batches. Errors if there are not as
    /// many.
    pub fn part(&self, first: usize, count: usize) -> Result<Self> {
        let Some(samples) = self.samples.get(first..).and_then(|rest| rest.get(..count)) else {
            let what = format!("samples {first}..{first}+{count} of {}", self.samples.len());
            return Err(Error::argument("sample", what));
        };
        let start = match &self.start {
            Start::Noise => Start::Noise,
            Start::Latents(latents) => Start::Latents(latents.narrow(first, count)?),
            Start::Image { images, sigma } => Start::Image { images: images.narrow(first, count)?, sigma: *sigma },
            Start::Noisy { images, sigma } => Start::Noisy { images: images.narrow(first, count)?, sigma: *sigma },
        };
        let labels = self.labels.as_ref().map(|labels| labels.narrow(first, count)).transpose()?;
        Ok(Request { start, labels, samples: samples.to_vec(), ..self.clone() })
    }
}

/// One-hot labels `[n, label_dim]` on the model's device. Errors on classes that the model does not have.
pub fn one_hot(model: &Model, classes: &[u32]) -> Result<Tensor> {
    let known = model.denoiser().label_dim();
    if let Some(unknown) = classes.iter().find(|&&class| class as usize >= known) {
        return Err(Error::argument("sample", format!("class {unknown}; the model has {known}, counted from 0")));
    }
    let index = Tensor::from_slice(classes, [classes.len()], &model.weights.device())?;
    ops::one_hot(&index, known, DType::F32)
}

/// A class for each sample, evenly distributed, a pure function of seed and sample.
pub fn random_classes(seed: u64, samples: &[u32], classes: usize) -> Result<Vec<u32>> {
    let stream = RandomKey::new(seed, Purpose::Labels).stream()?;
    let class = |&sample: &u32| ((u64::from(stream.word(sample, 0)) * classes as u64) >> 32) as u32;
    Ok(samples.iter().map(class).collect())
}

/// Samples that are drawn together where nobody says how many: 2^17 values in all on the CPU and 2^22 on a GPU, but
/// some, and not too many.
fn at_once(model: &Model) -> usize {
    let values: usize = model.denoiser().sample_shape().iter().product();
    let most: usize = if matches!(model.weights.device(), Device::Cpu) { 1 << 17 } else { 1 << 22 };
    (most / values.max(1)).clamp(16, 4096)
}

fn first(sigmas: &[f64]) -> f64 {
    sigmas.first().copied().unwrap_or(f64::NAN)
}

fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    Ok(ops::cast(x, dtype)?.into_value())
}
