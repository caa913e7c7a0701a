//! Where bytes live and how work is started: the CPU, a CUDA GPU, the emulator of one, or an interpreter
//! of its PTX; and what that should cost, by a plan that starts nothing.

pub(crate) mod arguments;
pub mod ceiling;
pub(crate) mod convolution;
pub mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod divisor;
pub(crate) mod dtype;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod gpu;
mod gpu_info;
pub(crate) mod hopper;
pub mod inventory;
pub(crate) mod kernels;
pub(crate) mod math;
pub(crate) mod params;
pub mod plan;
#[cfg(feature = "ptx")]
pub mod ptx;
pub(crate) mod shared_memory;
pub(crate) mod switch;
pub mod tensor_map;
pub(crate) mod usage;

#[cfg(feature = "emulator")]
pub use emulator::{EmulatorOptions, Order};
#[cfg(feature = "ptx")]
pub use ptx::PtxModules;
