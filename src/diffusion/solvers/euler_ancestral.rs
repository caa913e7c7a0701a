//! Euler's method with ancestral noise: DDIM with eta > 0, DDPM at eta = 1 (Song, Meng & Ermon 2021, arXiv 2010.02502).
//!
//! One denoiser call a step.

use super::run::axpy;
use super::{Run, Solver, ancestral_step};
use crate::error::Result;
use crate::tensor::Tensor;

/// Euler to `down`, then noise `up`: see [`ancestral_step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EulerAncestral {
    /// Share of the noise; 0 makes it Euler's method.
    pub eta: f64,
    /// Standard deviation of the noise, relative to what the split asks for.
    pub s_noise: f64,
}

impl Default for EulerAncestral {
    fn default() -> Self {
        EulerAncestral { eta: 1.0, s_noise: 1.0 }
    }
}

impl Solver for EulerAncestral {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        run.steps(x, sigmas, |run, _, x, a, b| {
            let (down, up) = ancestral_step(a, b, self.eta);
            let d = run.slope(x, a)?;
            let x = axpy(x, down - a, &d)?;
            if up > 0.0 { run.add_noise(&x, self.s_noise * up, a, b) } else { Ok(x) }
        })
    }
}
