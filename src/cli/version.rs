//! What the command is built from.

use std::sync::OnceLock;

use veridical::backend::cpu::Isa;
use veridical::backend::inventory::{CudaKernels, features};

static COMMIT: OnceLock<&'static str> = OnceLock::new();

/// Notes the commit that the program was built from, if it knows it.
pub fn is_of(commit: Option<&'static str>) {
    if let Some(commit) = commit {
        // The first one stays.
        let _ = COMMIT.set(commit);
    }
}

/// The commit, or `unknown`.
pub fn commit() -> &'static str {
    COMMIT.get().copied().unwrap_or("unknown")
}

/// What `--version` says: the line of `-V`, then what this build is made of.
pub fn long() -> String {
    [
        format!("veridical {}", env!("CARGO_PKG_VERSION")),
        format!("commit        {}", commit()),
        format!("features      {}", features().join(", ")),
        format!("CPU kernels   {}", Isa::current()),
        format!("CUDA kernels  {}", CudaKernels::of_this_build()),
    ]
    .join("\n")
}
