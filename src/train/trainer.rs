//! The loop's inside: one training step, for whatever has weights and a loss.

use crate::autograd::{Tape, Var};
use crate::error::{Error, Result};
use crate::nn::{Context, Training, Weights};
use crate::ops;
use crate::ops::random::SampleIds;
use crate::optim::{HalfLife, Optimizer, OptimizerConfig, Schedule, StepOptions};
use crate::tensor::{DType, Tensor};

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainOptions {
    /// Of everything random: noise, noise levels, dropout.
    pub seed: u64,
    /// The optimiser, with the learning rate.
    pub optimizer: OptimizerConfig,
    /// What the learning rate is multiplied by over the run.
    pub schedule: Schedule,
    /// Gradients longer than this are shortened to it; infinite: none are.
    pub max_norm: f64,
    /// The running average of the weights; `None`: there is none.
    pub average: Option<HalfLife>,
    /// What matrix products and convolutions are computed in, f32 or bf16.
    pub compute: DType,
}

impl TrainOptions {
    /// Adam at this learning rate; no schedule, clipping or average; f32.
    pub fn adam(lr: f64, seed: u64) -> Self {
        TrainOptions {
            seed,
            optimizer: OptimizerConfig::adam(lr),
            schedule: Schedule::default(),
            max_norm: f64::INFINITY,
            average: None,
            compute: DType::F32,
        }
    }
}

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Tick {
    /// Which step it was, from 1 on.
    pub step: u64,
    /// Samples seen, with those of this step.
    pub seen: u64,
    /// The loss before the weights were changed.
    pub loss: f64,
    /// Length of the gradient before clipping.
    pub gradient_norm: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
}

/// Weights in training: with an optimiser, a schedule, clipping and a running average.
///
/// ```
/// use veridical::nn::{Layout, Linear, Module, Weights};
/// use veridical::train::{TrainOptions, Trainer};
/// use veridical::{Device, Tensor, ops};
/// # fn main() -> veridical::Result<()> {
/// let mut layout = Layout::new();
/// let line = Linear::new(&mut layout.scope("line"), 1, 1, 1.0);
/// let weights = Weights::init(&layout.into(), 7, &Device::Cpu)?;
/// let x = Tensor::from_slice(&[0f32, 1., 2., 3.], [4, 1], &Device::Cpu)?;
/// let y = Tensor::from_slice(&[1f32, 3., 5., 7.], [4, 1], &Device::Cpu)?;
///
/// let mut trainer = Trainer::new(weights, TrainOptions::adam(0.1, 7))?;
/// let mut step = || {
///     trainer.step(4, |cx, _| {
///         let error = ops::sub(&line.forward(cx, &(&x).into())?, &(&y).into())?;
///         ops::mean(&ops::square(&error)?, &[0, 1])
///     })
/// };
/// let first = step()?.loss;
/// for _ in 0..200 {
///     step()?;
/// }
/// assert!(step()?.loss < 0.01 * first);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer {
    options: TrainOptions,
    weights: Weights,
    optimizer: Optimizer,
    average: Option<Tensor>,
    step: u64,
    seen: u64,
}

impl Trainer {
    /// Starts from `weights`. Errors on settings that the optimiser does not take.
    pub fn new(weights: Weights, options: TrainOptions) -> Result<Self> {
        let optimizer = Optimizer::new(options.optimizer, weights.flat())?;
        let average = options.average.map(|_| weights.flat().clone());
        Ok(Trainer { options, weights, optimizer, average, step: 0, seen: 0 })
    }

    /// The weights as they are now.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The running average of the weights; without one, the weights themselves.
    pub fn average(&self) -> Result<Weights> {
        self.average.as_ref().map_or_else(|| Ok(self.weights.clone()), |flat| self.weights.with_flat(flat.clone()))
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step down the gradient of `loss`, the mean over `batch` samples. `loss` gets the context to run networks in, and what
    /// its random numbers are to depend on.
    ///
    /// Errors where `loss` does, and if it or its gradient is not finite: the weights are then what they were before.
    pub fn step(&mut self, batch: usize, loss: impl FnOnce(&Context, &Training) -> Result<Var>) -> Result<Tick> {
        let step = self.step + 1;
        let training =
            Training { seed: self.options.seed, step: at_most_32_bits(self.step)?, samples: SampleIds::From(0) };
        let seen = self.seen + batch as u64;
        let (loss, gradient) = {
            let tape = Tape::new();
            let cx = Context::training(&self.weights, &tape, training.clone()).compute_in(self.options.compute);
            let loss = loss(&cx, &training)?;
            let value = finite("the training loss", step, loss.value().item()?)?;
            (value, cx.flat_gradient(&mut loss.backward()?)?)
        };
        let clip = ops::gradient_norm(&[&gradient], self.options.max_norm)?;
        let gradient_norm = finite("the gradient", step, clip.to_f64()?.first().copied().unwrap_or(f64::NAN))?;
        let lr_factor = self.options.schedule.factor(seen);
        let beta = self.options.average.map_or(0.0, |average| average.beta(self.seen, batch as u64));
        let options =
            StepOptions { lr_factor, clip: Some(&clip), ema: self.average.as_mut().map(|ema| (ema, beta)), copy: None };
        self.optimizer.step(self.weights.flat_mut(), &gradient, options)?;
        (self.step, self.seen) = (step, seen);
        Ok(Tick { step, seen, loss, gradient_norm, learning_rate: self.options.optimizer.lr() * lr_factor })
    }
}

fn finite(what: &str, step: u64, value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::NonFinite {
        what: format!("{what} of step {step}"),
        found: format!("{value}; the weights are those after step {}. Try a lower learning rate or max_norm", step - 1),
    })
}

/// Steps are a word of every random number's address.
fn at_most_32_bits(step: u64) -> Result<u32> {
    u32::try_from(step).map_err(|_| Error::argument("Trainer::step", format!("step {step} is not below 2^32")))
}
