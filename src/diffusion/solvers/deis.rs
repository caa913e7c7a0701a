//! DEIS: Adams-Bashforth with polynomials in ln sigma (Zhang & Chen 2023, arXiv 2204.13902, tAB-DEIS; in diffusers
//! "log-rho").
//!
//! One denoiser call a step. Order `i + 1` in step i until the history is long enough; a step to 0 returns the denoised
//! samples.

use super::lagrange::{basis, integral};
use super::lms::history;
use super::run::axpy;
use super::{Run, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// `x' = x + sum_j c_j d_{i-j}`, with the integrals c_j over sigma of the interpolating polynomials in ln sigma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deis {
    /// Slopes used, 1 to 8.
    pub order: usize,
}

impl Default for Deis {
    fn default() -> Self {
        Deis { order: 3 }
    }
}

impl Solver for Deis {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        let mut slopes = Vec::new(); // the latest first
        run.steps(x, sigmas, |run, i, x, a, b| {
            let nodes: Vec<f64> = history(sigmas, i, self.order)?.into_iter().map(f64::ln).collect();
            slopes.insert(0, run.slope(x, a)?);
            slopes.truncate(self.order);
            if b == 0.0 {
                return axpy(x, -a, &slopes[0]);
            }
            // d sigma = e^t dt with t = ln sigma: smooth, so that a high rule is exact to rounding.
            let weight = |j: usize| integral::<24>(a.ln(), b.ln(), |t| basis(&nodes, j, t) * t.exp());
            (0..nodes.len()).zip(&slopes).try_fold(x.clone(), |x, (j, d)| axpy(&x, weight(j), d))
        })
    }
}
