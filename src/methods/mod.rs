//! One file or folder for each paper, which reads like its algorithm and is made of the rooms below: training is
//! [`train`](crate::train)'s, sampling [`diffusion`](crate::diffusion)'s, and a method says only what is peculiar to
//! it.
//!
//! | file | method | learns from |
//! |---|---|---|
//! | [`ambient`] | Ambient-Tweedie, with the consistency term; noisy-only, clean-only and all-clean training beside it | clean and noisy images |
//! | [`sure`] | Stein's unbiased risk estimate as a loss, beside Ambient-Tweedie | noisy images, with clean ones or without |
//! | [`sfbd`] | stochastic forward-backward deconvolution: denoise the noisy images, fine-tune on the result, repeat | a few clean images and many noisy ones |
//! | [`online_sfbd`] | the same without rounds: a buffer of denoised images that is refreshed while it is trained on | the same |
//! | [`contrastive_chain`] | contrastive sampling chains: fine-tunes a model for the coarse solver that it is going to be sampled with | clean images and a trained model |
//! | [`cdm`] | consistent diffusion: fine-tunes a model so that its samples stay on its own way | the same |
//! | [`kdgan`] | a student, a teacher and a discriminator: knowledge distillation as a game, with seven methods to compare | few labels, and what only a teacher may see |
//! | [`triple_gan`] | a generator, a classifier and a discriminator, with three baselines | few labels, and many images without |
//! | [`self_consuming`] | what becomes of a model family that is trained on its own samples, simulated and in theory | any family, through one trait |
//!
//! Each has a command of [`veridical`](crate) and settings with sections of its own; as functions they take images and
//! networks of yours.

pub mod ambient;
pub mod cdm;
mod chain;
pub mod contrastive_chain;
pub mod denoising;
pub mod fine_tune;
pub mod game;
pub mod judge;
pub mod kdgan;
pub mod noisy;
pub mod online_sfbd;
#[cfg(feature = "report")]
mod pages;
pub mod presets;
mod raised;
pub mod self_consuming;
pub mod sfbd;
pub mod sure;
pub mod triple_gan;

pub use ambient::{AmbientLoss, AmbientObjective, AmbientSettings, AmbientTraining, AmbientTweedie, TrainedOn};
pub use cdm::Cdm;
pub use contrastive_chain::{ContrastiveChain, CscSettings, FineTuning, FineTuningKind};
pub use denoising::{denoise, denoiser, posterior_draws, posterior_mean};
pub use judge::Judge;
pub use kdgan::{Kdgan, KdganRun, KdganSettings};
pub use noisy::NoisyData;
pub use online_sfbd::{OnlineSection, OnlineSfbd, Refresh};
pub use sfbd::{RoundOptimizer, Sfbd, SfbdSettings, Store};
pub use sure::{Sure, unsure_sigma};
pub use triple_gan::{TripleGan, TripleGanRun, TripleGanSettings};
