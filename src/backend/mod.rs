//! Where bytes live and how work is started: the CPU, a CUDA GPU, or the emulator of one.

pub mod cpu;
pub mod gpu;
