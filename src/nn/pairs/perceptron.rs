//! Perceptrons: those of Triple-GAN on MNIST.

use super::{PairDiscriminator, PairGenerator, check_sizes, rows, with_labels};
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;
use crate::nn::layers::{BatchNorm, GaussianNoise, LayerInit, Linear, Module, WeightNorm};
use crate::nn::layout::Scope;
use crate::ops;
use crate::tensor::DType;

/// Weights of Triple-GAN's dense layers at first.
const INIT: LayerInit = LayerInit::Normal(0.05);

/// Linear layers with batch normalisation and softplus, the class beside the input of each; the last has normalised
/// weights and a sigmoid, spread over [-1, 1].
#[derive(Debug, Clone)]
pub struct PerceptronGenerator {
    hidden: Vec<(Linear, BatchNorm)>,
    head: WeightNorm,
    latents: usize,
    size: [usize; 3],
}

impl PerceptronGenerator {
    /// Registers the parameters in `scope`. Errors on sizes that make no network.
    pub fn new(
        scope: &mut Scope,
        (latents, classes): (usize, usize),
        hidden: &[usize],
        size: [usize; 3],
    ) -> Result<Self> {
        check_sizes("a generator", &[&[latents, classes][..], hidden, &size].concat())?;
        let mut width = latents;
        let mut layers = Vec::new();
        for (i, &next) in hidden.iter().enumerate() {
            let mut at = scope.at(&format!("hidden{i}"));
            let linear = Linear::without_bias(&mut at.at("linear"), width + classes, next, INIT);
            layers.push((linear, BatchNorm::new(&mut at.at("norm"), next)));
            width = next;
        }
        let head = WeightNorm::linear(&mut scope.at("head"), width + classes, size.iter().product(), INIT);
        Ok(PerceptronGenerator { hidden: layers, head, latents, size })
    }
}

impl PairGenerator for PerceptronGenerator {
    fn latents(&self) -> usize {
        self.latents
    }

    fn generate(&self, cx: &Context, z: &Var, labels: &Var) -> Result<Var> {
        let mut x = ops::cast(z, cx.compute())?;
        for (linear, norm) in &self.hidden {
            x = norm.forward(cx, &linear.forward(cx, &with_labels(&x, labels)?)?)?.softplus()?;
        }
        let x = ops::cast(self.head.forward(cx, &with_labels(&x, labels)?)?, DType::F32)?;
        let [h, w, c] = self.size;
        let n = x.shape()[0];
        ((2.0 * x.sigmoid()?)? - 1.0)?.reshape([n, h, w, c])
    }
}

/// Linear layers with leaky ReLU and normalised weights, the class beside the input of each, noise before each.
#[derive(Debug, Clone)]
pub struct PerceptronDiscriminator {
    input_noise: GaussianNoise,
    hidden: Vec<(WeightNorm, GaussianNoise)>,
    head: WeightNorm,
    classes: usize,
}

impl PerceptronDiscriminator {
    /// Registers the parameters in `scope`: with noise of deviation `noise[0]` on images in [-1, 1] and `noise[1]` on
    /// what lies between layers. Errors on sizes that make no network.
    pub fn new(scope: &mut Scope, size: [usize; 3], hidden: &[usize], classes: usize, noise: [f64; 2]) -> Result<Self> {
        check_sizes("a discriminator", &[&size[..], hidden, &[classes]].concat())?;
        let input_noise = GaussianNoise::new(&mut scope.at("noise"), noise[0])?;
        let mut width = size.iter().product();
        let mut layers = Vec::new();
        for (i, &next) in hidden.iter().enumerate() {
            let mut at = scope.at(&format!("hidden{i}"));
            let linear = WeightNorm::linear(&mut at.at("linear"), width + classes, next, INIT);
            layers.push((linear, GaussianNoise::new(&mut at.at("noise"), noise[1])?));
            width = next;
        }
        let head = WeightNorm::linear(&mut scope.at("head"), width + classes, 1, INIT);
        Ok(PerceptronDiscriminator { input_noise, hidden: layers, head, classes })
    }
}

impl PairDiscriminator for PerceptronDiscriminator {
    fn classes(&self) -> usize {
        self.classes
    }

    fn score(&self, cx: &Context, x: &Var, labels: &Var) -> Result<Var> {
        let mut x = self.input_noise.forward(cx, &ops::cast(rows(x)?, cx.compute())?)?;
        for (linear, noise) in &self.hidden {
            let y = ops::leaky_relu(linear.forward(cx, &with_labels(&x, labels)?)?, 0.2)?;
            x = noise.forward(cx, &y)?;
        }
        let scores = self.head.forward(cx, &with_labels(&x, labels)?)?;
        let n = scores.shape()[0];
        ops::cast(scores, DType::F32)?.reshape([n])
    }
}
