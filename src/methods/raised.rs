//! Images that have noise, with more of it: what every loss on noisy images begins with.

use crate::autograd::Var;
use crate::diffusion::{Loss, column, noised};
use crate::error::{Error, Result};
use crate::ops::random::Address;
use crate::random::Purpose;
use crate::tensor::Tensor;

/// Images at a level that is no lower than their own.
pub struct Raised {
    /// `max(s, the loss's draw)` for images of level `s`.
    pub sigmas: Vec<f64>,
    /// `y + sqrt(sigma^2 - s^2) z`: images with noise of level sigma in all.
    pub x: Var,
}

/// Raises images `y` `[n, ...]`, whose noise has the levels `noise`, to levels that are drawn by the loss, for `op`.
///
/// Errors unless there is a level for each, not below 0 and finite, and where the loss has none for them.
pub fn raised(op: &'static str, loss: &Loss, y: &Tensor, noise: &[f64], address: &Address) -> Result<Raised> {
    let n = y.shape().first().copied().unwrap_or(0);
    if noise.len() != n || noise.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
        let what = format!("a noise level not below 0 for each of {n} samples, got {noise:?}");
        return Err(Error::argument(op, what));
    }
    let drawn = loss.sigmas(n, address)?;
    let sigmas: Vec<f64> = drawn.iter().zip(noise).map(|(sigma, s)| sigma.max(*s)).collect();
    // What a clean image gets is sigma itself, not the root of its square.
    let added = |(sigma, s): (&f64, &f64)| if *s == 0.0 { *sigma } else { (sigma * sigma - s * s).max(0.0).sqrt() };
    let deviations: Vec<f64> = sigmas.iter().zip(noise).map(added).collect();
    let x = noised(y, column(&deviations, &y.device())?, &address.draws(Purpose::TrainingNoise))?;
    Ok(Raised { sigmas, x })
}
