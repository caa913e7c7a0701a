//! What `Model.log_likelihood` measures, as the command's `likelihood` does.

use veridical::data::{Numbers, Units};
use veridical::diffusion::likelihood::{Integrator, Likelihood, Trace, bits_per_dim, dequantize};
use veridical::diffusion::{Conditioned, Model};
use veridical::ops::random::SampleIds;
use veridical::{Error, Result, Tensor, ops};

use crate::sampling::{batch, compute};

/// The tolerance of a step, where there are no fixed ones.
const TOLERANCE: f64 = 1e-5;
/// Adaptive steps after which it is an error.
const MOST_STEPS: usize = 10_000;

pub struct Asked<'a> {
    pub trace: &'a str,
    pub probes: usize,
    pub tolerance: Option<f64>,
    pub steps: Option<usize>,
    pub sigma_min: f64,
    pub sigma_max: f64,
    pub levels: Option<u32>,
    pub dequantize: bool,
    pub seed: u64,
    pub batch: usize,
    pub compute: &'a str,
}

/// Nats and bits per dimension of each sample, and the mean number of denoiser calls.
pub fn measure(model: &Model, x: &Tensor, labels: Option<&Tensor>, asked: &Asked) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let (likelihood, dtype, at_once) = (asked.likelihood(model)?, compute(asked.compute)?, batch(asked.batch)?);
    let sample = model.denoiser().sample_shape();
    let dims: usize = sample.iter().product();
    // Numbers that are no bytes have a density in their own units.
    let own = model
        .units()
        .filter(|units| units.transform().is_some() || !units.is_plain() && units.numbers() != Numbers::Uint8);
    let of_images = sample.len() == 3 && sample[0] > 1 && own.is_none();
    let levels = asked.levels.unwrap_or(match model.units().and_then(Units::ends) {
        Some([0.0, 1.0]) => 2,
        _ if of_images => 256,
        _ => 0,
    });
    if levels > 0 && own.is_some() {
        let what = "levels: the model was trained on numbers that are no bytes, of which the density is measured; leave it out";
        return Err(Error::Config(what.into()));
    }
    if levels == 1 {
        return Err(Error::Config("levels=1: there are 2 and more, or 0 for a density".into()));
    }
    let channels = sample.last().copied().unwrap_or(1);
    let log_volume = |x: &[f32]| own.map_or(0.0, |units| units.log_volume(x, channels));
    let n = x.shape()[0];
    let (mut nats, mut calls) = (Vec::with_capacity(n), 0);
    for first in (0..n).step_by(at_once) {
        let count = at_once.min(n - first);
        let mut part = x.narrow(first, count)?;
        if levels > 0 && asked.dequantize {
            part = dequantize(&part, levels, (asked.seed, first as u32))?;
        }
        let labels = labels.map(|labels| labels.narrow(first, count)).transpose()?;
        let mut denoise = Conditioned::new(model, labels.as_ref(), dtype)?;
        let volumes: Vec<f64> = part.to_vec::<f32>()?.chunks(dims.max(1)).map(log_volume).collect();
        let part = ops::cast(part, model.weights.device().state_dtype())?.into_value();
        let found = likelihood.log_density(&mut denoise, &part, (asked.seed, &SampleIds::From(first as u32)))?;
        nats.extend(found.nats.iter().zip(&volumes).map(|(nats, volume)| nats - volume));
        calls += found.nfe * count;
    }
    let bits = nats.iter().map(|&nats| bits_per_dim(nats, dims, (levels > 0).then_some(levels))).collect();
    Ok((nats, bits, calls as f64 / n as f64))
}

impl Asked<'_> {
    fn likelihood(&self, model: &Model) -> Result<Likelihood> {
        let positive = |name: &str, x: f64| match x.is_finite() && x > 0.0 {
            true => Ok(x),
            false => Err(Error::Config(format!("{name}={x}: it must be a finite number above 0"))),
        };
        let trace = match (self.trace, self.probes) {
            ("exact", _) => Trace::Exact,
            ("hutchinson", probes @ 1..=10_000) => Trace::Hutchinson { probes },
            ("hutchinson", probes) => return Err(Error::Config(format!("probes={probes}: from 1 to 10000"))),
            (other, _) => return Err(Error::Config(format!("trace={other:?}: there are hutchinson and exact"))),
        };
        let integrator = match (self.steps, self.tolerance) {
            (Some(_), Some(_)) => {
                return Err(Error::Config(
                    "steps are of fixed size, a tolerance chooses them: give one of them".into(),
                ));
            }
            (Some(steps @ 1..=1_000_000), None) => Integrator::Fixed { steps },
            (Some(steps), None) => return Err(Error::Config(format!("steps={steps}: from 1 to 1000000"))),
            (None, tolerance) => Integrator::Adaptive {
                tolerance: positive("tolerance", tolerance.unwrap_or(TOLERANCE))?,
                max_steps: MOST_STEPS,
            },
        };
        let (least, most) = model.denoiser().sigma_range();
        Ok(Likelihood {
            sigma_min: positive("sigma_min", self.sigma_min)?.max(least),
            sigma_max: positive("sigma_max", self.sigma_max)?.min(most),
            sigma_data: model.denoiser().sigma_data(),
            trace,
            integrator,
        })
    }
}
