//! Contrastive sampling chains: fine-tuning a trained model so that the states of the coarse solver it is deployed with
//! follow the true marginals (after Zhang, Liu, Zhang & Xu, *Contrastive Sampling Chains in Diffusion Models*, NeurIPS
//! 2023).
//!
//! The paper's loss is not public to us beyond its abstract: this is our reading of it, derived step by step in
//! `docs/methods/contrastive-chain.md`. For an image `x_0`, two levels `s > j` of the deployed grid, and noise:
//!
//! ```text
//! x_s  = x_0 + s n                      where the chain starts                                                      (1)
//! h    = solver(x_s; s -> j)            the chain's state: some steps of the deployed solver                        (2)
//! x_j  = x_0 + j n                      the truth there: the positive; those of other images are the negatives      (3)
//! S_ik = -|h_i - x_j^k|^2 / (2 v T)     v: mean squared distance |h_i - x_j^i|^2 of the positives                   (4)
//! L    = L_score + lambda * mean_i [-S_ii + log (1/N) sum_k exp S_ik]                                               (5)
//! ```
//!
//! `S` is the logarithm of a Gaussian kernel. The kernel under which the positives are most likely has the width `v /
//! dims`, so `T = 1 / dims`: but beside it an image's negatives are out of sight, the softmax is 1 and its gradient 0
//! in all but a few dimensions. `T = 1` is a wider kernel, for which the bound holds as well.
//!
//! Gradients flow through the last calls of the chain, by the solver's own coefficients ([`Dependence`]).

mod dependence;
mod fine_tuning;
mod settings;

pub use dependence::Dependence;
pub use fine_tuning::{FineTuning, Measured, When};
pub use settings::{CscSection, CscSettings, FineTuningKind};

use std::sync::Arc;

use super::chain::without_gradient;
use crate::autograd::Var;
use crate::diffusion::solvers::{FreshNoise, Solver, solve};
use crate::diffusion::{Denoiser, Loss, noised};
use crate::error::{Error, Result};
use crate::evaluate::ImageClassifier;
use crate::nn::Context;
use crate::ops;
use crate::ops::random::Address;
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Tensor};
use crate::train::{Batch, Objective};

/// What similarity is measured on.
#[derive(Debug, Clone, Default)]
pub enum Similarity {
    /// The values themselves.
    #[default]
    Pixels,
    /// The features of a classifier, which is fixed.
    Features(Arc<ImageClassifier>),
}

crate::choice! {
    /// The width `v` of the kernel that similarity is the logarithm of.
    pub enum Width {
        /// Mean squared distance of the batch's positives. `T = 1 / dims` makes it the Gaussian kernel under which they
        /// are most likely.
        Fitted = "fitted",
        /// The noise level's square at the chain's end, times the dimensions. Not for chains that end at 0.
        Level = "level",
    }
}

crate::choice! {
    /// Whose other members are the negatives.
    pub enum Negatives {
        /// True states of other images.
        Data = "data",
        /// The chain's states of other images. By these the true conditional meets the bound of the mutual information;
        /// by `Data` it does not.
        Chain = "chain",
        /// Half each.
        Both = "both",
    }
}

crate::choice! {
    /// How the start and the true state of an image share their noise. Either has the right marginals.
    pub enum Coupling {
        /// One noise for both levels.
        Shared = "shared",
        /// The forward process: `x_s = x_j + sqrt(s^2 - j^2) n'`.
        Forward = "forward",
    }
}

/// The objective.
#[derive(Debug, Clone)]
pub struct ContrastiveChain {
    /// The score-matching part.
    pub loss: Loss,
    /// The deployed solver.
    pub solver: Arc<dyn Solver>,
    /// The deployed levels, falling, with the final 0.
    pub sigmas: Vec<f64>,
    /// Steps of a chain.
    pub length: usize,
    /// Whether chains may end at 0.
    pub to_zero: bool,
    /// lambda.
    pub weight: f64,
    /// T.
    pub temperature: f64,
    /// Last calls of the chain through which gradients flow; more than it has: all.
    pub gradients: usize,
    /// S.
    pub similarity: Similarity,
    /// v.
    pub width: Width,
    /// Where negatives come from.
    pub negatives: Negatives,
    /// How the noise is shared.
    pub coupling: Coupling,
}

