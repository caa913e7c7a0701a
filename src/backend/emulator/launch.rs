//! A launch: its checks, and the distribution of its blocks over the CPU's threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::backend::gpu::{Field, Launch};

use super::abi::{CppLayout, HostKernel, Range};
use super::block::Block;
use super::memory::{Memory, Turn};
use super::order::Order;

/// Blocks at work at the same time. Each has up to 1024 coroutine stacks, and the kernel limits the number of mappings.
const MAX_WORKERS: usize = 16;

/// What all blocks of a launch share.
pub(super) struct Grid<'a> {
    pub(super) kernel: &'static HostKernel,
    pub(super) launch: &'a Launch,
    pub(super) params: &'a [u8],
    pub(super) layout: &'static [Field],
    pub(super) memory: &'a Memory,
    pub(super) turn: Turn,
    pub(super) order: Order,
    /// Whether uses of shared memory are watched.
    pub(super) races: bool,
    /// Whether the device is a Hopper.
    pub(super) hopper: bool,
}

/// Compares the parameter struct as Rust and as C++ see it.
pub(super) fn check_layout(rust: &[Field], bytes: usize, cpp: &CppLayout) -> Result<(), String> {
    let CppLayout { name, fields, size } = cpp;
    for (i, ours) in rust.iter().enumerate() {
        let Some(theirs) = fields.get(i) else {
            return Err(format!("{name}: Rust has a field `{}` that C++ lacks", ours.name));
        };
        if ours.name != theirs.name {
            return Err(format!("{name}: field {i} is `{}` in Rust and `{}` in C++", ours.name, theirs.name));
        }
        if (ours.offset, ours.size) != (theirs.offset, theirs.size) {
            return Err(format!(
                "{name}: field `{}` has offset {} and {} bytes in Rust, offset {} and {} bytes in C++",
                ours.name, ours.offset, ours.size, theirs.offset, theirs.size
            ));
        }
    }
    if let Some(theirs) = fields.get(rust.len()) {
        return Err(format!("{name}: C++ has a field `{}` that Rust lacks", theirs.name));
    }
    if bytes != *size {
        return Err(format!("{name} has {bytes} bytes in Rust and {size} in C++"));
    }
    Ok(())
}

impl Grid<'_> {
    /// The 8-byte fields, which may be buffers: name and value.
    fn words(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let word = |f: &Field| self.params.get(f.offset..f.offset + 8)?.try_into().ok().map(u64::from_ne_bytes);
        self.layout.iter().filter(|f| f.size == 8).filter_map(move |f| Some((f.name, word(f)?)))
    }

    /// An allocation in words, with the parameter that it was given as.
    pub(super) fn describe(&self, range: Range) -> String {
        let Range { begin, end } = range;
        let bytes = end - begin;
        match self.words().find(|&(_, address)| begin <= address && address <= end) {
            Some((name, _)) => format!("the buffer of `{name}` ({bytes} bytes at {begin:#x})"),
            None => format!("the allocation of {bytes} bytes at {begin:#x}"),
        }
    }

    /// Runs every block, on up to `workers` OS threads, and looks at the guard zones of the buffers that were given.
    pub(super) fn run(&self, workers: usize) -> Result<(), String> {
        // A cluster's blocks run together.
        let cluster = u64::from(self.kernel.cluster);
        let blocks = self.launch.grid.iter().map(|&n| u64::from(n)).product::<u64>() / cluster;
        let workers = (workers.min(MAX_WORKERS) as u64).min(blocks).max(1);
        let share = (blocks / (8 * workers)).clamp(1, 256);
        let turn = AtomicU64::new(0);
        let failed = AtomicBool::new(false);
        // The first failure in the order of turns: all blocks before it have been started, so it does not depend on
        // timing.
        let failure: Mutex<Option<(u64, String)>> = Mutex::new(None);
        let work = || {
            with_block(|block| {
                while !failed.load(Ordering::Relaxed) {
                    let first = turn.fetch_add(share, Ordering::Relaxed);
                    for turn in first..(first + share).min(blocks) {
                        if let Err(why) = block.run(self, self.order.block(turn, blocks)) {
                            failed.store(true, Ordering::Relaxed);
                            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                            if failure.as_ref().is_none_or(|(earlier, _)| turn < *earlier) {
                                *failure = Some((turn, why));
                            }
                            return;
                        }
                    }
                    if first >= blocks {
                        return;
                    }
                }
            });
        };
        if workers == 1 {
            work();
        } else {
            rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| work())));
        }
        if let Some((_, why)) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(why);
        }
        for (name, address) in self.words() {
            if self.memory.find(address, self.turn).is_some() {
                self.memory.check(address, 0, self.turn).map_err(|why| format!("{why} (buffer of `{name}`)"))?;
            }
        }
        Ok(())
    }
}

/// Lends this OS thread's scheduler, whose coroutines are kept from launch to launch.
fn with_block(run: impl FnOnce(&mut Block)) {
    thread_local! {
        static BLOCK: Cell<Option<Box<Block>>> = const { Cell::new(None) };
    }
    let mut block = BLOCK.take().unwrap_or_else(Block::new);
    run(&mut block);
    BLOCK.set(Some(block));
}
