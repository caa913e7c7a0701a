//! A small convolutional classifier for images.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::layers::{Conv2d, GroupNorm, Linear, Module};
use super::layout::Scope;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;

/// The options of [`Classifier`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Channels of the images.
    pub img_channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Channels after each stage; between two stages the resolution is halved.
    pub channels: Vec<usize>,
    /// Probability of dropout before the last layer.
    pub dropout: f64,
}

/// `[n, h, w, channels]` to logits `[n, classes]`: per stage a 3x3 convolution, GroupNorm and SiLU, with 2x2 means
/// between stages; then the mean over pixels and a linear layer.
#[derive(Debug, Clone)]
pub struct Classifier {
    stages: Vec<(Conv2d, GroupNorm)>,
    dropout: f64,
    site: u32,
    head: Linear,
}

impl Classifier {
    /// Registers the parameters in `scope`. Errors on sizes that make no network.
    pub fn new(scope: &mut Scope, config: &ClassifierConfig) -> Result<Self> {
        let ClassifierConfig { img_channels, classes, ref channels, dropout } = *config;
        let sizes = [&[img_channels, classes][..], channels].concat();
        if channels.is_empty() || sizes.iter().any(|size| !(1..=1 << 16).contains(size)) {
            return Err(Error::Config(format!("a classifier needs sizes between 1 and 65536, got {config:?}")));
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(Error::Config(format!("dropout must be in [0, 1), got {dropout}")));
        }
        let mut inputs = img_channels;
        let mut stages = Vec::new();
        for (i, &outputs) in channels.iter().enumerate() {
            let mut stage = scope.at(&format!("stage{i}"));
            let conv = Conv2d::three(&mut stage.at("conv"), inputs, outputs, 1.0);
            stages.push((conv, GroupNorm::new(&mut stage.at("norm"), outputs, 1e-6)?));
            inputs = outputs;
        }
        let site = scope.site();
        Ok(Classifier { stages, dropout, site, head: Linear::new(&mut scope.at("head"), inputs, classes, 1.0) })
    }

    /// The features before the last layer, `[n, channels]`.
    pub fn features(&self, cx: &Context, x: &Var) -> Result<Var> {
        let mut x = ops::cast(x, cx.compute())?;
        for (i, (conv, norm)) in self.stages.iter().enumerate() {
            if i > 0 {
                x = ops::downsample2x(&x, &[1.0, 1.0])?;
            }
            x = norm.forward_silu(cx, &conv.forward(cx, &x)?)?;
        }
        ops::mean(&x, &[1, 2])
    }

    /// The logits `[n, classes]` of what [`features`](Self::features) made.
    pub fn classify(&self, cx: &Context, features: &Var) -> Result<Var> {
        self.head.forward(cx, &cx.dropout(features, self.dropout, self.site)?)
    }
}

impl Module for Classifier {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.classify(cx, &self.features(cx, x)?)
    }
}
