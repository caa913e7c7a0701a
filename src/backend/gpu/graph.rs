//! Work that a GPU does again without being told each part of it: on a GPU, a CUDA graph.

use std::sync::Arc;

use super::Gpu;
use super::buffer::GpuBuffer;
use super::capture::{self, Capture};
use super::driver::{self, Command, Driver, Replay};
use super::pool::Pool;
use super::watches::Watch;
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
    pub fn run(&mut self) -> Result<bool> {
        if self.is_stale() {
            return Ok(false);
        }
        self.replay.run().map(|()| true)
    }

    /// Whether memory that it addresses, and that is not its own, was freed.
    pub fn is_stale(&self) -> bool {
        self.watch.is_stale()
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
        Arc::new(Pool::new(self.driver.clone(), self.usage.clone(), self.watches.clone()))
    }

    /// Does `work`, noting what the calling thread asks of this device, with memory from `pool`. The thread must not be
    /// capturing already ([`capture::is_on`]).
    pub(crate) fn capture<R>(&self, pool: &Arc<Pool>, work: impl FnOnce() -> R) -> (R, Captured) {
        let watch = Arc::new(Watch::default());
        self.watches.add(&watch);
        let (result, Capture { commands, mapped, refused, .. }) = capture::noting(&self.driver, pool, work);
        (result, Captured { commands: Commands(commands), mapped, refused, watch })
    }

    /// What was captured, with memory from `pool`, as a graph. Errors if the device cannot make one of it.
    pub(crate) fn graph(&self, captured: Captured, pool: Arc<Pool>) -> Result<Graph> {
        let Captured { commands, mapped, watch, .. } = captured;
        watch.look_for(&commands.0, &mapped);
        let replay = driver::prepared(&self.driver, commands.0, false)?;
        Ok(Graph { replay, driver: self.driver.clone(), pool, watch })
    }
}

/// What a thread asked of a device.
pub(crate) struct Captured {
    pub commands: Commands,
    mapped: Vec<u64>,
    /// What the device cannot do again on its own, if there was anything.
    pub refused: Option<&'static str>,
    watch: Arc<Watch>,
}

/// Everything in order, to be compared with another time.
#[derive(PartialEq, Eq)]
pub(crate) struct Commands(Vec<Command>);
