//! The state of an optimiser and averages in shares, one on each rank: what Rajbhandari et al. 2020 (*ZeRO: Memory
//! Optimizations Toward Training Trillion Parameter Models*, arXiv 1910.02054, section 5) call its first stage.
//!
//! Every number of the weights has its own state, so a rank that updates its part of them needs that part's state
//! alone. All ranks then get each other's parts. What a whole is needed for, checkpoints and samples of the average, is
//! [gathered](Trainer::gather) for as long as the weights stay as they are.

use std::ops::Range;

use super::Trainer;
use crate::distributed::{Ranks, tree};
use crate::error::{Error, Result};
use crate::ops;
use crate::optim::{Optimizer, StepOptions};
use crate::tensor::Tensor;

/// The part of this rank, and what all ranks have together as long as it is known.
#[derive(Debug)]
pub(super) struct Shard {
    part: Range<usize>,
    whole: Option<Whole>,
}

/// All parts together.
#[derive(Debug)]
struct Whole {
    average: Option<Tensor>,
    powers: Vec<Tensor>,
    optimizer: Vec<(&'static str, Tensor)>,
}

/// Where shares begin: multiples of so many numbers, so that kernels can take several at a time.
const UNIT: usize = 64;

/// The part of a rank.
fn part(length: usize, rank: usize, ranks: usize) -> Range<usize> {
    let units = tree::share(length.div_ceil(UNIT), rank, ranks);
    (units.start * UNIT).min(length)..(units.end * UNIT).min(length)
}

/// A part of a flat tensor, in memory of its own, so that the whole can go.
fn cut(whole: &Tensor, part: &Range<usize>) -> Result<Tensor> {
    let mut own = whole.narrow(part.start, part.len())?;
    own.make_unique()?;
    Ok(own)
}

/// What each rank has of something, put together.
fn joined(ranks: &Ranks, own: &Tensor, length: usize) -> Result<Tensor> {
    let lengths: Vec<_> = (0..ranks.size()).map(|rank| part(length, rank, ranks.size()).len()).collect();
    ranks.gather_tensors(own, &lengths)?.to_device(&own.device())
}

impl Trainer {
    /// Keeps only this rank's share of the state from here on.
    pub(super) fn keep_share(&mut self) -> Result<()> {
        let flat = self.weights.flat();
        let part = part(flat.len(), self.ranks.rank(), self.ranks.size());
        self.optimizer = Optimizer::new(self.options.optimizer, &cut(flat, &part)?)?;
        self.average = self.average.take().map(|average| cut(&average, &part)).transpose()?;
        for (_, _, average) in &mut self.powers {
            *average = cut(average, &part)?;
        }
        self.shard = Some(Shard { part, whole: None });
        Ok(())
    }

    /// Has every rank know the whole state, until the next step, where each keeps a share of it
    /// ([`TrainOptions::shard_state`](super::TrainOptions::shard_state)): to be called by all of them before
    /// [`average`](Self::average), [`power_averages`](Self::power_averages) and
    /// [`optimizer_state`](Self::optimizer_state). Nothing happens where each has the whole anyway. Errors if a rank is
    /// lost.
    pub fn gather(&mut self) -> Result<()> {
        let Some(shard) = self.shard.as_ref().filter(|shard| shard.whole.is_none()) else { return Ok(()) };
        let length = self.weights.flat().len();
        debug_assert_eq!(shard.part, part(length, self.ranks.rank(), self.ranks.size()));
        let join = |own: &Tensor| joined(&self.ranks, own, length);
        let whole = Whole {
            average: self.average.as_ref().map(join).transpose()?,
            powers: self.powers.iter().map(|(_, _, average)| join(average)).collect::<Result<_>>()?,
            optimizer: self
                .optimizer
                .state()
                .into_iter()
                .map(|(name, buffer)| Ok((name, join(buffer)?)))
                .collect::<Result<_>>()?,
        };
        if let Some(shard) = &mut self.shard {
            shard.whole = Some(whole);
        }
        Ok(())
    }

