//! What a solver works with: the denoiser, the noise, the observer, and the count of calls.

use super::{Denoise, Noise, Solver};
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::Tensor;

/// A point of the way, as the observer sees it: once before each step and once after the last.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// Steps made so far.
    pub step: usize,
    /// The noise level.
    pub sigma: f64,
    /// The samples at this level (before any noise that the step adds first).
    pub x: &'a Tensor,
    /// The samples after a corrector, where the solver has one and `x` is what its predictor said.
    pub corrected: Option<&'a Tensor>,
    /// Denoiser calls so far.
    pub nfe: usize,
}

/// Where a solver came to.
#[derive(Debug, Clone)]
pub struct Solution {
    /// The samples at the last noise level.
    pub x: Tensor,
    /// Denoiser calls (number of function evaluations).
    pub nfe: usize,
}

/// One run of a solver.
pub struct Run<'a> {
    denoise: &'a mut dyn Denoise,
    noise: &'a mut dyn Noise,
    observe: &'a mut dyn FnMut(&State) -> Result<()>,
    nfe: usize,
}

/// Runs `solver` from `x` `[n, ...]` at noise level `sigmas[0]` down to the last level, which is usually 0.
///
/// `noise` is what stochastic solvers add ([`FreshNoise`](super::FreshNoise), [`BrownianPath`](super::BrownianPath));
/// `observe` sees the state before each step and after the last, and ends the run by an error. Levels are rounded to
/// those that the denoiser knows.
///
/// Errors where denoiser, noise or observer do, and unless the levels are at least two, finite, not negative and fall
/// strictly.
pub fn solve(
    solver: &dyn Solver,
    denoise: &mut dyn Denoise,
    x: &Tensor,
    sigmas: &[f64],
    noise: &mut dyn Noise,
    observe: &mut dyn FnMut(&State) -> Result<()>,
) -> Result<Solution> {
    check_grid(sigmas)?;
    let mut rounded: Vec<f64> =
        sigmas.iter().map(|&sigma| if sigma > 0.0 { denoise.round_sigma(sigma) } else { sigma }).collect();
    rounded.dedup();
    check_grid(&rounded)?;
    let mut run = Run { denoise, noise, observe, nfe: 0 };
    let x = solver.solve(&mut run, x.clone(), &rounded)?;
    Ok(Solution { x, nfe: run.nfe })
}

fn check_grid(sigmas: &[f64]) -> Result<()> {
    let falls = sigmas.windows(2).all(|pair| pair[0] > pair[1]);
    if sigmas.len() < 2 || !falls || !sigmas.iter().all(|sigma| sigma.is_finite() && *sigma >= 0.0) {
        let what = format!(
            "noise levels must be at least two and fall strictly, from a finite one to one not below 0; got {sigmas:?}"
        );
        return Err(Error::argument("solve", what));
    }
    Ok(())
}

impl Run<'_> {
    /// `D(x; sigma)`. Errors where the denoiser does, and if the result has another shape or dtype than `x`.
    pub fn denoise(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        self.nfe += 1;
        let denoised = self.denoise.at(x, sigma)?;
        if denoised.shape() != x.shape() || denoised.dtype() != x.dtype() {
            let got = format!("{}{}", denoised.dtype(), denoised.shape());
            return Err(Error::shape("denoiser", format!("a result {}{}", x.dtype(), x.shape()), got));
        }
        Ok(denoised)
    }

    /// `d = (x - D(x; sigma)) / sigma`, the slope dx/dsigma of the probability-flow ODE.
    pub fn slope(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let denoised = self.denoise(x, sigma)?;
        combine(&[(1.0 / sigma, x), (-1.0 / sigma, &denoised)])
    }

    /// `x + deviation z` with the standard normal numbers z of the way from noise level `from` to `to`. It is a request
    /// to the source of noise even where the deviation is 0.
    pub fn add_noise(&mut self, x: &Tensor, deviation: f64, from: f64, to: f64) -> Result<Tensor> {
        self.noise.add(x, deviation, from, to)
    }

    /// The nearest noise level that the denoiser knows.
    pub fn round_sigma(&self, sigma: f64) -> f64 {
        self.denoise.round_sigma(sigma)
    }

    /// Shows the observer the samples before step `step`, or after the last.
    pub fn observe(&mut self, step: usize, sigma: f64, x: &Tensor) -> Result<()> {
        (self.observe)(&State { step, sigma, x, corrected: None, nfe: self.nfe })
    }

    /// As [`observe`](Self::observe), where a corrector has been over the samples.
    pub fn observe_corrected(&mut self, step: usize, sigma: f64, x: &Tensor, corrected: &Tensor) -> Result<()> {
        (self.observe)(&State { step, sigma, x, corrected: Some(corrected), nfe: self.nfe })
    }

    /// `x <- step(run, i, x, a, b)` for every step of the grid, from `a = sigmas[i]` to `b = sigmas[i + 1]`, with the
    /// observer in between.
    pub fn steps(
        &mut self,
        mut x: Tensor,
        sigmas: &[f64],
        mut step: impl FnMut(&mut Self, usize, &Tensor, f64, f64) -> Result<Tensor>,
    ) -> Result<Tensor> {
        for (i, pair) in sigmas.windows(2).enumerate() {
            self.observe(i, pair[0], &x)?;
            x = step(self, i, &x, pair[0], pair[1])?;
        }
        self.observe(sigmas.len().saturating_sub(1), sigmas.last().copied().unwrap_or(0.0), &x)?;
        Ok(x)
    }
}

/// `sum_i c_i x_i` for tensors of one shape, dtype and device. Errors if they differ, and on an empty sum.
pub fn combine(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    match terms {
        [] => Err(Error::argument("combine", "nothing to add up")),
        [(c, x)] => Ok(ops::scale(*x, *c)?.into_value()),
        [(c, x), (e, y), rest @ ..] => {
            let first = ops::add_scaled(*x, *c, *y, *e)?.into_value();
            rest.iter().try_fold(first, |sum, (c, x)| axpy(&sum, *c, x))
        }
    }
}

/// `x + a d`.
pub(super) fn axpy(x: &Tensor, a: f64, d: &Tensor) -> Result<Tensor> {
    Ok(ops::solver_update(x, Some((a.into(), &d.into())), None)?.into_value())
}
