//! AMX in software, for tests on a CPU without it: its instructions are not there, so the system sends a signal, whose
//! handler reads the instruction, performs it on the calling thread's tiles and goes on behind it.
//!
//! Written from the instructions' pages in Intel's Software Developer's Manual, volume 2, and not from what the kernels
//! need: an instruction that the CPU would refuse ends the test process with the reason. When it refuses one (the
//! exception classes AMX-E1 to E6) was written down from memory and compared with what Bochs does.

mod decode;
mod handler;
mod tests;
mod tiles;

pub(in crate::backend::cpu) use handler::{products_on_this_thread, stands_in, tiles_are_configured_on_this_thread};
