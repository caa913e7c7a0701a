//! The CPU: memory, threads, and the kernels that several operations share.

pub mod math;
mod memory;
mod parallel;

pub use memory::CpuBuffer;
pub use parallel::{GRAIN, Kernel, chunks, vectorized, weighted_chunks, with_vector_instructions};
