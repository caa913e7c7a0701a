//! Guidance: steering a denoiser away from a worse one.

use super::solvers::{Denoise, combine};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// `D = D_ref + w (D_main - D_ref)`.
///
/// With the same model without classes as reference this is classifier-free guidance (Ho & Salimans 2022, arXiv
/// 2207.12598); with a smaller or less trained one, autoguidance (Karras et al. 2024, arXiv 2406.02507). Within an
/// interval of noise levels only: Kynkäänniemi et al. 2024, arXiv 2404.07724.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    /// w: 1 for none, more for a stronger effect.
    pub weight: f64,
    /// Guides where `low < sigma <= high` only; `None` for everywhere.
    pub interval: Option<(f64, f64)>,
}

impl Guidance {
    /// Guidance at every noise level.
    pub fn new(weight: f64) -> Self {
        Guidance { weight, interval: None }
    }

    /// Errors unless the weight is finite and the interval in order.
    pub fn check(&self) -> Result<()> {
        let ordered = self.interval.is_none_or(|(low, high)| low >= 0.0 && low < high);
        match self.weight.is_finite() && ordered {
            true => Ok(()),
            false => Err(Error::Config(format!("guidance needs a finite weight and 0 <= low < high, got {self:?}"))),
        }
    }

    /// Whether the reference has a say at this noise level.
    pub fn acts_at(&self, sigma: f64) -> bool {
        self.weight != 1.0 && self.interval.is_none_or(|(low, high)| low < sigma && sigma <= high)
    }
}

/// A denoiser guided by another. Where guidance does not act the reference is not called.
#[derive(Debug, Clone)]
pub struct Guided<M, R> {
    /// The denoiser that is guided.
    pub main: M,
    /// The one that it is steered away from.
    pub reference: R,
    /// How much, and where.
    pub guidance: Guidance,
}

impl<M: Denoise, R: Denoise> Denoise for Guided<M, R> {
    fn at(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let main = self.main.at(x, sigma)?;
        if !self.guidance.acts_at(sigma) {
            return Ok(main);
        }
        let reference = self.reference.at(x, sigma)?;
        let w = self.guidance.weight;
        combine(&[(w, &main), (1.0 - w, &reference)])
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        self.main.round_sigma(sigma)
    }
}
