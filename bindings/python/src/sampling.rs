//! What `Model.sample` is asked for, as the command's `sample` has it.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use veridical::diffusion::{self, Drawn, Guidance, Request, Sampler, Start, one_hot, random_classes};
use veridical::{DType, Error, Result, Tensor, cli, memory};

use crate::arrays::tensor_f32;
use crate::errors::{OrRaise, invalid};
use crate::model::{of_classes, samples};
use crate::options::flags;
use crate::work::released;

/// Samples of one call, at most.
const MOST: usize = 1 << 24;
/// Samples that are drawn where nobody says how many.
const USUAL: u32 = 64;

/// Everything but arrays.
pub struct Asked<'a> {
    pub model: &'a diffusion::Model,
    pub reference: Option<&'a diffusion::Model>,
    pub seed: u64,
    pub no_class: bool,
    /// Weight and interval.
    pub guidance: (Option<f64>, Option<(f64, f64)>),
    pub trajectory: bool,
    pub batch: usize,
    pub compute: &'a str,
}

/// `latents`, `start`, `start_sigma` and `start_noisy`.
type From<'a, 'py> = (Option<&'a Bound<'py, PyAny>>, Option<&'a Bound<'py, PyAny>>, Option<f64>, bool);

impl Asked<'_> {
    pub fn draw(
        &self,
        py: Python,
        n: Option<&Bound<PyAny>>,
        labels: Option<&Bound<PyAny>>,
        from: From,
        solver: Option<&Bound<PyDict>>,
    ) -> PyResult<Drawn> {
        let sampler = self.sampler(solver).and_then(|asked| asked.or_raise(py))?;
        let start = self.start(py, from)?;
        let numbers = numbers(py, n, given(&start))?;
        let labels = match labels {
            Some(_) if self.no_class => return Err(invalid(py, "labels and no_class=True: give one of them")),
            Some(labels) => Some(of_classes(py, self.model, labels, numbers.len())?),
            None => self.chosen(&numbers, &start).or_raise(py)?,
        };
        self.check(&sampler, numbers.len()).or_raise(py)?;
        released(py, || {
            let start = alike(start, numbers.len(), self.model)?;
            sampler.draw(&Request {
                model: self.model,
                reference: self.reference,
                labels,
                start,
                seed: self.seed,
                samples: numbers,
                trajectory: self.trajectory,
            })
        })
    }

    fn sampler(&self, solver: Option<&Bound<PyDict>>) -> PyResult<Result<Sampler>> {
        let flags = flags(solver)?;
        let made = || {
            let (weight, interval) = self.guidance;
            if weight.is_none() && (interval.is_some() || self.reference.is_some()) {
                return Err(Error::Config(
                    "guidance_model and guidance_interval are of guidance: give its weight".into(),
                ));
            }
            let guidance = weight.map(|weight| Guidance { weight, interval });
            let compute = compute(self.compute)?;
            let at_once = Some(batch(self.batch)?);
            let sampler = Sampler { guidance, compute, at_once, ..cli::sampler(self.model, &flags)? };
            if let Some(guidance) = &sampler.guidance {
                guidance.check()?;
                if self.reference.is_none() && self.model.denoiser().label_dim() == 0 {
                    return Err(Error::Config("the model has no classes: guidance needs a guidance_model".into()));
                }
            }
            let without_class = self.no_class || sampler.guidance.is_some() && self.reference.is_none();
            if without_class && self.model.denoiser().label_dropout() == Some(0.0) {
                return Err(Error::Config(
                    "the model was trained with model.label_dropout = 0: it never saw a sample without its class, so \
                     no_class and guidance (but for a guidance_model) mean nothing; train with 0.1"
                        .into(),
                ));
            }
            Ok(sampler)
        };
        Ok(made())
    }

    fn start(&self, py: Python, (latents, start, sigma, noisy): From) -> PyResult<Start> {
        let of = |array: &Bound<PyAny>| samples(py, self.model, tensor_f32(array, &self.model.weights.device())?);
        match (latents, start, sigma) {
            (None, None, None) if !noisy => Ok(Start::Noise),
            (Some(latents), None, None) if !noisy => Ok(Start::Latents(of(latents)?)),
            (None, Some(images), Some(sigma)) if sigma.is_finite() && sigma > 0.0 => {
                let images = of(images)?;
                Ok(if noisy { Start::Noisy { images, sigma } } else { Start::Image { images, sigma } })
            }
            (None, Some(_), Some(sigma)) => Err(invalid(py, format!("start_sigma={sigma}: expected a number above 0"))),
            _ => Err(invalid(
                py,
                "start from latents alone, or from start with its start_sigma (and start_noisy=True if it has that noise)",
            )),
        }
    }

    /// As EDM does: latents without labels are for no class, seeds bring a random one.
    fn chosen(&self, numbers: &[u32], start: &Start) -> Result<Option<Tensor>> {
        match self.model.denoiser().label_dim() {
            0 => Ok(None),
            _ if self.no_class || matches!(start, Start::Latents(_)) => Ok(None),
            dim => one_hot(self.model, &random_classes(self.seed, numbers, dim)?).map(Some),
        }
    }

    /// Errors where all samples would not fit in memory.
    fn check(&self, sampler: &Sampler, count: usize) -> Result<()> {
        let values = self.model.denoiser().sample_shape().iter().product::<usize>() as u128;
        let states = if self.trajectory { sampler.sigmas(self.model, None)?.len() as u128 } else { 0 };
        let bytes = 12 * (count as u128) * values * (1 + states);
        memory::check(bytes, &format!("keeping {count} samples in {} states", 1 + states), "draw fewer at a time")
    }
}

