//! Diffusion models: preconditioned denoisers, their loss, and the solvers that sample from them.
//!
//! Noise levels are standard deviations `sigma` of the noise on the data (Karras et al. 2022, arXiv 2206.00364); the
//! coefficients that follow from them are made in f64 on the host.

mod loss;
mod model;
mod precond;
mod sampler;
mod sigmas;
pub mod solvers;

pub use loss::EdmLoss;
pub use model::{Model, ModelConfig, NetworkConfig};
pub use precond::{Denoiser, Scaling};
pub use sampler::Sampler;
pub use sigmas::karras_sigmas;
