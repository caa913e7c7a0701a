//! *Learn the true data distribution, even when the data you have is not it.*
//!
//! An engine for generative models, score-based (diffusion) and adversarial, whose kernels are written by hand: tensors
//! on the CPU or an NVIDIA GPU, a tape for gradients, and the operations that score networks, their training and their
//! sampling need.
//!
//! # Where things are
//!
//! Each room uses only those below it.
//!
//! | module | holds |
//! |---|---|
//! | [`methods`] | one file or folder for each paper, which reads like its algorithm: learning from noisy data, fine-tuning for coarse solvers, training on own samples |
//! | [`evaluate`] | what is measured of a model: every distance, and the classifier whose features they are measured on |
//! | [`train`] | the training step, runs of whatever is trained, with settings, checkpoints and log |
//! | `report` | charts, grids of images, and the page that a run leaves (a feature) |
//! | [`metrics`] | distances between samples and data, scores of classifiers |
//! | [`data`] | readers of images and labels, NumPy's files, known densities, digits in the binary, batches |
//! | [`diffusion`] | preconditioned denoisers, their loss, solvers, and samples from a model |
//! | [`players`] | losses of adversarial networks, penalties on a critic's gradient, augmentation that gradients pass through |
//! | [`optim`] | optimisers, averages and schedules over flat weights |
//! | [`nn`] | parameters with names, model files, layers and the networks made of them |
//! | `op_table` | each operation again in plain loops, with what it is tested and timed on (a feature) |
//! | [`ops`] | the operations, one folder each: meaning, CPU kernel, GPU launch |
//! | [`autograd`] | the tape, backward, gradients of gradients, checkpointing, the gradient checks |
//! | [`random`] | random numbers as a pure function of where they are used |
//! | [`tensor`] | shapes, dtypes, storage, [`Device`], named tensors in files |
//! | [`backend`] | where bytes live and how kernels are started: CPU, CUDA, emulator |
//! | [`mod@settings`] | what a settings file is made of: keys, each written once with its name, default, range and meaning |
//! | [`stop`], [`threads`] | how a computation is left from outside, and how many threads the CPU's kernels run on |
//!
//! # An example
//!
//! A score network of one's own: its options, what they build, and its forward pass. Preconditioning, training,
//! sampling, files and methods are then those of the built-in networks (`examples/own_network.rs` goes on to
//! likelihoods and SFBD).
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use veridical::diffusion::{Loss, Model, ModelConfig, Sampler};
//! use veridical::nn::{Architecture, Conditions, Context, Linear, Module, Scope, ScoreNetwork};
//! use veridical::ops::random::Draws;
//! use veridical::random::{Purpose, RandomKey};
//! use veridical::train::{TrainOptions, Trainer};
//! use veridical::{DType, Device, Result, Var, ops};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! struct Gated {
//!     dims: usize,
//! }
//!
//! #[derive(Debug)]
//! struct GatedNetwork([Linear; 3]);
//!
//! impl Architecture for Gated {
//!     const MODEL_TYPE: &'static str = "Gated"; // its name in files
//!     type Network = GatedNetwork;
//!
//!     fn build(&self, scope: &mut Scope, outputs: usize) -> Result<GatedNetwork> {
//!         let mut layer = |name, from, to| Linear::new(&mut scope.at(name), from, to, 1.0);
//!         Ok(GatedNetwork([layer("input", self.dims, 32), layer("gate", 16, 32), layer("output", 32, outputs)]))
//!     }
//!
//!     fn sample_shape(&self) -> Vec<usize> {
//!         vec![self.dims]
//!     }
//! }
//!
//! impl ScoreNetwork for GatedNetwork {
//!     fn forward(&self, cx: &Context, x: &Var, noise: &Var, _: Conditions) -> Result<Var> {
//!         let [input, gate, output] = &self.0;
//!         let level = ops::positional_embedding((noise * 100.0)?, 16, 1e4, true)?;
//!         let hidden = (input.forward(cx, x)?.silu()? * gate.forward(cx, &level)?)?;
//!         output.forward(cx, &hidden)
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let device = Device::best(); // the first NVIDIA GPU if there is one, else the CPU
//! let mut model = Model::new(&ModelConfig::edm(Gated { dims: 2 }, 0.5), 1, &device)?;
//! let mut trainer = Trainer::new(model.weights.clone(), TrainOptions::adam(3e-3, 1))?;
//! for step in 0..20 {
//!     let draws = Draws::from_sample(RandomKey::new(2, Purpose::Synthetic), 64 * step);
//!     let data = (0.5 * ops::normal([64, 2], DType::F32, &draws, &device)?)?.into_value();
//!     trainer.step(64, |cx| Loss::default().forward(cx, model.denoiser(), &data, Conditions::default()))?;
//! }
//! model.weights = trainer.average()?;
//! println!("{}", Sampler::default().sample(&model, 7, 0, 5)?);
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
//! | `report` (with `cli`) | runs draw their samples and curves and write a page: `report` |
//! | `formats` (with `report`) | data from pictures, folders of them, and `.npz` archives; [`Tensor`]s from pictures of the `image` crate (0.25) and back: `from_image`, `to_image` |
//! | `ndarray` | [`Tensor`]s from arrays of the `ndarray` crate (0.17) and back: `from_ndarray`, `to_ndarray` |
//! | `op-table` (with `cli`) | every operation with the shapes, tolerances and plain loops that it is tested with, for one of your own too: `op_table` |
//! | `emulator` | compiles the CUDA kernels with the host's C++ compiler and runs them on the CPU: [`Device::emulator`] |
//! | `ptx` | runs what nvcc made of the CUDA kernels on the CPU, instruction by instruction, for tests: `Device::ptx` |
//! | `one-build` | nothing of its own: with all features the crate, its tests and the Python package are compiled once |
// What a user feeds in is an error, not a panic; tests may unwrap.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod autograd;
pub mod backend;
mod checksum;
// The command's help describes it; here it is for programs that have the command in them, as the Python package does.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod data;
pub mod diffusion;
pub mod distributed;
pub mod error;
pub mod escape;
pub mod evaluate;
pub mod figures;
pub mod files;
mod linear_algebra;
pub mod memory;
pub mod methods;
pub mod metrics;
pub mod nn;
#[cfg(feature = "op-table")]
pub mod op_table;
pub mod ops;
pub mod optim;
mod pixels;
pub mod players;
pub mod random;
#[cfg(feature = "report")]
pub mod report;
pub mod settings;
pub mod stop;
pub mod tensor;
pub mod threads;
pub mod train;
mod units;

// The command names the library as every other program does.
#[cfg(feature = "cli")]
extern crate self as veridical;

pub use autograd::{Tape, Var};
pub use error::{Error, Result};
pub use tensor::{DType, Device, Shape, Tensor};

/// The examples of README.md, compiled and run with the documentation's own.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// And those of the guide for Rust programs.
#[cfg(doctest)]
#[doc = include_str!("../docs/guides/rust.md")]
struct RustGuide;
