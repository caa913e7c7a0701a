//! Score-based and adversarial generative modelling with hand-written CUDA kernels.
#![deny(missing_docs)]

pub mod backend;
pub mod data;
pub mod error;
pub mod metrics;
pub mod random;
pub mod train;
pub mod tensor;

pub use error::{Error, Result};
pub use tensor::{DType, Device, Shape, Tensor};