    /// Whether the whole state is here: true but between steps in which each rank has a share alone.
    pub fn is_whole(&self) -> bool {
        self.shard.as_ref().is_none_or(|shard| shard.whole.is_some())
    }

    /// The running average, of all weights.
    pub(super) fn whole_average(&self) -> Result<Option<&Tensor>> {
        Ok(match &self.shard {
            None => self.average.as_ref(),
            Some(shard) => shard.whole()?.average.as_ref(),
        })
    }

    /// The power-function averages, of all weights.
    pub(super) fn whole_powers(&self) -> Result<Vec<&Tensor>> {
        Ok(match &self.shard {
            None => self.powers.iter().map(|(_, _, average)| average).collect(),
            Some(shard) => shard.whole()?.powers.iter().collect(),
        })
    }

    /// The optimiser's buffers by name, each as long as the weights. Errors where they are in shares and have not been
    /// [gathered](Self::gather).
    pub fn optimizer_state(&self) -> Result<Vec<(&'static str, &Tensor)>> {
        Ok(match &self.shard {
            None => self.optimizer.state(),
            Some(shard) => shard.whole()?.optimizer.iter().map(|(name, buffer)| (*name, buffer)).collect(),
        })
    }

    /// What of a tensor as long as the weights is this rank's to keep.
    pub(super) fn own_share(&self, whole: Tensor) -> Result<Tensor> {
        self.shard.as_ref().map_or(Ok(whole.clone()), |shard| cut(&whole, &shard.part))
    }

    /// Another state was put in place of the one that was gathered.
    pub(super) fn forget_whole(&mut self) {
        self.shard.iter_mut().for_each(|shard| shard.whole = None);
    }

    /// A step of this rank's part of the weights, and the parts of the others.
    pub(super) fn take_share(
        &mut self,
        part: Range<usize>,
        gradient: &Tensor,
        (lr_factor, clip): (f64, &Tensor),
        (beta, batch): (f64, u64),
    ) -> Result<()> {
        self.forget_whole();
        let mut own = cut(self.weights.flat(), &part)?;
        let gradient = cut(gradient, &part)?;
        let ema = self.average.as_mut().map(|ema| (ema, beta));
        self.optimizer.step(&mut own, &gradient, StepOptions { lr_factor, clip: Some(clip), ema, copy: None })?;
        for (_, profile, average) in &mut self.powers {
            ops::average(average, &own, profile.beta(self.seen, batch))?;
        }
        let flat = joined(&self.ranks, &own, self.weights.flat().len())?;
        let weights = self.weights.with_flat(flat)?;
        self.weights = weights.for_compute(self.options.compute)?;
        Ok(())
    }

    /// The part of the weights that this rank updates, if it is not all of them.
    pub(super) fn part(&self) -> Option<Range<usize>> {
        self.shard.as_ref().map(|shard| shard.part.clone())
    }
}

impl Shard {
    fn whole(&self) -> Result<&Whole> {
        self.whole.as_ref().ok_or_else(|| {
            Error::argument(
                "Trainer",
                "optimiser and averages are in shares, one on each rank: call gather on all of them first",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole_and_begin_at_units() {
        for length in [0, 1, 63, 64, 65, 1000, 4096] {
            for ranks in 1..=5 {
                let parts: Vec<_> = (0..ranks).map(|rank| part(length, rank, ranks)).collect();
                assert_eq!((parts[0].start, parts[ranks - 1].end), (0, length), "{parts:?}");
                for pair in parts.windows(2) {
                    assert_eq!(pair[0].end, pair[1].start, "{parts:?}");
                    assert!(pair[1].start.is_multiple_of(UNIT) || pair[1].start == length, "{parts:?}");
                }
            }
        }
    }
}
