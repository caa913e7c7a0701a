//! What the binaries of `fuzz_targets` call: the readers' functions of `tests/fuzz`, and its inputs.

#[path = "../../tests/fuzz/seeds.rs"]
pub mod seeds;
#[path = "../../tests/fuzz/targets.rs"]
pub mod targets;
