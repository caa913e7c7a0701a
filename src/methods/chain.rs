//! Short stochastic chains in which every sample has noise levels of its own.

use crate::autograd::Var;
use crate::diffusion::{Denoiser, column};
use crate::error::Result;
use crate::nn::{Conditions, Context};
use crate::ops;
use crate::ops::random::{Address, Draws};
use crate::random::Purpose;
use crate::tensor::Tensor;

/// Levels of each sample at steps 0 to `steps`, from `from` down to `to`, evenly in `sigma^(1/7)` as EDM's grid.
pub(super) fn levels(from: &[f64], to: &[f64], steps: usize) -> Vec<Vec<f64>> {
    let between = |a: f64, b: f64, u: f64| match (a == b, u) {
        (true, _) => a,
        (_, 0.0) => a,
        (_, 1.0) => b,
        _ => (a.powf(1.0 / 7.0) + u * (b.powf(1.0 / 7.0) - a.powf(1.0 / 7.0))).powi(7),
    };
    let u = |k: usize| k as f64 / steps.max(1) as f64;
    (0..=steps).map(|k| from.iter().zip(to).map(|(&a, &b)| between(a, b, u(k))).collect()).collect()
}

/// Where a chain takes its noise from: different sites are different chains of one address.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainNoise<'a> {
    pub address: &'a Address,
    pub site: u32,
}

impl ChainNoise<'_> {
    /// The draws of step `k` of the chain.
    pub fn at(&self, k: usize) -> Draws {
        // Sites below 2^16 are chains, the steps of each lie between.
        self.address.draws_at(Purpose::SolverNoise, (self.site << 8) + k as u32 + 1)
    }
}

/// Euler's method on the reverse SDE, `x += 2 (t' - t) d + sqrt(2 (t - t') t) z` with `d = (x - D(x; t)) / t`, over
/// `levels`.
pub(super) fn reverse_sde(
    cx: &Context,
    denoiser: &Denoiser,
    mut x: Var,
    levels: &[Vec<f64>],
    conditions: Conditions,
    noise: &ChainNoise,
) -> Result<Var> {
    let device = x.device();
    for (k, pair) in levels.windows(2).enumerate() {
        let denoised = denoiser.denoise(cx, &x, &pair[0], conditions)?;
        let each = |f: &dyn Fn(f64, f64) -> f64| -> Result<Tensor> {
            column(&pair[0].iter().zip(&pair[1]).map(|(&t, &next)| f(t, next)).collect::<Vec<_>>(), &device)
        };
        let drift = each(&|t, next| 2.0 * (next - t) / t)?;
        let deviation = each(&|t, next| (2.0 * (t - next) * t).max(0.0).sqrt())?;
        let slope = ops::sub(&x, &denoised)?;
        x = ops::solver_update(&x, Some((drift.into(), &slope)), Some((deviation.into(), &noise.at(k))))?;
    }
    Ok(x)
}

/// The same weights without gradients and without dropout.
pub(super) fn without_gradient(cx: &Context) -> Context {
    Context::inference(cx.weights()).compute_in(cx.compute())
}

/// `mean_b sum a b` over the elements of each sample.
pub(super) fn mean_product(a: &Var, b: &Var) -> Result<Var> {
    let n = a.shape().first().copied().unwrap_or(1).max(1);
    let axes: Vec<usize> = (0..a.shape().rank()).collect();
    ops::scale(&ops::sum(&ops::mul(a, b)?, &axes)?, 1.0 / n as f64)
}
