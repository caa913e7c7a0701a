//! What kernels are given: the parameter structs of `kernels/*.cu`, of which `build.rs` makes their like in Rust.

use super::divisor::Divisor;
use super::gpu::Ptr;
use super::tensor_map::TensorMap;

include!(concat!(env!("OUT_DIR"), "/params.rs"));
