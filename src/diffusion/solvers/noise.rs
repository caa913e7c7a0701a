//! Where the noise of stochastic solvers comes from.

use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::{Draws, SampleIds};
use crate::random::{Purpose, RandomKey};
use crate::tensor::Tensor;

/// A source of standard normal noise.
pub trait Noise {
    /// `x + deviation z` for samples `x` `[n, ...]`, where z is the standard normal noise of the way from noise level
    /// `from` to `to`.
    ///
    /// A request with a deviation of 0 counts, but adds nothing.
    fn add(&mut self, x: &Tensor, deviation: f64, from: f64, to: f64) -> Result<Tensor>;
}

/// Independent noise for every request: a pure function of seed, sample and number of the request, made in the kernel
/// that adds it.
#[derive(Debug, Clone)]
pub struct FreshNoise {
    key: RandomKey,
    samples: SampleIds,
    requests: u32,
}

impl FreshNoise {
    /// The noise of `samples` under a seed.
    pub fn new(seed: u64, samples: SampleIds) -> Self {
        FreshNoise { key: RandomKey::new(seed, Purpose::SolverNoise), samples, requests: 0 }
    }
}

impl Noise for FreshNoise {
    fn add(&mut self, x: &Tensor, deviation: f64, _: f64, _: f64) -> Result<Tensor> {
        let draws = Draws { key: self.key.at_step(self.requests), samples: self.samples.clone() };
        self.requests = self
            .requests
            .checked_add(1)
            .ok_or_else(|| Error::argument("solver noise", "more than 2^32 requests in one run"))?;
        Ok(ops::solver_update(x, None, Some((deviation.into(), &draws)))?.into_value())
    }
}
