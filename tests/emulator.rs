//! The emulator itself: that correct kernels give what they should, and that wrong ones are caught.
#![cfg(feature = "emulator")]

#[path = "emulator/basic.rs"]
mod basic;
#[path = "emulator/device.rs"]
mod device;
