//! The likelihood of given data under a model.
//!
//! The probability-flow ODE `dx/du = x - D(x; e^u)`, u = ln sigma, carries the density along: `log p(x(low)) = log
//! p(x(high)) + int (d - tr dD/dx) du` over the samples' d elements (Song et al. 2021, arXiv 2011.13456, appendix D.2;
//! Chen et al. 2018, arXiv 1806.07366).

use std::f64::consts::{LN_2, PI};

use super::solvers::{DormandPrince, combine};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::SampleIds;
use crate::random::{self, Purpose, RandomKey, Samples};
use crate::tensor::{DType, Tensor};

/// Probes that are in memory and fed to the denoiser at once.
const PROBES: usize = 64;

/// A denoiser that can say how its result depends on its input.
///
/// Every `FnMut(&Tensor, f64, &[Tensor]) -> Result<(Tensor, Vec<Tensor>)>` is one.
pub trait DenoiseWithGradient {
    /// `D(x; sigma)`, and for each cotangent v, shaped like `x`, the product `J^T v` with the Jacobian `J = dD/dx` of
    /// each sample.
    fn with_products(&mut self, x: &Tensor, sigma: f64, cotangents: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)>;
}

impl<F: FnMut(&Tensor, f64, &[Tensor]) -> Result<(Tensor, Vec<Tensor>)>> DenoiseWithGradient for F {
    fn with_products(&mut self, x: &Tensor, sigma: f64, cotangents: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        self(x, sigma, cotangents)
    }
}

/// How the trace of the Jacobian is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Element by element: as many backward passes as a sample has elements.
    Exact,
    /// The mean of `v^T J v` over this many random sign vectors v, the same all along the way: unbiased (Hutchinson
    /// 1989).
    Hutchinson {
        /// Vectors a sample.
        probes: usize,
    },
}

/// How the ODE is solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Integrator {
    /// Dormand-Prince with step-size control; the samples of a batch share their steps.
    Adaptive {
        /// Absolute and relative tolerance of a step.
        tolerance: f64,
        /// Steps after which it is an error.
        max_steps: usize,
    },
    /// The classic Runge-Kutta method of order 4, in even steps of ln sigma.
    Fixed {
        /// Steps; four denoiser calls each.
        steps: usize,
    },
}

/// The likelihood by the probability-flow ODE.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// The noise level that the data are taken to have.
    pub sigma_min: f64,
    /// Where the density is known: that of `N(0, (sigma_max^2 + sigma_data^2) I)`.
    pub sigma_max: f64,
    /// Standard deviation of the data around 0.
    pub sigma_data: f64,
    /// How the trace is found.
    pub trace: Trace,
    /// How the ODE is solved.
    pub integrator: Integrator,
}

impl Default for Likelihood {
    fn default() -> Self {
        Likelihood {
            sigma_min: 0.002,
            sigma_max: 80.0,
            sigma_data: 0.5,
            trace: Trace::Hutchinson { probes: 1 },
            integrator: Integrator::Adaptive { tolerance: 1e-5, max_steps: 10_000 },
        }
    }
}

/// Log-densities and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct LogDensity {
    /// `ln p(x)` of each sample, in nats.
    pub nats: Vec<f64>,
    /// Denoiser calls: one for every 64 probes at each point of the way.
    pub nfe: usize,
}

