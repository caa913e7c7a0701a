//! Which samples a training step sees.

use std::ops::Range;

use super::window::WindowShuffle;
use crate::random::{Purpose, RandomKey, permutation};
use crate::{Error, Result};

crate::choice! {
    /// In which order training sees its samples.
    pub enum Shuffle {
        /// Each epoch is a fresh permutation.
        Epochs = "epochs",
        /// EDM's: a sample comes back after half of the set at the earliest. A permutation is walked round and round,
        /// while each sample changes places with one of the half of the set before it.
        Window = "window",
    }
}

/// An endless, shuffled order of a data set, cut into batches.
///
/// The batch of a step is a pure function of seed and step, so a resumed run needs no state: ask for the step at which
/// it stopped. A batch may hold the end of one epoch and the beginning of the next; none is ever short.
#[derive(Debug, Clone)]
pub struct Batches {
    len: u32,
    batch: usize,
    seed: u64,
    order: Order,
}

#[derive(Debug, Clone)]
enum Order {
    /// The last permutation that was made, and its epoch: only a memory, to save work.
    Epochs(Option<(u32, Vec<u32>)>),
    Window(WindowShuffle),
}

impl Batches {
    /// Batches of `batch` out of `len` samples, epoch by epoch.
    ///
    /// Errors if either is zero, or `len` does not fit 32 bits.
    pub fn new(len: usize, batch: usize, seed: u64) -> Result<Self> {
        Self::shuffled(Shuffle::Epochs, len, batch, seed)
    }

    /// As [`new`](Self::new), in the order that `shuffle` says.
    pub fn shuffled(shuffle: Shuffle, len: usize, batch: usize, seed: u64) -> Result<Self> {
        if len == 0 || batch == 0 {
            let what = format!("batches of {batch} out of {len} samples; both must be at least 1");
            return Err(Error::argument("Batches::new", what));
        }
        let len = u32::try_from(len)
            .map_err(|_| Error::argument("Batches::new", format!("{len} samples; at most 2^32 - 1")))?;
        let order = match shuffle {
            Shuffle::Epochs => Order::Epochs(None),
            Shuffle::Window => Order::Window(WindowShuffle::new(len, seed)?),
        };
        Ok(Batches { len, batch, seed, order })
    }

    /// Which samples come in some steps, for work that only they need.
    ///
    /// Errors where [`at`](Self::at) does.
    pub fn drawn(&mut self, steps: Range<u64>) -> Result<Vec<bool>> {
        let mut drawn = vec![false; self.len as usize];
        let mut left = drawn.len();
        for step in steps {
            for index in self.at(step)? {
                left -= usize::from(!std::mem::replace(&mut drawn[index as usize], true));
            }
            if left == 0 {
                break; // however long the run is meant to be
            }
        }
        Ok(drawn)
    }

    /// The indices of the samples of `step`, counted from 0.
    ///
    /// Errors past 2^32 epochs or, in [`Shuffle::Window`], 2^63 samples.
    pub fn at(&mut self, step: u64) -> Result<Vec<u32>> {
        let (len, first) = (u128::from(self.len), u128::from(step) * self.batch as u128);
        let memory = match &mut self.order {
            Order::Epochs(memory) => memory,
            Order::Window(window) => {
                return window.at(u64::try_from(first).unwrap_or(u64::MAX), self.batch, self.seed);
            }
        };
        let mut indices = Vec::with_capacity(self.batch);
        while indices.len() < self.batch {
            let position = first + indices.len() as u128;
            let within = (position % len) as usize;
            let take = (self.len as usize - within).min(self.batch - indices.len());
            let order = epoch(memory, position / len, self.len, self.seed)?;
            indices.extend_from_slice(&order[within..within + take]);
        }
        Ok(indices)
    }
}

/// The permutation of an epoch, remembered for the next batch.
fn epoch(memory: &mut Option<(u32, Vec<u32>)>, epoch: u128, len: u32, seed: u64) -> Result<&[u32]> {
    let epoch = u32::try_from(epoch)
        .map_err(|_| Error::argument("Batches::at", format!("epoch {epoch}; at most 2^32 - 1 can be told apart")))?;
    let stream = RandomKey::new(seed, Purpose::Shuffle).at_step(epoch).stream()?;
    let known = memory.take().filter(|(known, _)| *known == epoch);
    Ok(&memory.insert(known.unwrap_or_else(|| (epoch, permutation(&stream, len)))).1)
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
    fn a_window_keeps_samples_apart_and_brings_all_of_them() {
        let len = 200;
        let mut batches = Batches::shuffled(Shuffle::Window, len, 8, 7).unwrap();
        let all: Vec<u32> = (0..500).flat_map(|step| batches.at(step).unwrap()).collect();
        // What has just been seen moves back by less than half of the set, so it is at least half of the set away.
        let mut last = vec![None; len];
        let mut seen = vec![0usize; len];
        for (at, &sample) in all.iter().enumerate() {
            if let Some(before) = last[sample as usize].replace(at) {
                assert!(at - before > len / 2, "{sample} came back after {}", at - before);
            }
            seen[sample as usize] += 1;
        }
        // 20 rounds on average; far from an order in which some samples never come.
        assert!(seen.iter().all(|&count| (12..=28).contains(&count)), "{seen:?}");
        assert_ne!(all[..len], all[len..2 * len]);
        for step in [499, 3, 250, 0] {
            let mut fresh = Batches::shuffled(Shuffle::Window, len, 8, 7).unwrap();
            let expected = &all[8 * step..8 * step + 8];
            assert_eq!(fresh.at(step as u64).unwrap(), expected);
            assert_eq!(batches.at(step as u64).unwrap(), expected);
        }
        assert_ne!(Batches::shuffled(Shuffle::Window, len, 8, 8).unwrap().at(0).unwrap(), all[..8]);
    }

    #[test]
    fn what_is_drawn_is_what_the_steps_hold() {
        for shuffle in [Shuffle::Epochs, Shuffle::Window] {
            let mut batches = Batches::shuffled(shuffle, 50, 4, 1).unwrap();
            let drawn = batches.drawn(3..9).unwrap();
            let expected: Vec<u32> = (3..9).flat_map(|step| batches.at(step).unwrap()).collect();
            assert!((0..50).all(|i| drawn[i as usize] == expected.contains(&i)), "{shuffle:?}");
            assert_eq!(batches.drawn(5..5).unwrap(), [false; 50]);
        }
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
        assert!(Batches::shuffled(Shuffle::Window, 0, 1, 0).is_err());
        assert!(Batches::shuffled(Shuffle::Window, 3, 4, 0).unwrap().at(u64::MAX).is_err());
    }
}
