//! What makes noise Gaussian and of one level.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::anscombe::{Anscombe, Detector};
use crate::figures::significant;

/// A transform of numbers after which their noise is Gaussian, nearly or exactly, and of one level. It is another one
/// for numbers with noise than for those without: what is expected of the former is what it makes of the latter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transform(Kind);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Of counts, to a level of 1.
    Counts(Anscombe),
    /// Of positive numbers `x exp(n - sigma^2/2)` with `n` normal, so that the factor has mean 1: `ln x + n`.
    Logarithm,
}

impl Transform {
    /// The generalised Anscombe transform, for counts of a detector; its inverse is the exact unbiased one (Mäkitalo &
    /// Foi 2013). Noise behind it has a level near 1.
    pub fn counts(detector: Detector) -> Self {
        Transform(Kind::Counts(Anscombe::new(detector)))
    }

    /// The logarithm. Noise that multiplies by log-normal factors of mean 1 and log-deviation `sigma` has level `sigma`
    /// behind it, exactly.
    pub fn logarithm() -> Self {
        Transform(Kind::Logarithm)
    }

    /// The detector, of counts.
    pub fn detector(&self) -> Option<&Detector> {
        match &self.0 {
            Kind::Counts(of) => Some(&of.detector),
            Kind::Logarithm => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.detector().map_or(Ok(()), Detector::check)
    }

    /// Of a number without noise: what is expected of [`of_noisy`](Self::of_noisy) where that is its mean.
    pub fn of_mean(&self, x: f64) -> f64 {
        match &self.0 {
            Kind::Counts(of) => of.of_mean(x),
            Kind::Logarithm => x.ln(),
        }
    }

    /// Of a number with noise; `sigma` is the level of multiplicative noise.
    pub fn of_noisy(&self, x: f64, sigma: f64) -> f64 {
        match &self.0 {
            Kind::Counts(of) => of.of_count(x),
            Kind::Logarithm => x.ln() + sigma * sigma / 2.0,
        }
    }

    /// The inverse of [`of_mean`](Self::of_mean), and its slope.
    pub fn to_mean(&self, x: f64) -> [f64; 2] {
        match &self.0 {
            Kind::Counts(of) => of.to_mean(x),
            Kind::Logarithm => [x.exp(); 2],
        }
    }

    /// Whether results in 32 bits would lose what tells numbers apart; `offset` and `scale` follow the transform.
    pub(super) fn needs_f64(&self, offset: &[f64], scale: &[f64]) -> bool {
        match &self.0 {
            Kind::Counts(Anscombe { detector, .. }) => {
                detector.offset.abs() > 1e6 * detector.gain || !(1e-30..1e30).contains(&detector.gain)
            }
            // 32 bits go from exp(-87) to exp(88).
            Kind::Logarithm => offset.iter().zip(scale).any(|(offset, scale)| offset.abs() + 8.0 * scale > 80.0),
        }
    }
}

impl Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.0 {
            Kind::Counts(Anscombe { detector: Detector { gain, offset, read_noise }, .. }) => write!(
                f,
                "stabilised as counts (gain {}, offset {}, read-out noise {})",
                significant(*gain, 6),
                significant(*offset, 6),
                significant(*read_noise, 6)
            ),
            Kind::Logarithm => write!(f, "taken by their logarithm"),
        }
    }
}
