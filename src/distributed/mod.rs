//! Training over several processes, each with a device of its own: every rank computes a share of the batch, and all of
//! them make the same step.
//!
//! A batch is cut into *slots* (`train.slots`), whose gradients are added in the order of a fixed [tree]. Which rank
//! computes which slots, and who adds what, changes nothing of that order, so any number of ranks gives the same bits
//! as one process with as many slots. What carries the bytes is a [`Collective`]: it only moves them, and adds nothing
//! itself.
//!
//! [`Launch::of`] reads what `torchrun`, `srun` and `mpirun` tell a process of its place among the others, and
//! [`Launch::join`] meets them over [TCP](Tcp). Whoever starts the processes some other way says the same in
//! [`Launch`]'s fields. A process without others is [`Ranks::alone`], which costs nothing.
//!
//! The first rank writes the run's directory, and the others read it: it must be one that all of them see.

mod launch;
#[cfg(feature = "cuda")]
mod nccl;
mod patience;
mod ranks;
mod sum;
mod tcp;
pub mod tree;

pub use launch::Launch;
pub use patience::Patience;
pub use ranks::{Collective, Ranks};
pub use tcp::Tcp;

#[cfg(feature = "cuda")]
pub(crate) use nccl::on as on_device;
pub(crate) use ranks::floats;
pub(crate) use sum::{Share, SlotState, mean_buffers};
