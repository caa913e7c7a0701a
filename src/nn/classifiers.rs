//! The networks that classify, as one: what a file of a classifier may hold.

use serde::{Deserialize, Serialize};

use super::classifier::{Classifier, ClassifierConfig};
use super::context::Context;
use super::layers::Module;
use super::layout::Scope;
use super::lenet::{LeNet, LeNetConfig};
use super::perceptron::{Perceptron, PerceptronConfig};
use super::stack::{Stack, StackConfig};
use crate::autograd::Var;
use crate::error::Result;

/// A network whose last layer makes logits of features.
pub trait FeatureClassifier: Module + Send + Sync {
    /// What the last layer is given, `[n, width]`.
    fn features(&self, cx: &Context, x: &Var) -> Result<Var>;
}

/// The options of one of the networks; files tell them apart by their keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnyClassifierConfig {
    /// [`Classifier`].
    Convolutional(ClassifierConfig),
    /// [`LeNet`].
    LeNet(LeNetConfig),
    /// [`Stack`].
    Stack(StackConfig),
    /// [`Perceptron`].
    Perceptron(PerceptronConfig),
}

/// One of the networks.
#[derive(Debug, Clone)]
pub enum AnyClassifier {
    /// [`Classifier`].
    Convolutional(Classifier),
    /// [`LeNet`].
    LeNet(LeNet),
    /// [`Stack`].
    Stack(Stack),
    /// [`Perceptron`].
    Perceptron(Perceptron),
}

impl AnyClassifierConfig {
    /// Registers the parameters in `scope`. Errors on sizes that make no network.
    pub fn build(&self, scope: &mut Scope) -> Result<AnyClassifier> {
        Ok(match self {
            AnyClassifierConfig::Convolutional(config) => AnyClassifier::Convolutional(Classifier::new(scope, config)?),
            AnyClassifierConfig::LeNet(config) => AnyClassifier::LeNet(LeNet::new(scope, config)?),
            AnyClassifierConfig::Stack(config) => AnyClassifier::Stack(Stack::new(scope, config)?),
            AnyClassifierConfig::Perceptron(config) => AnyClassifier::Perceptron(Perceptron::new(scope, config)?),
        })
    }

    /// Logits.
    pub fn classes(&self) -> usize {
        match self {
            AnyClassifierConfig::Convolutional(config) => config.classes,
            AnyClassifierConfig::LeNet(config) => config.classes,
            AnyClassifierConfig::Stack(config) => config.classes,
            AnyClassifierConfig::Perceptron(config) => config.classes,
        }
    }

    /// Numbers that a sample has before the last layer.
    pub fn feature_dims(&self) -> usize {
        match self {
            AnyClassifierConfig::Convolutional(config) => config.channels.last().copied().unwrap_or(0),
            AnyClassifierConfig::LeNet(config) => config.hidden,
            AnyClassifierConfig::Stack(config) => Stack::width(config),
            AnyClassifierConfig::Perceptron(config) => config.hidden.last().copied().unwrap_or(config.inputs),
        }
    }
}

impl FeatureClassifier for AnyClassifier {
    fn features(&self, cx: &Context, x: &Var) -> Result<Var> {
        match self {
            AnyClassifier::Convolutional(network) => network.features(cx, x),
            AnyClassifier::LeNet(network) => network.features(cx, x),
            AnyClassifier::Stack(network) => network.features(cx, x),
            AnyClassifier::Perceptron(network) => network.features(cx, x),
        }
    }
}

impl AnyClassifier {
    /// The logits `[n, classes]` of [features](FeatureClassifier::features).
    pub fn classify(&self, cx: &Context, features: &Var) -> Result<Var> {
        match self {
            AnyClassifier::Convolutional(network) => network.classify(cx, features),
            AnyClassifier::LeNet(network) => network.classify(cx, features),
            AnyClassifier::Stack(network) => network.classify(cx, features),
            AnyClassifier::Perceptron(network) => network.classify(cx, features),
        }
    }
}

impl Module for AnyClassifier {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.classify(cx, &self.features(cx, x)?)
    }
}
