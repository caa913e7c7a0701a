//! One Brownian path for any number of steps.

use super::Noise;
use super::run::{axpy, combine};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::{Draws, SampleIds};
use crate::random::{Purpose, RandomKey};
use crate::tensor::Tensor;

/// Halvings of the interval; below, the path is a straight line.
const DEPTH: u32 = 26;

/// Noise whose increments belong to one Brownian path W over the logarithm of the noise level: runs of different step
/// counts then approximate the same sample, and more steps change it less and less.
///
/// W is a virtual Brownian tree (Li et al. 2020, arXiv 2001.01328, section 4): its value in the middle of a dyadic
/// interval, given those at the ends, is their mean plus noise that is a pure function of seed, sample and interval.
/// Nothing is stored but the last two values asked for. The noise of a way from `a` to `b` is `(W(ln b) - W(ln a)) /
/// sqrt|ln b - ln a|`. Ways that overlap have noise in common: [`Solver::path_use`](super::Solver::path_use) tells
/// which solvers that suits.
#[derive(Debug, Clone)]
pub struct BrownianPath {
    key: RandomKey,
    samples: SampleIds,
    low: f64,
    high: f64,
    /// The last values: logarithm of the level and W.
    last: Vec<(f64, Tensor)>,
}

impl BrownianPath {
    /// The path of `samples` under a seed, between two noise levels. Errors unless `0 < sigma_min < sigma_max`, both
    /// finite.
    pub fn new(seed: u64, samples: SampleIds, sigma_min: f64, sigma_max: f64) -> Result<Self> {
        if !(sigma_min > 0.0 && sigma_min < sigma_max && sigma_max.is_finite()) {
            let what = format!("the path needs 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}");
            return Err(Error::argument("Brownian path", what));
        }
        // Site 0 is the fresh noise's.
        let key = RandomKey::new(seed, Purpose::SolverNoise).at_site(1);
        Ok(BrownianPath { key, samples, low: sigma_min.ln(), high: sigma_max.ln(), last: Vec::new() })
    }

    /// `deviation` times the standard normal numbers of a node, shaped like `x`, added to `x`.
    fn add_node(&self, x: &Tensor, deviation: f64, node: u32) -> Result<Tensor> {
        let draws = Draws { key: self.key.at_step(node), samples: self.samples.clone() };
        Ok(ops::solver_update(x, None, Some((deviation.into(), &draws)))?.into_value())
    }

    /// W at the logarithm `u` of a noise level; 0 at the low end.
    fn at(&mut self, like: &Tensor, u: f64) -> Result<Tensor> {
        let fits = |w: &Tensor| w.shape() == like.shape() && w.dtype() == like.dtype();
        if let Some((_, w)) = self.last.iter().find(|(at, w)| *at == u && fits(w)) {
            return Ok(w.clone());
        }
        let length = self.high - self.low;
        let place = (u - self.low) / length;
        let zero = Tensor::zeros(like.shape(), like.dtype(), &like.device())?;
        // Node 0 is the upper end; the middle of interval i of level k is node 2^k + i.
        let (mut left, mut right) = (zero.clone(), self.add_node(&zero, length.sqrt(), 0)?);
        let (mut start, mut width, mut index) = (0.0, 1.0, 0u32);
        let mut found = (place == 1.0).then(|| right.clone());
        if place == 0.0 {
            found = Some(left.clone());
        }
        for level in 0..DEPTH {
            if found.is_some() {
                break;
            }
            let mean = combine(&[(0.5, &left), (0.5, &right)])?;
            let middle = self.add_node(&mean, (length * width).sqrt() / 2.0, (1 << level) + index)?;
            width /= 2.0;
            let centre = start + width;
            index *= 2;
            if place == centre {
                found = Some(middle);
            } else if place < centre {
                right = middle;
            } else {
                (left, start, index) = (middle, centre, index + 1);
            }
        }
        let w = match found {
            Some(w) => w,
            None => {
                let t = (place - start) / width;
                combine(&[(1.0 - t, &left), (t, &right)])?
            }
        };
        if self.last.len() == 2 {
            self.last.remove(0);
        }
        self.last.push((u, w.clone()));
        Ok(w)
    }
}

impl Noise for BrownianPath {
    fn add(&mut self, x: &Tensor, deviation: f64, from: f64, to: f64) -> Result<Tensor> {
        // The ends of the interval may come back from a grid a rounding error away.
        let inside = |sigma: f64| {
            let u = sigma.ln();
            let slack = 1e-9 * (self.high - self.low);
            (u >= self.low - slack && u <= self.high + slack).then_some(u.clamp(self.low, self.high))
        };
        let (Some(from_u), Some(to_u)) = (inside(from), inside(to)) else {
            let (low, high) = (self.low.exp(), self.high.exp());
            let what = format!(
                "noise from {from} to {to} is asked for, but the path goes from {low} to {high}; make it wider, and do not churn along it"
            );
            return Err(Error::argument("Brownian path", what));
        };
        if deviation == 0.0 {
            return Ok(x.clone());
        }
        if from_u == to_u {
            let what = format!(
                "noise of standard deviation {deviation} is asked for at the level {from} itself; a path has noise between two levels only: take `FreshNoise`"
            );
            return Err(Error::argument("Brownian path", what));
        }
        let scale = deviation / (to_u - from_u).abs().sqrt();
        let (before, after) = (self.at(x, from_u)?, self.at(x, to_u)?);
        axpy(&axpy(x, scale, &after)?, -scale, &before)
    }
}
