//! The parts of `build.rs` that read: kernel declarations, ptxas messages, architecture lists. Their tests stand beside them.
#![allow(dead_code)] // the build script uses the rest

#[path = "../build/jobs.rs"]
mod jobs;
#[path = "../build/nvcc.rs"]
mod nvcc;
#[path = "../build/scan.rs"]
mod scan;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
