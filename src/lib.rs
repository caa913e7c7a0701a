//! Score-based and adversarial generative modelling with hand-written CUDA kernels.
// What a user feeds in is an error, not a panic; tests may unwrap.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod autograd;
pub mod backend;
pub mod data;
pub mod error;
pub mod files;
pub mod metrics;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod random;
pub mod tensor;
pub mod train;

pub use autograd::{Tape, Var};
pub use error::{Error, Result};
pub use tensor::{DType, Device, Shape, Tensor};
