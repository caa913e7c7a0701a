//! A convolutional classifier with batch normalisation, written as a list of its layers.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::layers::{BatchNorm, Conv2d, ConvOptions, Dropout, GaussianNoise, LayerInit, Linear, Module};
use super::layout::Scope;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;

/// The options of [`Stack`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// Height, width and channels of the images.
    pub size: [usize; 3],
    /// The layers: `32x5v` is a 5x5 convolution of 32 channels without padding, `64x3` one that keeps the size, `pool`
    /// the maxima of 2x2 pixels, then dropout.
    pub layers: Vec<String>,
    /// Logits.
    pub classes: usize,
    /// Probability of dropout after each `pool`.
    pub dropout: f64,
    /// Standard deviation of the noise on the input, in training.
    pub noise: f64,
    /// What negative numbers are multiplied by: 0 is ReLU.
    pub slope: f64,
}

/// A layer of a [`Stack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Convolution { channels: usize, kernel: usize, valid: bool },
    Pool,
}

impl FromStr for Piece {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let what = "is no layer; there are `pool`, and convolutions such as `64x3` (64 channels, 3x3) or `32x5v` (no padding)";
            Error::Config(format!("{text:?} {what}"))
        };
        if text == "pool" {
            return Ok(Piece::Pool);
        }
        let (channels, rest) = text.split_once('x').ok_or_else(bad)?;
        let (kernel, valid) = match rest.strip_suffix('v') {
            Some(kernel) => (kernel, true),
            None => (rest, false),
        };
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=1 << 16).contains(n)).ok_or_else(bad);
        let (channels, kernel) = (number(channels)?, number(kernel)?);
        if !valid && kernel % 2 == 0 {
            return Err(Error::Config(format!(
                "{text:?}: a convolution that keeps the size has an odd kernel; or write {text}v"
            )));
        }
        Ok(Piece::Convolution { channels, kernel, valid })
    }
}

/// Images `[n, h, w, c]` to logits `[n, classes]`: convolutions, each with batch normalisation and (leaky) ReLU, maxima
/// and dropout as the list says, then the mean over pixels and a linear layer. Triple-GAN's classifiers are such lists.
#[derive(Debug, Clone)]
pub struct Stack {
    noise: GaussianNoise,
    layers: Vec<Layer>,
    head: Linear,
    slope: f64,
}

#[derive(Debug, Clone)]
enum Layer {
    Convolution(Conv2d, BatchNorm),
    Pool(Dropout),
}

impl Stack {
    /// Registers the parameters in `scope`. Errors on words that are no layer, on sizes that make no network, and on
    /// images of which nothing is left on the way.
    pub fn new(scope: &mut Scope, config: &StackConfig) -> Result<Self> {
        let StackConfig { size, ref layers, classes, dropout, noise, slope } = *config;
        let [mut height, mut width, mut inputs] = size;
        if [height, width, inputs, classes].iter().any(|size| !(1..=1 << 16).contains(size)) || layers.is_empty() {
            let what = "a classifier needs sizes between 1 and 65536, and layers";
            return Err(Error::Config(format!("{what}, got {config:?}")));
        }
        if !(0.0..1.0).contains(&dropout) || !slope.is_finite() {
            let what = format!("dropout must be in [0, 1) and the slope finite, got {dropout} and {slope}");
            return Err(Error::Config(what));
        }
        let input_noise = GaussianNoise::new(&mut scope.at("noise"), noise)?;
        let mut built = Vec::new();
        for (i, text) in layers.iter().enumerate() {
            let mut at = scope.at(&format!("layer{i}"));
            match text.parse()? {
                Piece::Pool => {
                    (height, width) = (height / 2, width / 2);
                    built.push(Layer::Pool(Dropout::new(&mut at, dropout)?));
                }
                Piece::Convolution { channels, kernel, valid } => {
                    let padding = if valid { 0 } else { kernel / 2 };
                    let options = ConvOptions { kernel, stride: 1, padding };
                    let after = |extent: usize| (extent + 2 * padding + 1).saturating_sub(kernel);
                    (height, width) = (after(height), after(width));
                    let init = LayerInit::Normal(0.05);
                    let convolution = Conv2d::new(&mut at.at("conv"), [inputs, channels], options, init)?;
                    built.push(Layer::Convolution(convolution, BatchNorm::new(&mut at.at("norm"), channels)));
                    inputs = channels;
                }
            }
            if height == 0 || width == 0 {
                let what = format!("of images {size:?} nothing is left after layer {i} ({text})");
                return Err(Error::Config(format!("{what}; give fewer `pool`, or padding (no `v`)")));
            }
        }
        let head = Linear::new(&mut scope.at("head"), inputs, classes, LayerInit::Normal(0.01));
        Ok(Stack { noise: input_noise, layers: built, head, slope })
    }

    /// Channels before the last layer.
    pub fn width(config: &StackConfig) -> usize {
        let channels = |text: &String| match text.parse() {
            Ok(Piece::Convolution { channels, .. }) => Some(channels),
            _ => None,
        };
        config.layers.iter().rev().find_map(channels).unwrap_or(config.size[2])
    }

    /// The means over pixels, `[n, channels]`.
    pub fn features(&self, cx: &Context, x: &Var) -> Result<Var> {
        let mut x = self.noise.forward(cx, &ops::cast(x, cx.compute())?)?;
        for layer in &self.layers {
            x = match layer {
                Layer::Convolution(convolution, norm) => {
                    ops::leaky_relu(norm.forward(cx, &convolution.forward(cx, &x)?)?, self.slope)?
                }
                Layer::Pool(dropout) => dropout.forward(cx, &ops::max_pool2d(&x, 2, 2)?)?,
            };
        }
        ops::mean(&x, &[1, 2])
    }

    /// The logits `[n, classes]` of what [`features`](Self::features) made.
    pub fn classify(&self, cx: &Context, features: &Var) -> Result<Var> {
        self.head.forward(cx, features)
    }
}

impl Module for Stack {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.classify(cx, &self.features(cx, x)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Layout;

    #[test]
    fn lists_of_layers_are_networks_or_errors_that_name_the_layer() {
        let build = |size: [usize; 3], layers: &[&str]| {
            let layers = layers.iter().map(ToString::to_string).collect();
            let config = StackConfig { size, layers, classes: 10, dropout: 0.5, noise: 0.0, slope: 0.0 };
            let mut layout = Layout::new();
            Stack::new(&mut layout.scope("c"), &config).map(|_| (layout.parameter_count(), Stack::width(&config)))
        };
        let mnist = ["32x5v", "pool", "64x3", "64x3v", "pool", "128x3", "128x3"];
        // 800 + 18,432 + 36,864 + 73,728 + 147,456 weights, 416 biases, gammas and betas each, and the last layer.
        assert_eq!(build([28, 28, 1], &mnist).unwrap(), (277_280 + 3 * 416 + 1290, 128));
        let says = |size, layers: &[&str], part: &str| {
            let error = build(size, layers).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        says([28, 28, 1], &["32x5v", "poool"], "\"poool\" is no layer");
        says([28, 28, 1], &["32x4"], "32x4v");
        says([28, 28, 1], &["0x3"], "\"0x3\" is no layer");
        says([28, 28, 1], &[], "and layers");
        says([4, 4, 1], &["32x5v"], "nothing is left after layer 0 (32x5v)");
        says([4, 4, 1], &["8x3", "pool", "pool", "pool"], "nothing is left after layer 3 (pool)");
    }
}
