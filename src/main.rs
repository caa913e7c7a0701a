//! The `veridical` command.

fn main() {}
