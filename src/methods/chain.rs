//! Short stochastic chains in which every sample has noise levels of its own.

use crate::autograd::Var;
use crate::diffusion::Denoiser;
use crate::error::Result;
use crate::nn::{Conditions, Context};
use crate::ops;
use crate::ops::random::{Draws, SampleIds};
use crate::random::{Purpose, RandomKey};
use crate::tensor::{Device, Tensor};

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

/// Where a chain takes its noise from: different sites are different chains of one step of training.
#[derive(Debug, Clone)]
pub(super) struct ChainNoise<'a> {
    pub seed: u64,
    pub step: u32,
    pub site: u32,
    pub samples: &'a SampleIds,
}

impl ChainNoise<'_> {
    /// The draws of step `k` of the chain.
    pub fn at(&self, k: usize) -> Draws {
        // Sites below 2^16 are chains, the steps of each lie between.
        let key = RandomKey::new(self.seed, Purpose::SolverNoise).at_site((self.site << 8) + k as u32 + 1);
        Draws { key: key.at_step(self.step), samples: self.samples.clone() }
    }
}

/// One number for each sample, as the solver update takes it.
pub(super) fn column(values: &[f64], device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Tensor::from_slice(&values, [values.len()], device)
}

/// Euler's method on the reverse SDE, `x += 2 (t' - t) d + sqrt(2 (t - t') t) z` with `d = (x - D(x; t)) / t`, over `levels`.
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

/// EDM's churned Euler steps over `levels`: where a level lies in `[s_min, s_max]` it is raised by the factor `1 + gamma`, with fresh noise,
/// before the step of the probability-flow ODE (Karras et al. 2022, algorithm 2 without its correction).
pub(super) fn churned_euler(
    cx: &Context,
    denoiser: &Denoiser,
    mut x: Var,
    levels: &[Vec<f64>],
    churn: &crate::diffusion::solvers::Churn,
    conditions: Conditions,
    noise: &ChainNoise,
) -> Result<Var> {
    let device = x.device();
    let steps = levels.len().saturating_sub(1);
    for (k, pair) in levels.windows(2).enumerate() {
        let raised: Vec<f64> = pair[0].iter().map(|&t| t * (1.0 + churn.gamma(t, steps))).collect();
        let deviations: Vec<f64> =
            pair[0].iter().zip(&raised).map(|(&t, &hat)| (hat * hat - t * t).max(0.0).sqrt() * churn.s_noise).collect();
        x = ops::solver_update(&x, None, Some((column(&deviations, &device)?.into(), &noise.at(k))))?;
        let denoised = denoiser.denoise(cx, &x, &raised, conditions)?;
        let rates: Vec<f64> = raised.iter().zip(&pair[1]).map(|(&hat, &next)| (next - hat) / hat).collect();
        x = ops::solver_update(&x, Some((column(&rates, &device)?.into(), &ops::sub(&x, &denoised)?)), None)?;
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
