//! The emulator itself: that correct kernels give what they should, and that wrong ones are caught.
#![cfg(feature = "emulator")]

#[path = "emulator/asynchrony.rs"]
mod asynchrony;
#[path = "emulator/basic.rs"]
mod basic;
#[path = "emulator/cluster.rs"]
mod cluster;
#[path = "emulator/cute.rs"]
mod cute;
#[path = "emulator/device.rs"]
mod device;
#[path = "emulator/faults.rs"]
mod faults;
mod hardware;
#[path = "emulator/hopper.rs"]
mod hopper;
#[path = "emulator/hopper_faults.rs"]
mod hopper_faults;
mod locate;
#[path = "emulator/matrix.rs"]
mod matrix;
#[path = "emulator/memory.rs"]
mod memory;
#[path = "emulator/transposed.rs"]
mod transposed;
#[path = "emulator/vectors.rs"]
mod vectors;
