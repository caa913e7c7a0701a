//! DPM-Solver++(3M) (Lu et al. 2022, arXiv 2211.01095, section 4.2 carried one order further).
//!
//! Third order in ln sigma, three steps; one denoiser call a step. The first two steps are of first and second order, a
//! step to 0 of first.

use super::dpmpp_3m_sde::multistep;
use super::{Run, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// The solver; it has no options. Equal to [`DpmPp3MSde`](super::DpmPp3MSde) with eta = 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DpmPp3M;

impl Solver for DpmPp3M {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        multistep(run, x, sigmas, 0.0, 0.0)
    }
}
