//! Random numbers as a pure function of (seed, purpose, site, sample, step, element).
//!
//! There is no generator that is advanced: every number has an address, and asking twice gives it twice. So sample 17
//! is the same picture in a batch of 1 and in a batch of 64, on any device and any number of threads; a resumed run
//! stores no generator; and a backward pass makes its noise again instead of keeping it.
//!
//! The address is the counter and the key of [Philox4x32-10](philox):
//!
//! | word | holds |
//! |---|---|
//! | key 0, 1 | the seed, low and high half |
//! | counter 0 | `element / 4`, the element's index inside its sample; a block gives four words, one an element |
//! | counter 1 | the sample's index |
//! | counter 2 | the step |
//! | counter 3 | `purpose << 24 \| site` |
//!
//! [`variates`] turns words into uniforms, normals, exponentials and Gumbels with the same f32 operations as the
//! kernels do (`kernels/device/variates.cuh`): not only the words but the variates are bit for bit equal on every
//! device.

pub mod binomial;
pub mod fill;
pub mod multinomial;
pub mod philox;
mod sequence;
pub mod shuffle;
pub mod variates;

pub use binomial::binomial;
pub use fill::{Exponential, Gumbel, Normal, Samples, Uniform, Variate, Words, fill, fill_rows, with_numbers};
pub use multinomial::{Alias, multinomial};
pub use sequence::Sequence;
pub use shuffle::permutation;

use crate::error::{Error, Result};

/// What a random number is for. Numbers with different purposes are independent under the same seed.
///
/// The discriminants are part of the addresses: never renumber one, results would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Purpose {
    /// Initial weights; the site is the parameter.
    Init = 0,
    /// The noise that a sampler starts from.
    Latents = 1,
    /// The noise added to training samples.
    TrainingNoise = 2,
    /// The noise level of a training sample.
    Sigma = 3,
    /// The noise that a stochastic solver injects.
    SolverNoise = 4,
    /// Dropout masks; the site is the layer.
    Dropout = 5,
    /// The order of the data.
    Shuffle = 6,
    /// Drawn or dropped labels.
    Labels = 7,
    /// Gumbel noise of relaxed categorical samples.
    Gumbel = 8,
    /// Hard categorical samples.
    Categorical = 9,
    /// Random sub-sets and projections in metrics, probes of trace estimators.
    Metrics = 10,
    /// Augmentation of training samples.
    Augmentation = 11,
    /// Corruption of data: noise, masks, wrong labels.
    Corruption = 12,
    /// Synthetic data sets.
    Synthetic = 13,
    /// Split of a data set into parts.
    Split = 14,
    /// The seeds of a method's stages, one after the other on the same data.
    Stage = 15,
    /// Rounds of training on one's own samples; the site says what is drawn, the sample is the repeat, the step the
    /// round.
    SelfConsuming = 20,
    /// Noise that layers add in training; the site is the layer.
    LayerNoise = 30,
    /// Whatever a caller's own program needs.
    Custom = 255,
}

/// The address of a tensor's worth of random numbers: all but sample and element.
///
/// ```
/// use veridical::random::{self, Purpose, RandomKey, Samples};
/// let key = RandomKey::new(7, Purpose::Latents);
/// let (mut all, mut one) = ([0.0; 30], [0.0; 10]);
/// random::fill(random::Normal, &key.stream()?, Samples::From(0), 10, &mut all)?;
/// random::fill(random::Normal, &key.stream()?, Samples::From(2), 10, &mut one)?;
/// assert_eq!(all[20..], one); // sample 2 is the same alone and among others
/// # Ok::<(), veridical::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RandomKey {
    /// The run's seed.
    pub seed: u64,
    /// What the numbers are for.
    pub purpose: Purpose,
    /// Which of several places with the same purpose: a layer, a parameter. Below 2^24.
    pub site: u32,
    /// The training step or solver step.
    pub step: u32,
}

