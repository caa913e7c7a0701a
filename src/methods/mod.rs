//! One file or folder per paper; each reads like its algorithm and is made of the rooms below.

pub mod self_consuming;
