//! The table of kernels that `build.rs` compiled for the host.

use super::abi::HostKernel;

include!(concat!(env!("OUT_DIR"), "/host_kernels.rs"));

/// The kernel called `name` as compiled for the host.
pub(super) fn find(name: &str) -> Option<&'static HostKernel> {
    let i = HOST_KERNELS.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
    Some(HOST_KERNELS[i].1())
}
