//! Networks of pairs `(x, y)` of an image and a class: generators that make the image of a class, and discriminators
//! that judge the two together.

mod convolutional;
mod perceptron;
mod residual;

pub use convolutional::{ConvolutionalDiscriminator, ConvolutionalGenerator};
pub use perceptron::{PerceptronDiscriminator, PerceptronGenerator};
pub use residual::{ResidualDiscriminator, ResidualGenerator};

use super::context::Context;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;
use crate::tensor::{DType, Tensor};

/// `x = G(z, y)`.
pub trait PairGenerator: Send + Sync {
    /// Numbers of `z`.
    fn latents(&self) -> usize;

    /// Images `[n, h, w, c]` in [-1, 1], in f32, of `z` `[n, latents]`, uniform on (0, 1), and one-hot classes `labels`
    /// `[n, classes]`.
    fn generate(&self, cx: &Context, z: &Var, labels: &Var) -> Result<Var>;
}

/// `D(x, y)`.
pub trait PairDiscriminator: Send + Sync {
    /// Classes.
    fn classes(&self) -> usize;

    /// Logits `[n]`, in f32, of images `x` `[n, h, w, c]` with one-hot classes `labels` `[n, classes]`.
    fn score(&self, cx: &Context, x: &Var, labels: &Var) -> Result<Var>;

    /// Logits `[n, classes]` of images with every class. Networks that judge all of them at once say so; others are
    /// given each image as often as there are classes.
    fn scores(&self, cx: &Context, x: &Var) -> Result<Var> {
        let (n, k) = (x.shape().first().copied().unwrap_or(0), self.classes());
        let repeated = vec![x; k];
        let labels: Vec<u32> = (0..k as u32).flat_map(|class| std::iter::repeat_n(class, n)).collect();
        let labels = ops::one_hot(&Tensor::from_slice(&labels, [n * k], &x.device())?, k, DType::F32)?;
        let scores = self.score(cx, &ops::concat(&repeated, 0)?, &labels.into())?;
        scores.reshape([k, n])?.transpose(0, 1)
    }
}

/// `x` with the classes beside its last axis: what "the label at every layer" means. `x` is `[n, d]` or `[n, h, w, c]`,
/// whose pixels all get the class.
fn with_labels(x: &Var, labels: &Var) -> Result<Var> {
    let labels = ops::cast(labels, x.dtype())?;
    let labels = match x.shape()[..] {
        [_, _] => labels,
        [n, h, w, _] => {
            let k = labels.shape().last().copied().unwrap_or(0);
            ops::broadcast_to(labels.reshape([n, 1, 1, k])?, [n, h, w, k])?
        }
        _ => return Err(Error::shape("with_labels", "[n, d] or [n, h, w, c]", x.shape())),
    };
    let axis = x.shape().rank() - 1;
    ops::concat(&[x, &labels], axis)
}

/// Images `[n, h, w, c]` as rows `[n, h w c]`.
fn rows(x: &Var) -> Result<Var> {
    let n = x.shape().first().copied().unwrap_or(0);
    let values: usize = x.shape().iter().skip(1).product();
    x.reshape([n, values])
}

/// Errors unless all sizes make a network.
fn check_sizes(what: &str, sizes: &[usize]) -> Result<()> {
    match sizes.iter().all(|size| (1..=1 << 16).contains(size)) {
        true => Ok(()),
        false => Err(Error::Config(format!("{what} needs sizes between 1 and 65536, got {sizes:?}"))),
    }
}
