//! The gradient of a batch: of its slots, on any number of ranks, and their parts.

use std::ops::Range;
use std::sync::TryLockError;

use super::Trainer;
use crate::autograd::{Tape, Var};
use crate::distributed::{Share, SlotState, mean_buffers, tree};
use crate::error::{Error, Result};
use crate::nn::Context;
use crate::ops;
use crate::ops::random::{Address, SampleIds};
use crate::stop;
use crate::tensor::{DType, Device, Tensor};

/// A gradient of a loss at the weights of a [`Trainer`], for [`Trainer::apply`].
#[derive(Debug)]
pub struct Gradient {
    pub(super) flat: Tensor,
    pub(super) loss: f64,
    pub(super) batch: u64,
    /// Steps that had been made.
    pub(super) step: u64,
    /// Whose it is.
    pub(super) trainer: u64,
    /// The buffers after the forward pass, if it changed any.
    pub(super) buffers: Option<Tensor>,
    figures: Vec<f64>,
}

impl Gradient {
    /// The loss.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// What [`Trainer::gradient_and_figures`] was told besides the loss, over the whole batch.
    pub fn figures(&self) -> &[f64] {
        &self.figures
    }

    /// The gradient, laid out as [`Weights::flat`](crate::nn::Weights::flat).
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// As [`flat`](Self::flat), to be changed in place: summed over devices, say.
    pub fn flat_mut(&mut self) -> &mut Tensor {
        &mut self.flat
    }
}

/// What a batch is asked for, part after part.
pub(in crate::train) trait Parts {
    /// The mean loss over the samples of a range of the batch, and other figures.
    fn loss(&mut self, cx: &Context, range: Range<usize>) -> Result<(Var, Vec<f64>)>;

    /// Is called while a GPU is busy with what the last loss started, and the host would wait for it.
    fn meanwhile(&mut self) {}
}

/// A function that has nothing to do meanwhile.
struct Losses<F>(F);

impl<F: FnMut(&Context, Range<usize>) -> Result<(Var, Vec<f64>)>> Parts for Losses<F> {
    fn loss(&mut self, cx: &Context, range: Range<usize>) -> Result<(Var, Vec<f64>)> {
        self.0(cx, range)
    }
}

impl Trainer {
    /// The gradient of `loss`, the mean over `batch` samples, at the weights as they are: the first half of a
    /// [step](Self::step), where several networks take theirs together, or something else is done with it before it is
    /// [applied](Self::apply).
    ///
    /// A parameter that the loss does not use has a gradient of zero; [`Context::unused`] names them.
    ///
    /// Errors where `loss` does, if it is not finite, and once the calling thread is to [stop](crate::stop).
    pub fn gradient(&self, batch: usize, loss: impl FnOnce(&Context) -> Result<Var>) -> Result<Gradient> {
        let mut loss = Some(loss);
        self.gradient_in_parts(batch, batch, |cx, _| match loss.take() {
            Some(loss) => loss(cx),
            None => Err(in_one_piece("Trainer::gradient")),
        })
    }

    /// As [`gradient`](Self::gradient), gathered over parts of at most `part` samples, as
    /// [`step_in_parts`](Self::step_in_parts) does, and over [slots](super::TrainOptions::slots): `loss` is asked for
    /// those of this rank only, and the gradient is that of all.
    ///
    /// Buffers of a batch in several slots are the mean of what each slot left in them.
    pub fn gradient_in_parts(
        &self,
        batch: usize,
        part: usize,
        mut loss: impl FnMut(&Context, Range<usize>) -> Result<Var>,
    ) -> Result<Gradient> {
        self.gradient_and_figures(batch, part, |cx, range| Ok((loss(cx, range)?, Vec::new())))
    }

    /// As [`gradient_in_parts`](Self::gradient_in_parts), of a loss that tells other figures besides, each the mean
    /// over the same samples and as many every time: [`Gradient::figures`] are those of the whole batch.
    pub fn gradient_and_figures(
        &self,
        batch: usize,
        part: usize,
        loss: impl FnMut(&Context, Range<usize>) -> Result<(Var, Vec<f64>)>,
    ) -> Result<Gradient> {
        self.gradient_of(batch, part, &mut Losses(loss))
    }