impl ContrastiveChain {
    /// Errors unless the chain fits the grid and the numbers make sense.
    pub fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::Config(what));
        let places = self.places();
        if self.length == 0 || places == 0 {
            return bad(format!(
                "a chain of {} steps does not fit a grid of {} levels",
                self.length,
                self.sigmas.len()
            ));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite() && self.weight >= 0.0 && self.weight.is_finite()) {
            return bad(format!("temperature {} must be above 0, lambda {} not below", self.temperature, self.weight));
        }
        if self.gradients == 0 {
            return bad("no call of the chain carries a gradient: give at least 1".into());
        }
        if self.width == Width::Level && self.to_zero {
            return bad("the width j^2 is 0 for chains that end at 0; fit it, or let no chain end there".into());
        }
        Dependence::of(self.solver.as_ref(), &self.sigmas[..=self.length]).map(|_| ())
    }

    /// Levels that a chain can start from.
    fn places(&self) -> usize {
        let ends = self.sigmas.len() - usize::from(!self.to_zero && self.sigmas.last() == Some(&0.0));
        ends.saturating_sub(self.length)
    }

    /// The levels of a training step's chain, `s` first: each place is as likely as the others.
    pub fn levels(&self, seed: u64, step: u32) -> Result<&[f64]> {
        let stream = RandomKey::new(seed, Purpose::Sigma).at_site(2).at_step(step).stream()?;
        let place = ((u64::from(stream.word(0, 0)) * self.places() as u64) >> 32) as usize;
        Ok(&self.sigmas[place..=place + self.length])
    }

    /// The chain's start `x_s` and the true state `x_j` of each sample.
    fn pair(&self, batch: &Batch, address: &Address, levels: &[f64]) -> Result<(Tensor, Tensor)> {
        let (s, j) = (levels[0], levels[levels.len() - 1]);
        let noisy = |x: &Tensor, sigma: f64, site| -> Result<Tensor> {
            let draws = address.draws_at(Purpose::TrainingNoise, site);
            Ok(noised(x, sigma, &draws)?.into_value())
        };
        let end = noisy(batch.y, j, 1)?;
        let start = match self.coupling {
            Coupling::Shared => noisy(batch.y, s, 1)?,
            Coupling::Forward => noisy(&end, (s * s - j * j).sqrt(), 2)?,
        };
        Ok((start, end))
    }

    /// The chain's state after its steps, with gradients through the last calls.
    fn state(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch, start: &Tensor, levels: &[f64]) -> Result<Var> {
        let frozen = without_gradient(cx);
        let n = start.shape().first().copied().unwrap_or(0);
        let mut calls: Vec<(Var, f64)> = Vec::new();
        let mut denoise = |x: &Tensor, sigma: f64| -> Result<Tensor> {
            let input = ops::cast(x, DType::F32)?;
            calls.push((input.detach(), sigma));
            let said = denoiser.denoise(&frozen, &input, &vec![sigma; n], batch.conditions)?;
            Ok(ops::cast(&said, x.dtype())?.into_value())
        };
        let dtype = start.device().state_dtype();
        let x = ops::cast(start, dtype)?.into_value();
        let address = cx.address()?;
        let seed = RandomKey::stage_seed(address.seed, 1 + address.step)?;
        let mut noise = FreshNoise::new(seed, address.samples.clone());
        let end = solve(self.solver.as_ref(), &mut denoise, &x, levels, &mut noise, &mut |_| Ok(()))?.x;

        // end = [what is constant] + sum_c end[c] D_c, and each input likewise.
        let on = Dependence::of(self.solver.as_ref(), levels)?;
        let first = calls.len().saturating_sub(self.gradients);
        let mut moved: Vec<Var> = Vec::new(); // D_c less its own value, for c from `first` on
        let along = |start: Var, coefficients: &[f64], moved: &[Var]| -> Result<Var> {
            let terms = coefficients.iter().skip(first).zip(moved).filter(|(c, _)| **c != 0.0);
            terms.into_iter().try_fold(start, |sum, (c, d)| ops::add_scaled(&sum, 1.0, d, *c))
        };
        for (call, (input, sigma)) in calls.iter().enumerate().skip(first) {
            let input = along(input.clone(), &on.inputs[call], &moved)?;
            let said = denoiser.denoise(cx, &input, &vec![*sigma; n], batch.conditions)?;
            moved.push(ops::sub(&said, said.detach())?);
        }
        along(ops::cast(end, DType::F32)?, &on.end, &moved)
    }

    /// Rows to compare, `[n, dims]`.
    fn rows(&self, x: &Var) -> Result<Var> {
        match &self.similarity {
            Similarity::Pixels => {
                let n = x.shape().first().copied().unwrap_or(0);
                x.reshape([n, x.value().len() / n.max(1)])
            }
            Similarity::Features(classifier) => classifier.features_of(x),
        }
    }

    /// The contrastive part alone, `mean_i [-S_ii + log (1/N) sum_k exp S_ik]`. Errors on a batch of fewer than two.
    pub fn contrast(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        let address = cx.address()?;
        let levels = self.levels(address.seed, address.step)?;
        let (start, end) = self.pair(batch, address, levels)?; // equations 1 and 3
        let state = self.state(cx, denoiser, batch, &start, levels)?; // equation 2
        let (chain, truth) = (self.rows(&state)?, self.rows(&end.into())?);
        // Equation 4, and the contrastive term of equation 5.
        let width = match self.width {
            Width::Fitted => fitted_width(&chain, &truth)?,
            Width::Level => levels[levels.len() - 1].powi(2) * chain.shape().last().copied().unwrap_or(1) as f64,
        } * self.temperature;
        match self.negatives {
            Negatives::Data => info_nce(&chain, &truth, width),
            Negatives::Chain => info_nce(&truth, &chain, width),
            Negatives::Both => {
                ops::add_scaled(&info_nce(&chain, &truth, width)?, 0.5, &info_nce(&truth, &chain, width)?, 0.5)
            }
        }
    }
}

