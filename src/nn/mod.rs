//! Networks, and the layers they are made of.
//!
//! A network holds no numbers: it registers its parameters in a [`Layout`], [`Weights`] hold the values, and a
//! [`Context`] brings both together with a tape for one forward pass.

mod class_names;
mod classifier;
mod classifiers;
mod context;
pub mod dhariwal;
mod file;
mod form;
mod input_range;
mod layers;
mod layout;
mod lenet;
mod mlp;
pub mod pairs;
mod perceptron;
mod registry;
mod score;
pub mod song;
mod stack;
pub mod transformer;
pub mod unet;
mod weights;

pub use class_names::{class_names, class_names_metadata, column_names, column_names_metadata};
pub use classifier::{Classifier, ClassifierConfig};
pub use classifiers::{AnyClassifier, AnyClassifierConfig, FeatureClassifier};
pub use context::Context;
pub use dhariwal::{DhariwalConfig, DhariwalUNet};
pub use file::{check, load, load_from, metadata, save};
pub use input_range::InputRange;
pub use layers::{
    BatchNorm, ConditionalBatchNorm, Conv2d, ConvOptions, ConvTranspose2d, Dropout, GaussianNoise, GroupNorm,
    LayerInit, LayerNorm, Linear, Module, Projection, Sequential, SpectralNorm, SpectrallyNormalised, WeightNorm,
    spectral_norm, weight_norm,
};
pub use layout::{Entry, Init, Layout, ParamId, Scope};
pub use lenet::{LeNet, LeNetConfig};
pub use mlp::{Mlp, MlpConfig};
pub use perceptron::{Perceptron, PerceptronConfig};
pub use registry::{register, registered};
pub use score::{Architecture, Conditions, DataShape, NetworkConfig, ScoreNetwork};
pub use song::{SongConfig, SongUNet};
pub use stack::{Stack, StackConfig};
pub use transformer::{Transformer, TransformerConfig};
pub use weights::Weights;
