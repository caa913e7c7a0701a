//! DPM-Solver++(2S) (Lu et al. 2022, arXiv 2211.01095, algorithm 1 with r = 1/2), with optional ancestral noise.
//!
//! Second order in ln sigma, single step; two denoiser calls a step, one in a step to 0.

use super::run::combine;
use super::{Run, Solver, ancestral_step};
use crate::error::Result;
use crate::tensor::Tensor;

/// eta = 0 is DPM-Solver++(2S), eta > 0 its ancestral variant: see [`ancestral_step`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DpmPp2S {
    /// Share of the noise; 0 for none.
    pub eta: f64,
    /// Standard deviation of the noise, relative to what the split asks for.
    pub s_noise: f64,
}

impl Default for DpmPp2S {
    fn default() -> Self {
        DpmPp2S { eta: 0.0, s_noise: 1.0 }
    }
}

impl Solver for DpmPp2S {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        run.steps(x, sigmas, |run, _, x, a, b| {
            let (down, up) = ancestral_step(a, b, self.eta);
            let denoised = run.denoise(x, a)?;
            let x = if down == 0.0 {
                denoised
            } else {
                let m = (a * down).sqrt();
                let middle = combine(&[(m / a, x), (1.0 - m / a, &denoised)])?; // line 4
                let denoised = run.denoise(&middle, m)?; // line 5
                combine(&[(down / a, x), (1.0 - down / a, &denoised)])? // line 6
            };
            if up > 0.0 { run.add_noise(&x, self.s_noise * up, a, b) } else { Ok(x) }
        })
    }
}
