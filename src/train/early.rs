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

    fn keep(&mut self, step: u64, part: Range<usize>, samples: Result<Samples>) {
        // A stop is of this moment.
        self.samples = Some((step, part, samples)).filter(|(.., samples)| !matches!(samples, Err(Error::Stopped)));
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

    /// The step was made: the next one will ask for the same parts.
    pub fn finish(self) {
        self.early.last = self.asked;
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
        let indices = match self.batches.at(step) {
            // It is of this step, not of the next.
            Err(Error::Stopped) => return,
            indices => indices,
        };
        if let Some(part) = indices.as_ref().ok().and_then(|indices| indices.get(range.clone())) {
            self.early.keep(step, range.clone(), self.at.samples(step, range.start, part));
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
            let samples = self.of_part(next.clone());
            self.early.keep(self.step, next, samples);
        } else if is_whole || asked == self.early.last.len() {
            self.begin_next(self.asked[0].clone());
        }
        // In the first step nobody knows yet which part is the last.
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;
    use crate::data::{DataSet, Images};
    use crate::train::RunConfig;

    /// What was made early is there when it is asked for, for every part from the second step on.
    #[test]
    fn samples_are_there_before_their_step() {
        const SETTINGS: &str = "
            [model]
            model_channels = 8
            channel_mult = [1]
            num_blocks = 1
            attn_resolutions = []
            [train]
            device = 'emulator'
            batch = 4
            images = 12
        ";
        let config = RunConfig::build(None, Some(SETTINGS), &[]).unwrap();
        let images = Images::new(vec![0.5; 10 * 16], vec![0; 10], [4, 4, 1], 1).unwrap();
        let class_names = vec!["one".into()];
        let data = DataSet { name: "grey".into(), train: images, test: None, class_names, reading: Default::default() };
        let at = Prepared::new(&config, &data).unwrap();
        let (mut batches, mut early) = (config.batches(10).unwrap(), Early::default());
        for size in [4, 2] {
            let cut: Vec<_> = (0..4).step_by(size).map(|first| first..first + size).collect();
            early.last.clear();
            for number in 0..3 {
                let indices = early.indices(number, &mut batches);
                let mut step = Step::new(&at, &mut batches, &mut early, number, indices);
                for part in &cut {
                    let known = step.early.samples(number, part);
                    // In the first step nobody knows how many parts there are, but for a whole batch.
                    let is_known = cut.len() == 1 || part.start > 0 || number > 1;
                    let expected = number > 0 && is_known;
                    assert_eq!(known.is_some_and(|samples| samples.is_ok()), expected, "step {number}, {part:?}");
                    step.asked.push(part.clone());
                    step.meanwhile();
                }
                step.finish();
            }
            // The run is over.
            assert!(early.samples.is_none() && early.indices.is_none());
        }
    }
}
