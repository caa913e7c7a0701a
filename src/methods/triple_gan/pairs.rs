//! Pairs of images and classes: how they are made, named and scored.

use crate::autograd::Var;
use crate::error::Result;
use crate::methods::game::Player;
use crate::nn::pairs::{PairDiscriminator, PairGenerator};
use crate::nn::{Context, FeatureClassifier};
use crate::ops;
use crate::ops::random::{Address, SampleIds};
use crate::random::Purpose;
use crate::tensor::{DType, Tensor};

pub(super) fn logits(player: &Player<dyn FeatureClassifier>, cx: &Context, x: &Tensor) -> Result<Var> {
    ops::cast(player.network.forward(cx, &x.into())?, DType::F32)
}

/// The logarithm of the sum of exponentials of each row, `[n]`.
pub(super) fn log_sum(logits: &Var) -> Result<Var> {
    // The same in every column.
    (logits - logits.log_softmax()?)?.mean(&[1])
}

/// The likeliest class of each row, `[n]` u32.
pub(super) fn likeliest(logits: &Var) -> Result<Tensor> {
    let [n, k] = logits.shape().dims("Triple-GAN", "logits [n, k]")?;
    let values = logits.value().to_vec::<f32>()?;
    let best = |row: &[f32]| (1..k).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u32;
    let labels: Vec<u32> = values.chunks_exact(k).map(best).collect();
    Tensor::from_slice(&labels, [n], &logits.device())
}

pub(super) fn one_hot(labels: &Tensor, k: usize) -> Result<Tensor> {
    ops::one_hot(labels, k, DType::F32)
}

/// Scores `[n]` in the places of one-hot labels, `[n, k]`.
pub(super) fn spread(scores: &Var, labels: &Tensor) -> Result<Var> {
    let n = scores.value().len();
    scores.reshape([n, 1])? * labels
}

/// Classes that the generator is asked for: as many of each as can be, beginning with another one in each step.
pub(super) fn wanted_classes<N: ?Sized>(
    count: usize,
    k: usize,
    address: &Address,
    generator: &Player<N>,
) -> Result<Tensor> {
    let first = address.step as usize % k;
    let labels: Vec<u32> = (0..count).map(|i| ((first + i) % k) as u32).collect();
    Tensor::from_slice(&labels, [count], &generator.device())
}

/// Images of the generator, with latents of the context's address.
pub(super) fn make(generator: &Player<dyn PairGenerator>, cx: &Context, classes: &Tensor, k: usize) -> Result<Var> {
    let draws = cx.address()?.draws(Purpose::Latents);
    let z = ops::uniform([classes.len(), generator.network.latents()], DType::F32, &draws, &generator.device())?;
    generator.network.generate(cx, &z.into(), &one_hot(classes, k)?.into())
}

/// Samples of a step have random numbers of their own: those of the main batch are numbered from 0, labelled ones from
/// here,
pub(super) const LABELLED: u32 = 1 << 28;
/// made ones from here,
pub(super) const MADE: u32 = 2 << 28;
/// what an opponent sees from here,
pub(super) const OPPONENT: u32 = 3 << 28;
/// and those of a second pass from here.
pub(super) const AGAIN: u32 = 1 << 31;

/// The numbers of a step's samples from `first` on.
pub(super) fn from(address: &Address, first: u32) -> Address {
    Address { samples: SampleIds::From(first), ..address.clone() }
}

/// The discriminator's scores of several batches, judged as one so that each sample has noise of its own.
pub(super) fn score_together(
    judge: &Player<dyn PairDiscriminator>,
    cx: &Context,
    parts: &[(&Var, Var)],
) -> Result<Vec<Var>> {
    let x: Vec<&Var> = parts.iter().map(|(x, _)| *x).collect();
    let y: Vec<&Var> = parts.iter().map(|(_, y)| y).collect();
    let scores = judge.network.score(cx, &ops::concat(&x, 0)?, &ops::concat(&y, 0)?)?;
    let mut first = 0;
    x.iter()
        .map(|x| {
            let rows = x.shape()[0];
            first += rows;
            scores.slice(0, first - rows..first)
        })
        .collect()
}

/// The value of the game by (1), and the mean of D on true pairs, the generator's and the classifier's.
pub(super) fn stand(real: &Var, generated: &Var, classified: &Var, p: &Var) -> Result<(f64, [f64; 3])> {
    let number = |var: Var| var.value().item();
    let (real, generated, classified, p) = (real.detach(), generated.detach(), classified.detach(), p.detach());
    let weighted = |values: Var| -> Result<f64> { number((&p * values)?.sum(&[1])?.mean_all()?) };
    let value = -number((-&real)?.softplus()?.mean_all()?)?
        - 0.5 * number(generated.softplus()?.mean_all()?)?
        - 0.5 * weighted(classified.softplus()?)?;
    let mean = |scores: &Var| number(scores.sigmoid()?.mean_all()?);
    Ok((value, [mean(&real)?, mean(&generated)?, weighted(classified.sigmoid()?)?]))
}
