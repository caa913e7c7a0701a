//! Where bytes live and how work is started: the CPU, a CUDA GPU, or the emulator of one.

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
pub mod inventory;
pub(crate) mod kernels;
pub(crate) mod math;
pub(crate) mod params;
pub(crate) mod shared_memory;
pub(crate) mod usage;

#[cfg(feature = "emulator")]
pub use emulator::{EmulatorOptions, Order};
