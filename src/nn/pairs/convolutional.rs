//! Convolutions: those of Triple-GAN on SVHN and CIFAR-10.

use super::{PairDiscriminator, PairGenerator, check_sizes, with_labels};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layers::{BatchNorm, ConvOptions, ConvTranspose2d, Dropout, LayerInit, Linear, Module, WeightNorm};
use crate::nn::layout::Scope;
use crate::ops;
use crate::tensor::DType;

/// Weights of Triple-GAN's layers at first.
const INIT: LayerInit = LayerInit::Normal(0.05);

/// A linear layer to pixels an eighth of the size, then transposed 5x5 convolutions that double it thrice, with batch
/// normalisation and ReLU, the class beside the channels of each; at last tanh.
#[derive(Debug, Clone)]
pub struct ConvolutionalGenerator {
    input: Linear,
    input_norm: BatchNorm,
    layers: Vec<(ConvTranspose2d, Option<BatchNorm>)>,
    latents: usize,
    /// Height, width and channels of what the first convolution is given.
    first: [usize; 3],
}

impl ConvolutionalGenerator {
    /// With `channels` before the first doubling, half of them after it and so on. Errors on sizes that make no network
    /// and on images whose sides are no multiples of 8.
    pub fn new(
        scope: &mut Scope,
        (latents, classes): (usize, usize),
        channels: usize,
        size: [usize; 3],
    ) -> Result<Self> {
        check_sizes("a generator", &[latents, classes, channels, size[0], size[1], size[2]])?;
        let [height, width, outputs] = size;
        if !height.is_multiple_of(8) || !width.is_multiple_of(8) || channels < 4 {
            let what = "a convolutional generator doubles the size thrice: sides must be multiples of 8, and 4 channels at least";
            return Err(Error::Config(format!("{what}, got {height}x{width} and {channels}")));
        }
        let first = [height / 8, width / 8, channels];
        let input = Linear::without_bias(&mut scope.at("input"), latents + classes, first.iter().product(), INIT);
        let input_norm = BatchNorm::new(&mut scope.at("input_norm"), channels);
        let mut layers = Vec::new();
        for (i, [from, to]) in
            [[channels, channels / 2], [channels / 2, channels / 4], [channels / 4, outputs]].into_iter().enumerate()
        {
            let mut at = scope.at(&format!("up{i}"));
            let convolution = ConvTranspose2d::doubling(&mut at.at("conv"), [from + classes, to], INIT)?;
            layers.push((convolution, (i < 2).then(|| BatchNorm::new(&mut at.at("norm"), to))));
        }
        Ok(ConvolutionalGenerator { input, input_norm, layers, latents, first })
    }
}

impl PairGenerator for ConvolutionalGenerator {
    fn latents(&self) -> usize {
        self.latents
    }

    fn generate(&self, cx: &Context, z: &Var, labels: &Var) -> Result<Var> {
        let x = with_labels(&ops::cast(z, cx.compute())?, labels)?;
        let (n, [h, w, c]) = (x.shape()[0], self.first);
        let x = self.input.forward(cx, &x)?.reshape([n, h, w, c])?;
        let mut x = self.input_norm.forward(cx, &x)?.relu()?;
        for (convolution, norm) in &self.layers {
            x = convolution.forward(cx, &with_labels(&x, labels)?)?;
            if let Some(norm) = norm {
                x = norm.forward(cx, &x)?.relu()?;
            }
        }
        ops::cast(x, DType::F32)?.tanh()
    }
}

/// 3x3 convolutions with normalised weights and leaky ReLU, two at each of two sizes and one at a third, the class
/// beside the channels of each and dropout between sizes; the mean over pixels; a linear layer.
#[derive(Debug, Clone)]
pub struct ConvolutionalDiscriminator {
    stages: Vec<(Dropout, [WeightNorm; 2])>,
    head: WeightNorm,
    classes: usize,
}

impl ConvolutionalDiscriminator {
    /// With `channels`, twice and four times as many at the three sizes. Errors on sizes that make no network.
    pub fn new(scope: &mut Scope, size: [usize; 3], channels: usize, classes: usize) -> Result<Self> {
        check_sizes("a discriminator", &[size[0], size[1], size[2], 4 * channels, classes])?;
        let mut inputs = size[2];
        let mut stages = Vec::new();
        for (i, outputs) in [channels, 2 * channels, 4 * channels].into_iter().enumerate() {
            let mut at = scope.at(&format!("stage{i}"));
            let dropout = Dropout::new(&mut at, 0.2)?;
            let options = |stride| ConvOptions { kernel: 3, stride, padding: 1 };
            // The last size is kept: the mean over its pixels follows.
            let second = if i < 2 { 2 } else { 1 };
            let convolutions = [
                WeightNorm::conv2d(&mut at.at("conv0"), [inputs + classes, outputs], options(1), INIT)?,
                WeightNorm::conv2d(&mut at.at("conv1"), [outputs + classes, outputs], options(second), INIT)?,
            ];
            stages.push((dropout, convolutions));
            inputs = outputs;
        }
        let head = WeightNorm::linear(&mut scope.at("head"), inputs + classes, 1, INIT);
        Ok(ConvolutionalDiscriminator { stages, head, classes })
    }
}

impl PairDiscriminator for ConvolutionalDiscriminator {
    fn classes(&self) -> usize {
        self.classes
    }

    fn score(&self, cx: &Context, x: &Var, labels: &Var) -> Result<Var> {
        let mut x = ops::cast(x, cx.compute())?;
        for (dropout, convolutions) in &self.stages {
            x = dropout.forward(cx, &x)?;
            for convolution in convolutions {
                x = ops::leaky_relu(convolution.forward(cx, &with_labels(&x, labels)?)?, 0.2)?;
            }
        }
        let scores = self.head.forward(cx, &with_labels(&x.mean(&[1, 2])?, labels)?)?;
        let n = scores.shape()[0];
        ops::cast(scores, DType::F32)?.reshape([n])
    }
}
