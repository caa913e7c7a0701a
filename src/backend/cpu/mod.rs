//! The CPU: memory, threads, and the kernels that several operations share.

#[cfg(target_arch = "x86_64")]
mod amx;
pub mod ceiling;
pub(crate) mod gemm;
mod isa;
mod memory;
mod parallel;
mod short_rows;
mod softmax;
mod team;
mod vector;

pub use gemm::{F32Products, winograd_is_allowed};
pub use isa::Isa;
pub use isa::Kernel;
pub(crate) use memory::Part;
pub(crate) use memory::USAGE;
pub use memory::{CpuBuffer, poison};
pub use parallel::{
    GRAIN, SHARE, chunks, parts, tasks_per_share, vectorized, weighted_chunks, with_vector_instructions,
};
pub use short_rows::{Columns, ROWS_AT_ONCE, ShortRows, columns, rows};
pub use softmax::{RowSum, SHORT, sum_of_pairs};
pub use team::OnTeam;

/// Returns the memory that is kept for reuse to the operating system: what kernels keep at hand, and what the pool of
/// buffers holds.
pub(crate) fn give_back() {
    gemm::give_back();
    memory::give_back();
}