impl Objective for ContrastiveChain {
    fn loss(&self, cx: &Context, denoiser: &Denoiser, batch: &Batch) -> Result<Var> {
        let score = self.loss.loss(cx, denoiser, batch)?;
        match self.weight == 0.0 {
            true => Ok(score), // a plain fine-tuning, bit for bit
            false => ops::add_scaled(&score, 1.0, &self.contrast(cx, denoiser, batch)?, self.weight),
        }
    }
}

/// `mean_i |a_i - b_i|^2` for rows `[n, dims]`; at least a little, so that equal rows make no width of 0.
pub fn fitted_width(a: &Var, b: &Var) -> Result<f64> {
    let squares = ops::sum(&ops::square(&ops::sub(a.detach(), b.detach())?)?, &[1])?;
    Ok(ops::mean(&squares, &[0])?.value().item()?.max(1e-12))
}

/// InfoNCE with a Gaussian kernel of variance `width` for a critic: `mean_i [-S_ii + log (1/N) sum_k exp S_ik]`, `S_ik
/// = -|a_i - b_k|^2 / (2 width)`, for rows `a` and `b` `[n, dims]`. Between `-I(a; b)` and 0 for the best critic; its
/// sum over k counts the positive.
///
/// Errors on fewer than two rows, on shapes that differ, and on a width that is not positive.
pub fn info_nce(a: &Var, b: &Var, width: f64) -> Result<Var> {
    const OP: &str = "InfoNCE";
    let [n, dims] = a.shape().dims(OP, "rows [n, dims]")?;
    if n < 2 || b.shape() != a.shape() {
        return Err(Error::shape(OP, "two rows or more, as many of both", format!("{} and {}", a.shape(), b.shape())));
    }
    if !(width > 0.0 && width.is_finite()) {
        return Err(Error::argument(OP, format!("a width above 0, got {width}")));
    }
    // The square of a_i is the same for every k, so softmax knows nothing of it; both sides are moved so that little
    // is left to cancel.
    let centre = ops::mean(b.detach(), &[0])?.reshape([1, dims])?;
    let (a, b) = (ops::sub(a, &centre)?, ops::sub(b, &centre)?);
    let squares = ops::scale(&ops::sum(&ops::square(&b)?, &[1])?, -0.5 / width)?;
    ops::shift(&ops::info_nce_biased(&a, &b, 1.0 / width, &squares)?, -(n as f64).ln())
}
