//! The loop's inside: one training step, for whatever has weights and a loss.

mod gradient;
mod options;
mod shards;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::gradient::Gradient;
pub(super) use self::gradient::Parts;
use self::gradient::in_one_piece;
pub use self::options::TrainOptions;
use self::shards::Shard;
use crate::autograd::Var;
use crate::backend::gpu::deferred::Deferred;
use crate::distributed::Ranks;
use crate::error::{Error, Result};
use crate::nn::{Context, Weights};
use crate::ops;
use crate::optim::{Optimizer, PowerFunction, StepOptions};
use crate::stop;
use crate::tensor::Tensor;

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
/// use veridical::{Device, Tensor};
/// # fn main() -> veridical::Result<()> {
/// let mut layout = Layout::new();
/// let line = Linear::new(&mut layout.scope("line"), 1, 1, 1.0);
/// let weights = Weights::init(&layout.into(), 7, &Device::Cpu)?;
/// let x = Tensor::from_slice(&[0f32, 1., 2., 3.], [4, 1], &Device::Cpu)?;
/// let y = Tensor::from_slice(&[1f32, 3., 5., 7.], [4, 1], &Device::Cpu)?;
///
/// let mut trainer = Trainer::new(weights, TrainOptions::adam(0.1, 7))?;
/// let mut step = || {
///     trainer.step(4, |cx| {
///         let error = (line.forward(cx, &(&x).into())? - &y)?;
///         error.square()?.mean_all()
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
    /// Tells it from all others of the process.
    id: u64,
    /// What it is called among several, where errors name it.
    player: Option<String>,
    options: TrainOptions,
    /// Who shares the batches.
    ranks: Ranks,
    weights: Weights,
    optimizer: Optimizer,
    average: Option<Tensor>,
    /// Averages with a power function for a profile: width, profile, values.
    powers: Vec<(f64, PowerFunction, Tensor)>,
    step: u64,
    seen: u64,
    /// Where optimiser and averages are of a part of the weights alone.
    shard: Option<Shard>,
    /// What gradients ask of a GPU.
    deferred: Mutex<Deferred>,
}

/// Everything that a trainer needs to go on where another one was.
#[derive(Debug)]
pub struct TrainerState {
    /// Steps made.
    pub step: u64,
    /// Samples seen.
    pub seen: u64,
    /// The weights.
    pub weights: Weights,
    /// Their running average, if there is one.
    pub average: Option<Weights>,
    /// The averages of [`Trainer::with_power_averages`], in its order.
    pub powers: Vec<Weights>,
    /// The optimiser's buffers by name.
    pub optimizer: Vec<(String, Tensor)>,
}

impl Trainer {
    /// Starts from `weights`. Errors on settings that the optimiser does not take.
    pub fn new(weights: Weights, options: TrainOptions) -> Result<Self> {
        let optimizer = Optimizer::new(options.optimizer, weights.flat())?;
        let weights = weights.for_compute(options.compute)?;
        let average = options.average.map(|_| weights.flat().clone());
        static TRAINERS: AtomicU64 = AtomicU64::new(0);
        let id = TRAINERS.fetch_add(1, Ordering::Relaxed);
        let (ranks, powers) = (Ranks::alone(), Vec::new());
        Ok(Trainer {
            id,
            player: None,
            options,
            ranks,
            weights,
            optimizer,
            average,
            powers,
            step: 0,
            seen: 0,
            shard: None,
            deferred: Mutex::default(),
        })
    }

    /// Shares the slots of every batch with other ranks, all of which train the same weights with the same options. To
    /// be called before the first step; later only with the same ranks, connected otherwise. Errors where there are
    /// fewer slots than ranks.
    pub fn share_with(&mut self, ranks: &Ranks) -> Result<()> {
        ranks.check_slots(self.options.slots)?;
        self.ranks = ranks.clone();
        match self.options.shard_state && !ranks.is_alone() && self.shard.is_none() {
            true => self.keep_share(),
            false => Ok(()),
        }
    }

    /// Keeps averages of the weights with power functions of these widths besides, for
    /// [`post_hoc`](crate::optim::post_hoc) reconstruction. To be called before the first step. Errors unless each
    /// width is in (0, 0.3).
    pub fn with_power_averages(mut self, widths: &[f64]) -> Result<Self> {
        let start = self.weights.flat();
        let average = |&width| Ok((width, PowerFunction::new(width)?, start.clone()));
        self.powers = widths.iter().map(average).collect::<Result<_>>()?;
        Ok(self)
    }

