//! The probability-flow ODE by an adaptive Runge-Kutta method, in the variable `u = ln sigma`: `dx/du = x - D(x; e^u)`.
//!
//! From the first level to the last above 0, then, if the grid ends at 0, one denoiser call that returns the clean
//! samples. The levels in between do not matter: the step sizes follow the tolerance (Dormand & Prince 1980, as in Song
//! et al. 2021, appendix D.4).

use super::run::combine;
use super::{DormandPrince, Run, Solver};
use crate::error::Result;
use crate::tensor::Tensor;

/// The solver. A batch shares its steps; [`Sampler`](crate::diffusion::Sampler) therefore hands it one sample at a
/// time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rk45 {
    /// Absolute tolerance of a step.
    pub atol: f64,
    /// Tolerance relative to the samples.
    pub rtol: f64,
    /// Steps, rejected ones included, after which it is an error.
    pub max_steps: usize,
}

impl Default for Rk45 {
    fn default() -> Self {
        Rk45 { atol: 1e-5, rtol: 1e-5, max_steps: 10_000 }
    }
}

impl Solver for Rk45 {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        let positive = sigmas.iter().rposition(|sigma| *sigma > 0.0).unwrap_or(0);
        let (first, last) = (sigmas[0], sigmas[positive]);
        run.observe(0, first, &x)?;
        let mut steps = 0;
        let mut y = vec![x];
        if positive > 0 {
            let method = DormandPrince { atol: self.atol, rtol: self.rtol, max_steps: self.max_steps };
            let run = std::cell::RefCell::new(&mut *run);
            let slope = |y: &Vec<Tensor>, u: f64| -> Result<Vec<Tensor>> {
                // The ends exactly, so that no level outside the grid is asked for.
                let sigma = u.exp().clamp(last, first);
                let denoised = run.borrow_mut().denoise(&y[0], sigma)?;
                Ok(vec![combine(&[(1.0, &y[0]), (-1.0, &denoised)])?])
            };
            y = method.integrate(slope, y, (first.ln(), last.ln()), |done, u, y| {
                steps = done;
                run.borrow_mut().observe(done, u.exp().clamp(last, first), &y[0])
            })?;
        }
        if positive + 1 < sigmas.len() {
            y[0] = run.denoise(&y[0], last)?;
            run.observe(steps + 1, 0.0, &y[0])?;
        }
        Ok(y.swap_remove(0))
    }

    fn couples_samples(&self) -> bool {
        true
    }
}
