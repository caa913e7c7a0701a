//! A perceptron that classifies.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::input_range::InputRange;
use super::layers::{LayerInit, Linear, Module};
use super::layout::Scope;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;

/// The options of [`Perceptron`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerceptronConfig {
    /// Numbers of a sample.
    pub inputs: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Logits.
    pub classes: usize,
    /// Probability of dropout after each hidden layer.
    pub dropout: f64,
    /// What is 0 and 1 to the first layer; files of before have none.
    #[serde(default)]
    pub range: InputRange,
}

/// `[n, ...]` of `inputs` numbers each to logits `[n, classes]`: linear layers with ReLU between them. With two hidden
/// layers of 800 it is the student of KDGAN's experiments on MNIST.
#[derive(Debug, Clone)]
pub struct Perceptron {
    inputs: usize,
    hidden: Vec<(Linear, u32)>,
    head: Linear,
    dropout: f64,
    range: InputRange,
}

impl Perceptron {
    /// Registers the parameters in `scope`. Errors on sizes that make no network.
    pub fn new(scope: &mut Scope, config: &PerceptronConfig) -> Result<Self> {
        let PerceptronConfig { inputs, ref hidden, classes, dropout, range } = *config;
        let sizes = [&[inputs, classes][..], hidden].concat();
        if sizes.iter().any(|size| !(1..=1 << 24).contains(size)) {
            return Err(Error::Config(format!("a perceptron needs sizes between 1 and 2^24, got {config:?}")));
        }
        check_dropout(dropout)?;
        range.check()?;
        let mut width = inputs;
        let mut layers = Vec::new();
        for (i, &next) in hidden.iter().enumerate() {
            let layer = Linear::new(&mut scope.at(&format!("hidden{i}")), width, next, LayerInit::Kaiming);
            layers.push((layer, scope.site()));
            width = next;
        }
        let head = Linear::new(&mut scope.at("head"), width, classes, LayerInit::Kaiming);
        Ok(Perceptron { inputs, hidden: layers, head, dropout, range })
    }

    /// The last hidden layer, `[n, width]`.
    pub fn features(&self, cx: &Context, x: &Var) -> Result<Var> {
        let rows = x.shape().first().copied().unwrap_or(0);
        let x = ops::cast(self.range.apply(&x.reshape([rows, self.inputs])?)?, cx.compute())?;
        self.hidden.iter().try_fold(x, |x, (layer, site)| {
            let x = ops::relu(&layer.forward(cx, &x)?)?;
            cx.dropout(&x, self.dropout, *site)
        })
    }

    /// The logits `[n, classes]` of what [`features`](Self::features) made.
    pub fn classify(&self, cx: &Context, features: &Var) -> Result<Var> {
        self.head.forward(cx, features)
    }
}

impl Module for Perceptron {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.classify(cx, &self.features(cx, x)?)
    }
}

/// Errors unless it is a probability below 1.
pub(super) fn check_dropout(p: f64) -> Result<()> {
    match (0.0..1.0).contains(&p) {
        true => Ok(()),
        false => Err(Error::Config(format!("dropout must be in [0, 1), got {p}"))),
    }
}
