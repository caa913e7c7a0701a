//! Work that a GPU does again without being told each part of it: on a GPU, a CUDA graph.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Gpu;
use super::buffer::GpuBuffer;
use super::capture::{self, Capture};
use super::driver::{self, Command, Driver, Replay};
use super::pool::Pool;
use crate::error::Result;

/// Launches, copies and uploads that were captured and can be replayed.
///
/// It owns the memory that they were given. Whatever else they address belongs to others: once any of that is freed the
/// graph is [stale](Graph::is_stale) and must not be run.
pub(crate) struct Graph {
    // Before the pool, whose memory it addresses.
    replay: Box<dyn Replay>,
    driver: Arc<dyn Driver>,
    pool: Arc<Pool>,
    watch: Arc<Watch>,
}

impl Graph {
    /// Starts everything again, with what is now in the memory that it reads. Where that is stale it does nothing, and
    /// says so.
    pub fn run(&self) -> Result<bool> {
        if self.is_stale() {
            return Ok(false);
        }
        self.replay.run().map(|()| true)
    }

    /// Whether memory that it addresses, and that is not its own, was freed.
    pub fn is_stale(&self) -> bool {
        self.watch.stale.load(Ordering::Acquire)
    }

    /// A copy of `bytes` of its own memory from `address` on.
    pub fn copy_out(&self, gpu: &Gpu, address: u64, bytes: usize) -> Result<GpuBuffer> {
        debug_assert!(self.pool.holds(address, bytes));
        let copy = gpu.allocate(bytes)?;
        if bytes > 0 {
            self.driver.copy(copy.address, address, bytes)?;
        }
        Ok(copy)
    }
}

impl Gpu {
    /// Memory for what is captured.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        Arc::new(Pool::new(self.driver.clone(), self.usage.clone()))
    }

    /// Does `work`, noting what the calling thread asks of this device, with memory from `pool`. The thread must not be
    /// capturing already ([`capture::is_on`]).
    pub(crate) fn capture<R>(&self, pool: &Arc<Pool>, work: impl FnOnce() -> R) -> (R, Captured) {
        let watch = Arc::new(Watch::default());
        self.watches.add(&watch);
        let (result, Capture { commands, refused, .. }) = capture::capture(&self.driver, pool, work);
        (result, Captured { commands: Commands(commands), refused, watch })
    }

    /// What was captured, with memory from `pool`, as a graph. Errors if the device cannot make one of it.
    pub(crate) fn graph(&self, captured: Captured, pool: Arc<Pool>) -> Result<Graph> {
        let Captured { commands, watch, .. } = captured;
        watch.look_for(&commands.0);
        let replay = driver::prepared(&self.driver, commands.0)?;
        Ok(Graph { replay, driver: self.driver.clone(), pool, watch })
    }
}

/// What a thread asked of a device.
pub(crate) struct Captured {
    pub commands: Commands,
    /// What the device cannot do again on its own, if there was anything.
    pub refused: Option<&'static str>,
    watch: Arc<Watch>,
}

/// Everything in order, to be compared with another time.
#[derive(PartialEq, Eq)]
pub(crate) struct Commands(Vec<Command>);

/// Compares memory that is freed with what a graph addresses.
#[derive(Default)]
struct Watch {
    found: Mutex<Found>,
    stale: AtomicBool,
}

#[derive(Default)]
struct Found {
    /// The words that may be addresses, rising; none until all are known.
    words: Option<Vec<u64>>,
    /// What was freed before that: addresses and sizes.
    freed: Vec<(u64, usize)>,
}

impl Watch {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_for(&self, commands: &[Command]) {
        let mut words = Vec::new();
        for command in commands {
            match command {
                // Any word of the struct: a size that passes for an address costs a new capture at worst.
                Command::Launch { params, .. } => {
                    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
                    words.extend(params.chunks_exact(8).map(word));
                }
                Command::Copy { to, from, .. } => words.extend([*to, *from]),
                Command::Zero { to, .. } | Command::Upload { to, .. } => words.push(*to),
            }
        }
        words.sort_unstable();
        words.dedup();
        let mut found = self.found();
        let freed = std::mem::take(&mut found.freed);
        self.compare(&words, &freed);
        found.words = Some(words);
    }

    fn freed(&self, address: u64, bytes: usize) {
        let mut found = self.found();
        match &found.words {
            Some(words) => self.compare(words, &[(address, bytes)]),
            None => found.freed.push((address, bytes)),
        }
    }

    fn compare(&self, words: &[u64], freed: &[(u64, usize)]) {
        let within = |&(address, bytes): &(u64, usize)| {
            let first = words.partition_point(|&word| word < address);
            words.get(first).is_some_and(|&word| word - address < bytes as u64)
        };
        if freed.iter().any(within) {
            self.stale.store(true, Ordering::Release);
        }
    }
}

/// The graphs that must learn of memory that is freed.
#[derive(Default)]
pub(super) struct Watches {
    any: AtomicBool,
    all: Mutex<Vec<Weak<Watch>>>,
}

impl Watches {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<Watch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, watch: &Arc<Watch>) {
        self.all().push(Arc::downgrade(watch));
        self.any.store(true, Ordering::Release);
    }

    /// Is called before the memory goes back to the driver.
    pub fn freed(&self, address: u64, bytes: usize) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut all = self.all();
        all.retain(|watch| watch.upgrade().inspect(|watch| watch.freed(address, bytes)).is_some());
        if all.is_empty() {
            self.any.store(false, Ordering::Release);
        }
    }
}
