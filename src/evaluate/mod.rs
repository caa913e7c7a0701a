//! What is measured of a model: a classifier of images, and every distance between samples and data on its features or
//! on pixels.

mod classifier;
mod comparison;
mod features;

pub use classifier::{
    CLASSIFIER_SCOPE, ClassifierDescription, ClassifierTraining, ImageClassifier, classifier_metadata,
    classifier_of_file,
};
pub(crate) use comparison::check;
pub use comparison::{Ceiling, Comparing, Comparison, Statistics, ceiling, compare, compare_statistics};
pub use features::{FeatureSpace, Features, Measured};
