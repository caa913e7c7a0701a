//! The interpreter of PTX: that it knows all that nvcc makes of the kernels, and that it would notice if it were wrong.
//! The operations themselves run on it in `tests/ops.rs`, the wrappers of instructions in `tests/emulator.rs`.
#![cfg(feature = "ptx")]

#[path = "ptx/faults.rs"]
mod faults;
mod hardware;
#[path = "ptx/hopper.rs"]
mod hopper;
#[path = "ptx/hopper_clusters.rs"]
mod hopper_clusters;
#[path = "ptx/hopper_weights.rs"]
mod hopper_weights;
#[path = "ptx/instructions.rs"]
mod instructions;
