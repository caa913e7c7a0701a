//! DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2).
//!
//! Second order in ln sigma, two steps; one denoiser call a step. The first step and a step to 0 are of first order.

use super::run::combine;
use super::{Run, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// The solver; it has no options.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DpmPp2M;

impl Solver for DpmPp2M {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        let mut last: Option<(Tensor, f64)> = None; // D and h of the step before
        run.steps(x, sigmas, |run, _, x, a, b| {
            let denoised = run.denoise(x, a)?;
            if b == 0.0 {
                return Ok(denoised);
            }
            let h = (a / b).ln();
            let ahead = match &last {
                None => denoised.clone(),
                Some((before, h_before)) => {
                    let r = h_before / h;
                    combine(&[(1.0 + 0.5 / r, &denoised), (-0.5 / r, before)])?
                }
            };
            last = Some((denoised, h));
            combine(&[(b / a, x), (1.0 - b / a, &ahead)])
        })
    }
}
