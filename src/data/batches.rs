//! Which samples a training step sees.

use crate::random::{Purpose, RandomKey, permutation};
use crate::{Error, Result};

/// An endless, shuffled order of a data set, cut into batches: each epoch is a fresh permutation.
///
/// The batch of a step is a pure function of seed and step, so a resumed run needs no state: ask for the step at which it stopped.
/// A batch may hold the end of one epoch and the beginning of the next; none is ever short.
#[derive(Debug, Clone)]
pub struct Batches {
    len: u32,
    batch: usize,
    seed: u64,
    /// The last permutation that was made, and its epoch: only a memory, to save work.
    epoch: Option<(u32, Vec<u32>)>,
}

impl Batches {
    /// Batches of `batch` out of `len` samples.
    ///
    /// Errors if either is zero, or `len` does not fit 32 bits.
    pub fn new(len: usize, batch: usize, seed: u64) -> Result<Self> {
        if len == 0 || batch == 0 {
            let what = format!("batches of {batch} out of {len} samples; both must be at least 1");
            return Err(Error::argument("Batches::new", what));
        }
        let len = u32::try_from(len)
            .map_err(|_| Error::argument("Batches::new", format!("{len} samples; at most 2^32 - 1")))?;
        Ok(Batches { len, batch, seed, epoch: None })
    }

    /// The indices of the samples of `step`, counted from 0.
    ///
    /// Errors past 2^32 epochs.
    pub fn at(&mut self, step: u64) -> Result<Vec<u32>> {
        let len = u128::from(self.len);
        let first = u128::from(step) * self.batch as u128;
        let mut indices = Vec::with_capacity(self.batch);
        while indices.len() < self.batch {
            let position = first + indices.len() as u128;
            let within = (position % len) as usize;
            let take = (self.len as usize - within).min(self.batch - indices.len());
            indices.extend_from_slice(&self.order(position / len)?[within..within + take]);
        }
        Ok(indices)
    }

    fn order(&mut self, epoch: u128) -> Result<&[u32]> {
        let epoch = u32::try_from(epoch).map_err(|_| {
            Error::argument("Batches::at", format!("epoch {epoch}; at most 2^32 - 1 can be told apart"))
        })?;
        let stream = RandomKey::new(self.seed, Purpose::Shuffle).at_step(epoch).stream()?;
        let known = self.epoch.take().filter(|(known, _)| *known == epoch);
        Ok(&self.epoch.insert(known.unwrap_or_else(|| (epoch, permutation(&stream, self.len)))).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_a_different_permutation() {
        let mut batches = Batches::new(10, 4, 7).unwrap();
        let all: Vec<u32> = (0..25).flat_map(|step| batches.at(step).unwrap()).collect();
        let mut epochs: Vec<_> = all.chunks(10).map(<[u32]>::to_vec).collect();
        assert!(epochs.windows(2).all(|pair| pair[0] != pair[1]));
        for epoch in &mut epochs {
            epoch.sort_unstable();
            assert_eq!(*epoch, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_step_gives_the_same_batch_whatever_was_asked_before() {
        let mut straight = Batches::new(1500, 64, 3).unwrap();
        let steps: Vec<_> = (0..100).map(|step| straight.at(step).unwrap()).collect();
        for step in [99, 23, 24, 0, 50] {
            assert_eq!(Batches::new(1500, 64, 3).unwrap().at(step).unwrap(), steps[step as usize]);
            assert_eq!(straight.at(step).unwrap(), steps[step as usize]);
        }
        assert_ne!(Batches::new(1500, 64, 4).unwrap().at(0).unwrap(), steps[0]);
    }

    #[test]
    fn a_batch_may_be_larger_than_the_set() {
        let mut batch = Batches::new(3, 7, 0).unwrap().at(5).unwrap();
        assert_eq!(batch.len(), 7);
        batch.sort_unstable();
        batch.dedup();
        assert_eq!(batch, [0, 1, 2]);
    }

    #[test]
    fn impossible_requests_are_errors() {
        assert!(Batches::new(0, 1, 0).is_err());
        assert!(Batches::new(1, 0, 0).is_err());
        assert!(Batches::new(1, 1, 0).unwrap().at(1 << 32).is_err());
        assert!(Batches::new(1, 1, 0).unwrap().at(u64::MAX).is_err());
        assert!(Batches::new(1, 1, 0).unwrap().at((1 << 32) - 1).is_ok());
    }
}
