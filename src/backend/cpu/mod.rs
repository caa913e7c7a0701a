//! The CPU: memory and the kernels that several operations share.

mod memory;

pub use memory::CpuBuffer;