    pub(in crate::train) fn gradient_of(&self, batch: usize, part: usize, parts: &mut impl Parts) -> Result<Gradient> {
        let slots = self.options.slots.max(1);
        if batch < slots {
            let what = format!("a batch of {batch} in {slots} slots; lower train.slots or raise train.batch");
            return Err(Error::argument("Trainer::gradient", what));
        }
        let slot = |slot: usize| self.slot_gradient(batch, tree::share(batch, slot, slots), part.max(1), parts);
        let share = self.deferred(|| Share::compute(&self.ranks, slots, slot));
        // Whoever has begun to exchange goes through with it: one that left on the way would have missed a step that
        // the others make.
        stop::shielded(|| {
            let (flat, found) = Share::sum(&self.ranks, slots, share)?;
            let loss = found.iter().map(|state| state.loss).sum();
            let count = found.iter().map(|state| state.figures.len()).min().unwrap_or(0);
            let figures = (0..count).map(|i| found.iter().map(|state| state.figures[i]).sum()).collect();
            let buffers = mean_buffers(&found)?;
            if let Some(bad) = buffers.iter().flatten().find(|value| !value.is_finite()) {
                self.finite("a buffer (running statistics)", (*bad).into())?;
            }
            let device = self.weights.device();
            let buffers = buffers.map(|buffers| Tensor::from_slice(&buffers, [buffers.len()], &device)).transpose()?;
            Ok(Gradient { flat, loss, batch: batch as u64, step: self.step, trainer: self.id, buffers, figures })
        })
    }

    /// Does what a gradient takes, which asks much the same of a GPU every time.
    fn deferred<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let Device::Gpu(gpu) = self.weights.device() else { return work() };
        match self.deferred.try_lock() {
            Ok(mut deferred) => gpu.deferred(&mut deferred, work),
            Err(TryLockError::Poisoned(deferred)) => gpu.deferred(&mut deferred.into_inner(), work),
            Err(TryLockError::WouldBlock) => work(),
        }
    }

    /// The gradient of one slot of a batch, its samples in parts.
    fn slot_gradient(
        &self,
        batch: usize,
        slot: Range<usize>,
        part: usize,
        parts: &mut impl Parts,
    ) -> Result<(Tensor, SlotState)> {
        let at = at_most_32_bits(self.step)?;
        let mut flat = Tensor::zeros([self.weights.layout().flat_len()], DType::F32, &self.weights.device())?;
        let (mut total, mut updated, mut figures) = (0.0, None, Vec::new());
        for first in slot.clone().step_by(part) {
            let range = first..slot.end.min(first + part);
            let samples = SampleIds::From(at_most_32_bits(first as u64)?);
            let address = Address { samples, ..Address::new(self.options.seed, at) };
            let tape = Tape::new();
            let cx = Context::training(updated.as_ref().unwrap_or(&self.weights), &tape, address)
                .compute_in(self.options.compute)
                .recompute_blocks(self.options.recompute);
            let share = range.len() as f64 / batch as f64;
            let is_whole = range.len() == batch;
            let (mean, found) = parts.loss(&cx, range)?;
            figures.resize(found.len(), 0.0);
            figures.iter_mut().zip(found).for_each(|(sum, figure)| *sum += share * figure);
            // Not scaled by 1: a batch in one part does what it always did.
            let mean = if is_whole { mean } else { ops::scale(&mean, share)? };
            cx.accumulate_gradient(&mut mean.backward()?, &mut flat)?;
            match self.weights.device() {
                Device::Gpu(gpu) => gpu.undeferred(|| parts.meanwhile())?,
                Device::Cpu => parts.meanwhile(),
            }
            // Read when the backward pass is under way: reading waits for all that was started before.
            total += self.finite("the training loss", mean.value().item()?)?;
            let after = cx.updated()?;
            updated = after.or(updated);
        }
        let buffers = updated.map(|weights| weights.buffers().to_vec()).transpose()?;
        Ok((flat, SlotState { loss: total, figures, buffers }))
    }
}

/// What a loss that can be asked only once, for the whole batch, comes to where it is cut.
pub(super) fn in_one_piece(op: &'static str) -> Error {
    Error::argument(
        op,
        "train.slots cuts the batch, and this loss is of a whole one; leave it at 1, or use `step_in_parts`",
    )
}

/// Steps are a word of every random number's address.
fn at_most_32_bits(step: u64) -> Result<u32> {
    u32::try_from(step).map_err(|_| Error::argument("Trainer::step", format!("step {step} is not below 2^32")))
}