impl RandomKey {
    /// The key with site 0 and step 0.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        RandomKey { seed, purpose, site: 0, step: 0 }
    }

    /// The seed of stage `stage` of a method that runs under `seed`: `seed` itself for stage 0, so that a first stage
    /// is the plain run. Below 2^63, as settings files hold no larger numbers.
    pub fn stage_seed(seed: u64, stage: u32) -> Result<u64> {
        if stage == 0 {
            return Ok(seed);
        }
        let [low, high, ..] = RandomKey::new(seed, Purpose::Stage).stream()?.block(stage, 0);
        Ok(u64::from(low) | u64::from(high >> 1) << 32)
    }

    /// The same key for another site.
    #[must_use]
    pub fn at_site(self, site: u32) -> Self {
        RandomKey { site, ..self }
    }

    /// The same key for another step.
    #[must_use]
    pub fn at_step(self, step: u32) -> Self {
        RandomKey { step, ..self }
    }

    /// The words that kernels take. Errors if the site needs more than 24 bits.
    pub fn stream(&self) -> Result<Stream> {
        if self.site >= 1 << 24 {
            return Err(Error::argument("random key", format!("site {} is not below 2^24", self.site)));
        }
        Ok(Stream {
            key: [self.seed as u32, (self.seed >> 32) as u32],
            tail: [self.step, (self.purpose as u32) << 24 | self.site],
        })
    }
}

/// A [`RandomKey`] in the words of Philox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The Philox key: the seed, low half first.
    pub key: [u32; 2],
    /// Counter words 2 and 3: the step, and `purpose << 24 | site`.
    pub tail: [u32; 2],
}

impl Stream {
    /// The four words of elements `4 * block ..` of a sample.
    pub fn block(&self, sample: u32, block: u32) -> [u32; 4] {
        philox::philox4x32_10([block, sample, self.tail[0], self.tail[1]], self.key)
    }

    /// The word of one element of a sample; elements count to 2^34.
    pub fn word(&self, sample: u32, element: u64) -> u32 {
        self.block(sample, (element / 4) as u32)[(element % 4) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_address_matters() {
        let base = RandomKey { seed: 1, purpose: Purpose::Dropout, site: 5, step: 9 };
        let word = |k: RandomKey, sample, element| k.stream().unwrap().word(sample, element);
        let others = [
            word(base, 3, 17),
            word(RandomKey { seed: 2, ..base }, 3, 17),
            word(RandomKey { seed: 1 | 1 << 32, ..base }, 3, 17),
            word(RandomKey { purpose: Purpose::Gumbel, ..base }, 3, 17),
            word(base.at_site(6), 3, 17),
            word(base.at_step(10), 3, 17),
            word(base, 4, 17),
            word(base, 3, 18),
            word(base, 3, 17 + (1 << 33)),
        ];
        for (i, a) in others.iter().enumerate() {
            assert!(others[..i].iter().all(|b| a != b), "{others:08x?}");
        }
    }

    #[test]
    fn the_layout_of_the_address_is_fixed() {
        let key = RandomKey { seed: 0x299f31d0_a4093822, purpose: Purpose::Split, site: 0x0a_bcde, step: 0x13198a2e };
        let stream = key.stream().unwrap();
        assert_eq!(stream, Stream { key: [0xa4093822, 0x299f31d0], tail: [0x13198a2e, 0x0e0a_bcde] });
        let counter = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x0e0a_bcde];
        assert_eq!(
            stream.word(0x85a308d3, 4 * 0x243f6a88 + 2),
            philox::philox4x32_10(counter, [0xa4093822, 0x299f31d0])[2]
        );
    }

    #[test]
    fn a_site_beyond_24_bits_is_an_error() {
        assert!(RandomKey::new(0, Purpose::Init).at_site((1 << 24) - 1).stream().is_ok());
        assert!(RandomKey::new(0, Purpose::Init).at_site(1 << 24).stream().is_err());
    }
}