impl Likelihood {
    /// `ln p(x; sigma_min)` of samples `x` `[n, ...]`; arithmetic is in their dtype, f64 is recommended on the CPU.
    ///
    /// The sign vectors are a pure function of seed and sample. Errors where the denoiser does, on settings that make
    /// no sense, and if a result is not finite.
    pub fn log_density(
        &self,
        denoise: &mut impl DenoiseWithGradient,
        x: &Tensor,
        (seed, samples): (u64, &SampleIds),
    ) -> Result<LogDensity> {
        // In f32, as networks see it, and squared, as the last density has it.
        let finite = (self.sigma_max * self.sigma_max).is_finite() && (self.sigma_max as f32).is_finite();
        if !(self.sigma_min > 0.0 && self.sigma_min < self.sigma_max && finite) {
            let (low, high) = (self.sigma_min, self.sigma_max);
            let what = format!("likelihood needs 0 < sigma_min < sigma_max < 1e38, got {low} and {high}");
            return Err(Error::Config(what));
        }
        if x.shape().rank() < 2 || x.is_empty() {
            return Err(Error::shape("likelihood", "samples [n, ...], at least one", x.shape()));
        }
        let dim = x.len() / x.shape()[0];
        let probes = Probes::new(self.trace, x, seed, samples)?;
        // More than one lot would be too much to keep; they are then made anew at each point.
        let kept = (probes.count <= PROBES).then(|| probes.some(0)).transpose()?;
        // tr J as a mean over sign vectors, or as a sum over unit vectors.
        let share = if self.trace == Trace::Exact { 1.0 } else { 1.0 / probes.count as f64 };
        let axes: Vec<usize> = (1..x.shape().rank()).collect();
        let mut nfe = 0;
        let slope = |y: &Vec<Tensor>, u: f64| -> Result<Vec<Tensor>> {
            let mut divergence = Tensor::full(dim as f64, y[1].shape(), y[1].dtype(), &y[1].device())?;
            let mut slope = None;
            for first in (0..probes.count).step_by(PROBES) {
                let some = kept.clone().map_or_else(|| probes.some(first), Ok)?;
                nfe += 1;
                let (denoised, products) = denoise.with_products(&y[0], u.exp(), &some)?;
                for (v, product) in some.iter().zip(&products) {
                    let trace = ops::sum(&ops::mul(v, product)?, &axes)?;
                    divergence = combine(&[(1.0, &divergence), (-share, trace.value())])?;
                }
                slope.get_or_insert(combine(&[(1.0, &y[0]), (-1.0, &denoised)])?);
            }
            Ok(slope.into_iter().chain([divergence]).collect())
        };
        let start = vec![x.clone(), Tensor::zeros([x.shape()[0]], x.dtype(), &x.device())?];
        let range = (self.sigma_min.ln(), self.sigma_max.ln());
        let end = match self.integrator {
            Integrator::Adaptive { tolerance, max_steps } => {
                let method = DormandPrince { atol: tolerance, rtol: tolerance, max_steps };
                method.integrate(slope, start, range, |_, _, _| Ok(()))?
            }
            Integrator::Fixed { steps } => runge_kutta(slope, start, range, steps)?,
        };
        let variance = self.sigma_max * self.sigma_max + self.sigma_data * self.sigma_data;
        let squares = ops::sum(&ops::square(&end[0])?, &axes)?.value().to_f64()?;
        let prior = |square: f64| -0.5 * (dim as f64 * (2.0 * PI * variance).ln() + square / variance);
        let nats: Vec<f64> = squares.iter().zip(end[1].to_f64()?).map(|(square, gain)| prior(*square) + gain).collect();
        match nats.iter().position(|value| !value.is_finite()) {
            Some(i) => {
                Err(Error::NonFinite { what: format!("the likelihood of sample {i}"), found: nats[i].to_string() })
            }
            None => Ok(LogDensity { nats, nfe }),
        }
    }
}

/// The vectors v of the products `J^T v`, made as they are needed.
struct Probes<'a> {
    trace: Trace,
    count: usize,
    like: &'a Tensor,
    seed: u64,
    ids: Vec<u32>,
}

impl<'a> Probes<'a> {
    fn new(trace: Trace, like: &'a Tensor, seed: u64, samples: &SampleIds) -> Result<Self> {
        let n = like.shape()[0];
        let count = match trace {
            Trace::Exact => like.len() / n,
            Trace::Hutchinson { probes } if (1..=10_000).contains(&probes) => probes,
            Trace::Hutchinson { probes } => {
                return Err(Error::Config(format!("Hutchinson's trace takes 1 to 10000 vectors, got {probes}")));
            }
        };
        let ids = match samples {
            SampleIds::From(first) => (0..n as u32).map(|i| first.wrapping_add(i)).collect(),
            SampleIds::Each(ids) => ids.to_vec::<u32>()?,
        };
        Ok(Probes { trace, count, like, seed, ids })
    }

    /// At most [`PROBES`] of them, from `first` on.
    fn some(&self, first: usize) -> Result<Vec<Tensor>> {
        (first..self.count.min(first + PROBES)).map(|index| self.make(index)).collect()
    }

