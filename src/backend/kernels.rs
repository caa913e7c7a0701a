//! The table of kernels that `build.rs` found and compiled.

/// A kernel as declared in `kernels/*.cu`.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code)] // which fields are read depends on the features
pub(crate) struct Kernel {
    /// The symbol.
    pub(crate) name: &'static str,
    /// The file's name without `.cu`.
    pub(crate) file: &'static str,
    /// The name of the parameter struct.
    pub(crate) params: &'static str,
    /// Blocks that run together; 1 where there are no clusters.
    pub(crate) cluster: u32,
}

/// The driver reads a fatbin's header as 64-bit words.
#[allow(dead_code)] // without nvcc there is nothing to align
#[repr(C, align(16))]
struct Aligned<T>(T);

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The kernel called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Kernel> {
    KERNELS.binary_search_by(|k| k.name.cmp(name)).ok().map(|i| &KERNELS[i])
}

/// The machine code of `kernels/<file>.cu`; none in a build without nvcc.
#[allow(dead_code)] // as above
pub(crate) fn fatbin(file: &str) -> Option<&'static [u8]> {
    FATBINS.iter().find(|(name, _)| *name == file).map(|(_, bytes)| *bytes)
}