/// How many samples a start has, where it has any.
fn given(start: &Start) -> Option<usize> {
    match start {
        Start::Noise => None,
        Start::Latents(x) | Start::Image { images: x, .. } | Start::Noisy { images: x, .. } => Some(x.shape()[0]),
    }
}

/// One image to start from serves for all samples.
fn alike(start: Start, count: usize, model: &diffusion::Model) -> Result<Start> {
    let repeated = |x: Tensor| -> Result<Tensor> {
        if x.shape()[0] != 1 || count == 1 {
            return Ok(x);
        }
        let shape = [&[count][..], &model.denoiser().sample_shape()].concat();
        Tensor::from_slice(&x.to_vec::<f32>()?.repeat(count), shape, &x.device())
    };
    Ok(match start {
        Start::Image { images, sigma } => Start::Image { images: repeated(images)?, sigma },
        Start::Noisy { images, sigma } => Start::Noisy { images: repeated(images)?, sigma },
        other => other,
    })
}

/// Which samples are meant: the first so many, or these.
fn numbers(py: Python, n: Option<&Bound<PyAny>>, given: Option<usize>) -> PyResult<Vec<u32>> {
    let first = |count: usize| match count {
        1..=MOST => Ok((0..count as u32).collect::<Vec<u32>>()),
        _ => Err(invalid(py, format!("n={count}: from 1 to {MOST} samples are drawn at a time"))),
    };
    let numbers = match (n, given) {
        (None, given) => first(given.unwrap_or(USUAL as usize))?,
        (Some(n), _) if n.hasattr("__index__")? => first(n.call_method0("__index__")?.extract()?)?,
        (Some(n), _) => {
            n.try_iter()?.map(|number| number?.call_method0("__index__")?.extract()).collect::<PyResult<_>>()?
        }
    };
    match given {
        _ if numbers.is_empty() => Err(invalid(py, "n: no samples are asked for; give a number, or a list of them")),
        Some(count) if count != 1 && count != numbers.len() => {
            Err(invalid(py, format!("{count} samples to start from and n of {}: give as many, or one", numbers.len())))
        }
        _ => Ok(numbers),
    }
}

/// What a network computes in.
pub fn compute(name: &str) -> Result<DType> {
    match name {
        "f32" => Ok(DType::F32),
        "bf16" => Ok(DType::BF16),
        other => Err(Error::Config(format!("compute={other:?}: there are f32 and bf16"))),
    }
}

/// Samples at once.
pub fn batch(batch: usize) -> Result<usize> {
    match batch {
        1..=65_536 => Ok(batch),
        other => Err(Error::Config(format!("batch={other}: from 1 to 65536"))),
    }
}
