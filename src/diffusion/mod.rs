//! Diffusion models: preconditioned denoisers, their loss, and the solvers that sample from them.
//!
//! Noise levels are standard deviations `sigma` of the noise on the data (Karras et al. 2022, arXiv 2206.00364); the
//! coefficients that follow from them are made in f64 on the host.

pub mod augment;
mod conditioned;
mod denoiser;
mod exchange;
mod guidance;
pub mod likelihood;
mod loss;
mod model;
mod noised;
mod objective;
pub mod precond;
mod rehearsal;
mod sampler;
pub mod sigmas;
pub mod solvers;

pub use augment::AugmentPipe;
pub(crate) use augment::flip;
pub use conditioned::Conditioned;
pub use denoiser::{Denoiser, per_sample};
pub use exchange::write_samples;
pub use guidance::{Guidance, Guided};
pub use likelihood::{Likelihood, bits_per_dim};
pub use loss::EdmLoss;
pub use model::{Model, ModelConfig};
pub use noised::{column, noised};
pub use objective::{Loss, LossKind};
pub use precond::{Precond, Scaling};
pub use sampler::{Drawn, Request, Sampler, Start, one_hot, random_classes};
pub use sigmas::{Grid, karras_sigmas, sigmas_from, vp_sigmas};
