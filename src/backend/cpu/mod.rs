//! The CPU: memory, threads, and the kernels that several operations share.

pub mod ceiling;
pub(crate) mod gemm;
mod isa;
pub mod math;
mod memory;
mod parallel;
mod softmax;

pub use isa::Isa;
pub use memory::CpuBuffer;
pub(crate) use memory::USAGE;
pub use parallel::{GRAIN, Kernel, chunks, parts, vectorized, weighted_chunks, with_vector_instructions};
pub use softmax::{RowSum, sum_of_pairs};
