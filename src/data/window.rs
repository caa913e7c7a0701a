//! EDM's endless order: no epochs, but no sample comes back at once.

use crate::random::{Purpose, RandomKey, Stream, permutation};
use crate::{Error, Result};

/// Walks a permutation round and round; each sample that was handed out changes places with one of the half of the set
/// before it (Karras et al. 2022, the sampler of the public code, window 0.5).
///
/// What stands at a position is a pure function of the seed; going back, or on from a stored position, walks there from
/// the start, some nanoseconds a sample.
#[derive(Debug, Clone)]
pub(super) struct WindowShuffle {
    stream: Stream,
    order: Vec<u32>,
    window: u64,
    position: u64,
}

/// The site of the exchanges' key; the first permutation has site 0.
const SITE: u32 = 1;

impl WindowShuffle {
    /// The order of `len` samples, at least 1.
    pub fn new(len: u32, seed: u64) -> Result<Self> {
        let key = RandomKey::new(seed, Purpose::Shuffle);
        let order = permutation(&key.stream()?, len);
        // Half of the set, rounded to even as there.
        let window = (f64::from(len) * 0.5).round_ties_even() as u64;
        Ok(WindowShuffle { stream: key.at_site(SITE).stream()?, order, window, position: 0 })
    }

    /// The `count` samples from position `first` on. Errors past 2^63 samples.
    pub fn at(&mut self, first: u64, count: usize, seed: u64) -> Result<Vec<u32>> {
        if first.checked_add(count as u64).is_none_or(|end| end > 1 << 63) {
            return Err(Error::argument("Batches::at", format!("sample {first}; at most 2^63 can be told apart")));
        }
        if first < self.position {
            *self = WindowShuffle::new(self.order.len() as u32, seed)?;
        }
        while self.position < first {
            self.next();
        }
        Ok((0..count).map(|_| self.next()).collect())
    }

    fn next(&mut self) -> u32 {
        let len = self.order.len() as u64;
        let i = self.position % len;
        let sample = self.order[i as usize];
        if self.window >= 2 {
            let word = self.stream.word((self.position >> 32) as u32, self.position & 0xffff_ffff);
            let back = (u64::from(word) * self.window) >> 32;
            self.order.swap(i as usize, ((i + len - back) % len) as usize);
        }
        self.position += 1;
        sample
    }
}