    fn make(&self, index: usize) -> Result<Tensor> {
        let len = self.like.len();
        let dim = len / self.like.shape()[0];
        let values: Vec<f32> = match self.trace {
            Trace::Exact => (0..len).map(|i| f32::from(u8::from(i % dim == index))).collect(),
            Trace::Hutchinson { .. } => {
                let key = RandomKey::new(self.seed, Purpose::Metrics).at_step(index as u32);
                let mut words = vec![0u32; len];
                random::fill(random::Words, &key.stream()?, Samples::Ids(&self.ids), dim, &mut words)?;
                words.into_iter().map(|word| if word >> 31 == 0 { 1.0 } else { -1.0 }).collect()
            }
        };
        let v = Tensor::from_slice(&values, self.like.shape(), &self.like.device())?;
        Ok(ops::cast(v, self.like.dtype())?.into_value())
    }
}

/// `-ln p / (d ln 2)`, the mean number of bits for an element of a sample of `dim` elements.
///
/// With `levels` the data are whole numbers of so many levels that were spread over [-1, 1], 256 for 8-bit images: a
/// level is `2 / levels` wide, which adds `log2(levels / 2)`. Without, these are bits of a density, which may be
/// negative.
pub fn bits_per_dim(nats: f64, dim: usize, levels: Option<u32>) -> f64 {
    -nats / (dim as f64 * LN_2) + levels.map_or(0.0, |levels| (f64::from(levels) / 2.0).log2())
}

/// `x + u` for data of `levels` levels in [-1, 1]: each value is spread evenly over its level, a pure function of seed
/// and sample. Uniform dequantisation (Theis et al. 2016, arXiv 1511.01844): the likelihood of the result bounds that
/// of the whole numbers from below.
pub fn dequantize(x: &Tensor, levels: u32, (seed, first): (u64, u32)) -> Result<Tensor> {
    if levels < 2 || x.dtype() != DType::F32 {
        return Err(Error::argument(
            "dequantize",
            format!("at least 2 levels and f32 data, got {levels} and {}", x.dtype()),
        ));
    }
    let n = x.shape().first().copied().unwrap_or(0);
    let len = x.len() / n.max(1);
    let mut noise = vec![0f32; x.len()];
    let key = RandomKey::new(seed, Purpose::Metrics).at_site(1);
    random::fill(random::Uniform, &key.stream()?, Samples::From(first), len, &mut noise)?;
    let top = f64::from(levels - 1);
    let spread = |(x, u): (f32, f32)| {
        let level = ((f64::from(x) + 1.0) / 2.0 * top).round().clamp(0.0, top);
        ((level + f64::from(u)) * 2.0 / f64::from(levels) - 1.0) as f32
    };
    let values: Vec<f32> = x.to_vec::<f32>()?.into_iter().zip(noise).map(spread).collect();
    Tensor::from_slice(&values, x.shape(), &x.device())
}

/// The classic Runge-Kutta method in even steps.
fn runge_kutta(
    mut f: impl FnMut(&Vec<Tensor>, f64) -> Result<Vec<Tensor>>,
    mut y: Vec<Tensor>,
    (start, end): (f64, f64),
    steps: usize,
) -> Result<Vec<Tensor>> {
    if !(1..=1_000_000).contains(&steps) {
        return Err(Error::Config(format!("the likelihood takes 1 to 1000000 steps, got {steps}")));
    }
    let h = (end - start) / steps as f64;
    let add = |y: &[Tensor], a: f64, k: &[Tensor]| -> Result<Vec<Tensor>> {
        y.iter().zip(k).map(|(y, k)| combine(&[(1.0, y), (a, k)])).collect()
    };
    for i in 0..steps {
        let t = start + i as f64 * h;
        let k1 = f(&y, t)?;
        let k2 = f(&add(&y, h / 2.0, &k1)?, t + h / 2.0)?;
        let k3 = f(&add(&y, h / 2.0, &k2)?, t + h / 2.0)?;
        let k4 = f(&add(&y, h, &k3)?, t + h)?;
        for (weight, k) in [(1.0, k1), (2.0, k2), (2.0, k3), (1.0, k4)] {
            y = add(&y, h * weight / 6.0, &k)?;
        }
    }
    Ok(y)
}
