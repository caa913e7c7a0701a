//! Networks that play against each other: what a discriminator, a generator, a teacher and a student go down on.
//!
//! [`gan`] holds the losses of a discriminator and a generator, [`penalty`] what keeps the discriminator's gradient
//! small, [`augment`] what lets it learn from little data. They are functions of logits and of critics, which are any
//! function of a variable. [`estimators`] are ways to a gradient through labels, [`distillation`] is what one network
//! learns of another's logits. The players themselves, with their optimisers, are a [`Trained`](crate::train::Trained)
//! each (`examples/own_gan.rs`).
//!
//! Samples of a generator are drawn from the average of its weights: a [`Trainer`](crate::train::Trainer) keeps one if
//! its [options](crate::train::TrainOptions) say so, buffers of batch norms included, and
//! [`Trainer::average`](crate::train::Trainer::average) gives the weights to run the generator with. The discriminator
//! plays against the weights as they are.

pub mod augment;
pub mod distillation;
pub mod estimators;
pub mod gan;
pub mod penalty;

pub use augment::DiffAugment;
pub use distillation::{cross_entropy_soft, kl_softened, logit_l2, noisy_logits};
pub use estimators::{
    Annealing, Baseline, Exact, GumbelSoftmax, LabelEstimator, RaoBlackwell, Reinforce, Reward, RewardRegression,
    StraightThrough,
};
pub use gan::{GanLoss, bce_with_logits};