    /// The power-function averages with their widths. Errors where they are in shares and have not been
    /// [gathered](Self::gather).
    pub fn power_averages(&self) -> Result<Vec<(f64, Weights)>> {
        let weights = |flat: &Tensor| self.weights.with_flat(flat.clone());
        let averages = self.whole_powers()?.into_iter().map(weights);
        self.power_widths().into_iter().zip(averages).map(|(width, average)| Ok((width, average?))).collect()
    }

    /// The widths of the power-function averages.
    pub fn power_widths(&self) -> Vec<f64> {
        self.powers.iter().map(|(width, ..)| *width).collect()
    }

    /// Names it in errors, as one of several players.
    pub(super) fn call(&mut self, player: &str) {
        self.player = Some(player.into());
    }

    /// Whether a running average is kept.
    pub fn has_average(&self) -> bool {
        self.average.is_some()
    }

    /// The optimiser, with its buffers: of this rank's share of the weights, where ranks
    /// [share](TrainOptions::shard_state) them.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Samples seen so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Goes on where another trainer with the same options was: from here on both do the same, bit for bit. Errors if
    /// something is missing or of another shape; nothing has changed then.
    pub fn restore(&mut self, state: TrainerState) -> Result<()> {
        let fits = |weights: &Weights| self.weights.with_flat(weights.flat().to_device(&self.weights.device())?);
        let weights = fits(&state.weights)?.with_buffers_of(&state.weights)?;
        let average = match (&self.average, &state.average) {
            (None, _) => None,
            (Some(_), Some(average)) => Some(self.own_share(fits(average)?.flat().clone())?),
            (Some(_), None) => {
                return Err(Error::Config("the stored state has no running average of the weights".into()));
            }
        };
        if self.powers.len() != state.powers.len() {
            let (found, expected) = (state.powers.len(), self.powers.len());
            return Err(Error::Config(format!(
                "the stored state has {found} power-function averages, expected {expected}"
            )));
        }
        let own = |power: &Weights| self.own_share(fits(power)?.flat().clone());
        let powers = state.powers.iter().map(own).collect::<Result<Vec<_>>>()?;
        let whole = self.weights.flat().shape();
        let buffers = state.optimizer.into_iter().map(|(name, buffer)| match buffer.shape() == whole {
            true => Ok((name, self.own_share(buffer)?)),
            false => Ok((name, buffer)), // which the optimiser refuses
        });
        let buffers = buffers.collect::<Result<Vec<_>>>()?;
        let find = |name: &str| buffers.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor.clone());
        let weights = weights.for_compute(self.options.compute)?;
        self.optimizer.restore(state.step, find)?;
        (self.weights, self.average, self.step, self.seen) = (weights, average, state.step, state.seen);
        self.powers.iter_mut().zip(powers).for_each(|(power, stored)| power.2 = stored);
        self.forget_whole();
        Ok(())
    }

    /// The weights as they are now.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The running average of the weights; without one, the weights themselves. Errors where it is in shares and has
    /// not been [gathered](Self::gather).
    pub fn average(&self) -> Result<Weights> {
        let average = if self.has_average() { self.whole_average()? } else { None };
        average.map_or_else(|| Ok(self.weights.clone()), |flat| self.weights.with_flat(flat.clone()))
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step down the gradient of `loss`, the mean over `batch` samples. `loss` gets the context to run networks in,
    /// which has the [address](Context::address) of its random numbers.
    ///
    /// Errors where `loss` does, if it or its gradient is not finite, and once the calling thread is to
    /// [stop](crate::stop): the weights are then what they were before.
    pub fn step(&mut self, batch: usize, loss: impl FnOnce(&Context) -> Result<Var>) -> Result<Tick> {
        let mut loss = Some(loss);
        self.step_in_parts(batch, batch, |cx, _| match loss.take() {
            Some(loss) => loss(cx),
            None => Err(in_one_piece("Trainer::step")),
        })
    }

    /// As [`step`](Self::step), with the gradient gathered over parts of at most `part` samples, so that only so many
    /// are in memory at once. `loss` is asked for the mean over the samples of a range of the batch, and its random
    /// numbers are those of the samples, so the step is that of the whole batch up to the rounding of the sum.
    pub fn step_in_parts(
        &mut self,
        batch: usize,
        part: usize,
        loss: impl FnMut(&Context, Range<usize>) -> Result<Var>,
    ) -> Result<Tick> {
        let gradient = self.gradient_in_parts(batch, part, loss)?;
        self.apply(gradient)
    }

    /// A step of which the loss has something else to do while a GPU is busy.
    pub(super) fn step_of(&mut self, batch: usize, part: usize, parts: &mut impl Parts) -> Result<Tick> {
        let gradient = self.gradient_of(batch, part, parts)?;
        self.apply(gradient)
    }

    /// Goes a step down a gradient that was taken at these weights: clips it, changes weights and averages, and takes
    /// over the buffers that the forward pass [updated](Context::update).
    ///
    /// Errors if the gradient is not finite, or another trainer's or another step's, and once the calling thread is to
    /// [stop](crate::stop): the weights are then what they were before.
    pub fn apply(&mut self, gradient: Gradient) -> Result<Tick> {
        let [tick] = Self::apply_all([(self, gradient)])?;
        Ok(tick)
    }

    /// As [`apply`](Self::apply), of several trainers at once: all of them make their step, or none does.
    pub fn apply_all<const N: usize>(players: [(&mut Trainer, Gradient); N]) -> Result<[Tick; N]> {
        // What others have part in, they are making as well: a stop comes before or after.
        let ticks = match players.iter().all(|(trainer, _)| trainer.ranks.is_alone()) {
            true => Self::apply_each(players),
            false => stop::shielded(|| Self::apply_each(players)),
        }?;
        ticks.try_into().map_err(|_| Error::argument("Trainer::apply_all", "no tick for a player"))
    }

    fn apply_each<const N: usize>(players: [(&mut Trainer, Gradient); N]) -> Result<Vec<Tick>> {
        let mut ready = Vec::with_capacity(N);
        for (trainer, gradient) in players {
            let clip = trainer.clipping(&gradient)?;
            ready.push((trainer, gradient, clip));
        }
        stop::check()?;
        // Weights, averages and counts belong together, so what is begun here is done whole.
        stop::shielded(|| ready.into_iter().map(|(trainer, gradient, clip)| trainer.take(gradient, clip)).collect())
    }

    /// The length of a gradient and what it is multiplied with. Errors unless it can be applied.
    fn clipping(&self, gradient: &Gradient) -> Result<(Tensor, f64)> {
        if gradient.trainer != self.id
            || gradient.step != self.step
            || gradient.flat.shape() != self.weights.flat().shape()
        {
            let what = match gradient.trainer == self.id {
                true => format!("a gradient taken at step {}; the trainer is at step {}", gradient.step, self.step),
                false => "a gradient of another trainer".into(),
            };
            return Err(Error::argument("Trainer::apply", what));
        }
        let clip = ops::gradient_norm(&[&gradient.flat], self.options.max_norm)?;
        let norm = clip.to_f64()?.first().copied().unwrap_or(f64::NAN);
        Ok((clip, self.finite("the gradient", norm)?))
    }

    fn take(&mut self, gradient: Gradient, (clip, gradient_norm): (Tensor, f64)) -> Result<Tick> {
        let Gradient { flat, loss, batch, buffers, .. } = gradient;
        let (step, seen) = (self.step + 1, self.seen + batch);
        // After this batch's images, where EDM's code takes the number before: its first step under a warm-up has rate
        // 0.
        let lr_factor = self.options.schedule.factor(seen);
        let beta = self.options.average.map_or(0.0, |average| average.beta(self.seen, batch));
        match self.part() {
            Some(part) => self.take_share(part, &flat, (lr_factor, &clip), (beta, batch))?,
            None => {
                let (weights, copy) = self.weights.flat_and_halves_mut();
                let ema = self.average.as_mut().map(|ema| (ema, beta));
                self.optimizer.step(weights, &flat, StepOptions { lr_factor, clip: Some(&clip), ema, copy })?;
                for (_, profile, average) in &mut self.powers {
                    ops::average(average, self.weights.flat(), profile.beta(self.seen, batch))?;
                }
            }
        }
        buffers.map_or(Ok(()), |buffers| self.weights.set_buffers(buffers))?;
        (self.step, self.seen) = (step, seen);
        Ok(Tick { step, seen, loss, gradient_norm, learning_rate: self.options.optimizer.lr() * lr_factor })
    }

    /// `value`, or an error that says what of which step is not finite, and whose, where there are several.
    fn finite(&self, what: &str, value: f64) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        let of = self.player.as_ref().map_or_else(String::new, |player| format!(" of the player {player}"));
        let found =
            format!("{value}; the weights are those after step {}. Try a lower learning rate or max_norm", self.step);
        Err(Error::NonFinite { what: format!("{what} of step {}{of}", self.step + 1), found })
    }
}
