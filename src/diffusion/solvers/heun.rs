//! Heun's method on the probability-flow ODE.
//!
//! Karras et al. 2022 (arXiv 2206.00364), Algorithm 1 with the schedule sigma(t) = t; line numbers below are the
//! algorithm's. Second order; two denoiser calls a step, one in the last.

use super::Denoise;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::Tensor;

/// Solves from `x` at noise level `sigmas[0]` down to the last level, which is usually 0.
///
/// `x` is `[n, ...]`; solver arithmetic is in its dtype, of which f64 is recommended on the CPU. Errors where the denoiser
/// does, and unless the levels fall strictly and stay finite.
pub fn heun(denoise: &mut impl Denoise, x: &Tensor, sigmas: &[f64]) -> Result<Tensor> {
    let falls = sigmas.windows(2).all(|pair| pair[0] > pair[1]);
    if sigmas.len() < 2 || !falls || !sigmas.iter().all(|sigma| sigma.is_finite() && *sigma >= 0.0) {
        let what = format!("noise levels must fall strictly, from a finite one to one not below 0; got {sigmas:?}");
        return Err(Error::argument("heun", what));
    }
    sigmas.windows(2).try_fold(x.clone(), |x, pair| step(denoise, &x, pair[0], pair[1]))
}

/// One step from noise level `sigma` to `next`.
pub fn step(denoise: &mut impl Denoise, x: &Tensor, sigma: f64, next: f64) -> Result<Tensor> {
    let d = slope(x, &denoise.at(x, sigma)?, sigma)?; // line 4
    let euler = axpy(x, next - sigma, &d)?; // line 5
    if next == 0.0 {
        return Ok(euler); // line 6
    }
    let d_next = slope(&euler, &denoise.at(&euler, next)?, next)?; // line 7
    let h = 0.5 * (next - sigma);
    axpy(&axpy(x, h, &d)?, h, &d_next) // line 8
}

/// dx/dsigma = (x - D(x; sigma)) / sigma.
fn slope(x: &Tensor, denoised: &Tensor, sigma: f64) -> Result<Tensor> {
    Ok(ops::add_scaled(&x.into(), 1.0 / sigma, &denoised.into(), -1.0 / sigma)?.into_value())
}

fn axpy(x: &Tensor, a: f64, d: &Tensor) -> Result<Tensor> {
    Ok(ops::solver_update(&x.into(), Some((a.into(), &d.into())), None)?.into_value())
}
