//! The samples of a step, and those of the next, which are made while a GPU is busy with this one.

use std::ops::Range;

use super::prepared::{Prepared, Samples};
use super::trainer::Parts;
use crate::autograd::Var;
use crate::data::Batches;
use crate::error::{Error, Result};
use crate::nn::Context;
use crate::tensor::Device;

/// What was made before its time, from step to step.
#[derive(Debug, Default)]
pub(super) struct Early {
    indices: Option<(u64, Result<Vec<u32>>)>,
    samples: Option<(u64, Range<usize>, Result<Samples>)>,
    /// The parts of the batch in the order in which the last step asked for them: those of this rank's slots.
    last: Vec<Range<usize>>,
}

impl Early {
    /// The indices of a step's samples.
    pub fn indices(&mut self, step: u64, batches: &mut Batches) -> Result<Vec<u32>> {
        match self.indices.take() {
            Some((of, indices)) if of == step => indices,
            _ => batches.at(step),
        }
    }

    fn samples(&mut self, step: u64, range: &Range<usize>) -> Option<Result<Samples>> {
        let (of, part, samples) = self.samples.take()?;
        (of == step && part == *range).then_some(samples)
    }
}

/// A step of a training, as its trainer asks for it.
pub(super) struct Step<'s, 'a> {
    at: &'s Prepared<'a>,
    batches: &'s mut Batches,
    early: &'s mut Early,
    step: u64,
    /// Of its samples. Where others share the step they are told of an error by the step itself.
    indices: Result<Vec<u32>>,
    /// The parts that were asked for.
    asked: Vec<Range<usize>>,
}

impl<'s, 'a> Step<'s, 'a> {
    pub fn new(
        at: &'s Prepared<'a>,
        batches: &'s mut Batches,
        early: &'s mut Early,
        step: u64,
        indices: Result<Vec<u32>>,
    ) -> Self {
        Step { at, batches, early, step, indices, asked: Vec::new() }
    }

    fn of_part(&self, range: Range<usize>) -> Result<Samples> {
        match &self.indices {
            Ok(indices) => self.at.samples(self.step, range.start, &indices[range]),
            Err(_) => Err(Error::Stopped),
        }
    }

    /// Makes the first part of the next step.
    fn begin_next(&mut self, range: Range<usize>) {
        let step = self.step + 1;
        if step >= self.at.config.train.steps() {
            return;
        }
        let indices = self.batches.at(step);
        if let Some(part) = indices.as_ref().ok().and_then(|indices| indices.get(range.clone())) {
            self.early.samples = Some((step, range.clone(), self.at.samples(step, range.start, part)));
        }
        self.early.indices = Some((step, indices));
    }
}

impl Parts for Step<'_, '_> {
    fn loss(&mut self, cx: &Context, range: Range<usize>) -> Result<(Var, Vec<f64>)> {
        if self.indices.is_err() {
            return Err(std::mem::replace(&mut self.indices, Ok(Vec::new())).err().unwrap_or(Error::Stopped));
        }
        self.asked.push(range.clone());
        let samples = match self.early.samples(self.step, &range) {
            Some(samples) => samples?,
            None => self.of_part(range.clone())?,
        };
        let indices = self.indices.as_deref().unwrap_or_default();
        Ok((self.at.loss(cx, &samples, &indices[range])?, Vec::new()))
    }

    fn meanwhile(&mut self) {
        // A source may change its samples before the next step; and on the CPU nobody waits.
        if self.at.source.is_some() || matches!(self.at.model.weights.device(), Device::Cpu) {
            return;
        }
        let asked = self.asked.len();
        let is_whole = asked == 1 && self.asked[0] == (0..self.at.config.train.batch);
        if let Some(next) = self.early.last.get(asked).cloned().filter(|_| !is_whole) {
            self.early.samples = Some((self.step, next.clone(), self.of_part(next)));
        } else if is_whole || asked == self.early.last.len() {
            self.begin_next(self.asked[0].clone());
        }
        // In the first step nobody knows yet which part is the last.
    }
}

impl Drop for Step<'_, '_> {
    fn drop(&mut self) {
        self.early.last = std::mem::take(&mut self.asked);
    }
}
