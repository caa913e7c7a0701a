//! LeNet: convolutions and pooling in turn, then a hidden layer.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::input_range::InputRange;
use super::layers::{Conv2d, ConvOptions, LayerInit, Linear, Module};
use super::layout::Scope;
use super::perceptron::check_dropout;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;

/// The options of [`LeNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeNetConfig {
    /// Height, width and channels of the images.
    pub size: [usize; 3],
    /// Channels after each convolution.
    pub channels: Vec<usize>,
    /// Height and width of the convolutions' kernels.
    pub kernel: usize,
    /// Zeros beyond each border of what a convolution is given.
    pub padding: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Logits.
    pub classes: usize,
    /// Probability of dropout after the hidden layer.
    pub dropout: f64,
    /// What is 0 and 1 to the first layer; files of before have none.
    #[serde(default)]
    pub range: InputRange,
}

/// Images `[n, h, w, c]` to logits `[n, classes]`: per stage a convolution, ReLU and a 2x2 maximum, then a hidden layer
/// with ReLU and dropout (LeCun et al. 1998, with the activations of today). With 20, 20 channels, kernels of 5 and 500
/// hidden numbers it is the teacher of KDGAN's experiments on MNIST.
#[derive(Debug, Clone)]
pub struct LeNet {
    convolutions: Vec<Conv2d>,
    flat: usize,
    hidden: Linear,
    head: Linear,
    dropout: f64,
    range: InputRange,
    site: u32,
}

impl LeNet {
    /// Registers the parameters in `scope`. Errors on sizes that make no network, and on images of which nothing is
    /// left on the way.
    pub fn new(scope: &mut Scope, config: &LeNetConfig) -> Result<Self> {
        let LeNetConfig { size, ref channels, kernel, padding, hidden, classes, dropout, range } = *config;
        let sizes = [&size[..], channels, &[kernel, hidden, classes]].concat();
        if sizes.iter().any(|size| !(1..=1 << 16).contains(size)) || padding >= kernel {
            let what = "a LeNet needs sizes between 1 and 65536 and less padding than its kernel";
            return Err(Error::Config(format!("{what}, got {config:?}")));
        }
        check_dropout(dropout)?;
        range.check()?;
        let [mut height, mut width, mut inputs] = size;
        let mut convolutions = Vec::new();
        for (i, &outputs) in channels.iter().enumerate() {
            let options = ConvOptions { kernel, stride: 1, padding };
            let mut at = scope.at(&format!("conv{i}"));
            convolutions.push(Conv2d::new(&mut at, [inputs, outputs], options, LayerInit::Kaiming)?);
            let after = |extent: usize| (extent + 2 * padding + 1).saturating_sub(kernel) / 2;
            (height, width, inputs) = (after(height), after(width), outputs);
            if height == 0 || width == 0 {
                let what = format!("of images {size:?} nothing is left after convolution {i} and its pooling");
                return Err(Error::Config(format!("{what}; give fewer channels, a smaller kernel or more padding")));
            }
        }
        let flat = height * width * inputs;
        let hidden_layer = Linear::new(&mut scope.at("hidden"), flat, hidden, LayerInit::Kaiming);
        let site = scope.site();
        let head = Linear::new(&mut scope.at("head"), hidden, classes, LayerInit::Kaiming);
        Ok(LeNet { convolutions, flat, hidden: hidden_layer, head, dropout, range, site })
    }

    /// The hidden layer, `[n, hidden]`.
    pub fn features(&self, cx: &Context, x: &Var) -> Result<Var> {
        let mut x = ops::cast(self.range.apply(x)?, cx.compute())?;
        for convolution in &self.convolutions {
            x = ops::max_pool2d(&ops::relu(&convolution.forward(cx, &x)?)?, 2, 2)?;
        }
        let rows = x.shape().first().copied().unwrap_or(0);
        ops::relu(&self.hidden.forward(cx, &x.reshape([rows, self.flat])?)?)
    }

    /// The logits `[n, classes]` of what [`features`](Self::features) made.
    pub fn classify(&self, cx: &Context, features: &Var) -> Result<Var> {
        self.head.forward(cx, &cx.dropout(features, self.dropout, self.site)?)
    }
}

impl Module for LeNet {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.classify(cx, &self.features(cx, x)?)
    }
}
