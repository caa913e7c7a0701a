//! The CPU: memory and the kernels that several operations share.
