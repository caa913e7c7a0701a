//! *Learn the true data distribution, even when the data you have is not it.*
//!
//! An engine for generative models, score-based (diffusion) and adversarial, whose kernels are written by hand: tensors on the CPU
//! or an NVIDIA GPU, a tape for gradients, and the operations that score networks, their training and their sampling need.
//!
//! # Where things are
//!
//! Each room uses only those below it.
//!
//! | module | holds |
//! |---|---|
//! | [`methods`] | one file or folder for each paper, which reads like its algorithm: learning from noisy data, fine-tuning for coarse solvers, training on own samples |
//! | [`train`] | the training step, whole runs with settings and checkpoints, and what they leave behind: directory, log, report |
//! | [`metrics`] | distances between samples and data, scores of classifiers |
//! | [`data`] | readers of images and labels, NumPy's files, known densities, digits in the binary, batches |
//! | [`diffusion`] | preconditioned denoisers, their loss, solvers, and samples from a model |
//! | [`optim`] | optimisers, averages and schedules over flat weights |
//! | [`nn`] | parameters with names, model files, layers and the networks made of them |
//! | [`autograd`] | the tape, backward, checkpointing, the gradient check |
//! | [`ops`] | the operations, one folder each: meaning, CPU kernel, GPU launch |
//! | [`random`] | random numbers as a pure function of where they are used |
//! | [`tensor`] | shapes, dtypes, storage, [`Device`], named tensors in files |
//! | [`backend`] | where bytes live and how kernels are started: CPU, CUDA, emulator |
//!
//! # An example
//!
//! The best denoiser for points from N(0, 1) behind noise from N(0, 1) is `d(y) = y / 2`, and `d(y) - y` is then the score of the
//! noisy density. Here gradient descent finds the factor:
//!
//! ```
//! use veridical::ops::{self, random::Draws};
//! use veridical::random::{Purpose, RandomKey};
//! use veridical::{DType, Device, Error, Tape, Tensor, Var};
//!
//! # fn main() -> veridical::Result<()> {
//! let device = Device::best(); // the first NVIDIA GPU if there is one, else the CPU
//! let normal = |purpose| ops::normal([20_000, 1], DType::F32, &Draws::new(RandomKey::new(7, purpose)), &device);
//! let clean = Var::constant(normal(Purpose::Synthetic)?);
//! let noisy = ops::add(&clean, &Var::constant(normal(Purpose::TrainingNoise)?))?;
//!
//! let mut factor = Tensor::zeros([1], DType::F32, &device)?;
//! for _ in 0..50 {
//!     let w = Tape::new().leaf(factor);
//!     let error = ops::sub(&ops::mul(&noisy, &w)?, &clean)?;
//!     let loss = ops::mean(&ops::mul(&error, &error)?, &[0, 1])?;
//!     let gradient = loss.backward()?.take(&w).ok_or(Error::Autograd("no gradient".into()))?;
//!     factor = ops::add_scaled(&w.detach(), 1.0, &Var::constant(gradient), -0.1)?.into_value();
//! }
//! assert!((factor.item()? - 0.5).abs() < 0.02);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `cuda` (default) | drives NVIDIA GPUs; the driver is loaded at run time, so one binary runs with and without one |
//! | `cli` (default) | the `veridical` command; without it a library user gets none of its dependencies |
//! | `emulator` | compiles the CUDA kernels with the host's C++ compiler and runs them on the CPU: [`Device::emulator`] |
// What a user feeds in is an error, not a panic; tests may unwrap.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod autograd;
pub mod backend;
pub mod data;
pub mod diffusion;
pub mod error;
pub mod escape;
pub mod files;
pub mod methods;
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

/// The examples of README.md, compiled and run with the documentation's own.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
