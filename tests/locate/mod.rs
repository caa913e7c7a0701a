//! Where the files are that tests read, and the program that they start: with the sources or, for test programs that
//! were carried to another machine (`scripts/pack-gpu-tests`), in the folder that `VERIDICAL_ROOT` names.
#![allow(dead_code)] // no test needs all of it

use std::env;
use std::path::PathBuf;

/// The repository, or what stands for it.
pub fn root() -> PathBuf {
    env::var_os("VERIDICAL_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The small reference files in the repository.
pub fn golden() -> PathBuf {
    root().join("tests/golden")
}

/// Where all reference files are: `VERIDICAL_FIXTURES`, or beside the repository, or only the small ones in it.
pub fn fixtures() -> PathBuf {
    let beside = root().join("../shared/fixtures");
    match env::var_os("VERIDICAL_FIXTURES") {
        Some(folder) => folder.into(),
        None if beside.is_dir() => beside,
        None => golden(),
    }
}

/// The `veridical` command.
pub fn program() -> PathBuf {
    match (env::var_os("VERIDICAL_ROOT"), option_env!("CARGO_BIN_EXE_veridical")) {
        (None, Some(built)) => built.into(),
        _ => root().join("veridical"),
    }
}
