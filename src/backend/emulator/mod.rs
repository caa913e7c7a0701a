//! A CUDA device on the CPU: the kernels of `kernels/`, compiled by the host's C++ compiler, run here through the same
//! launches as on a GPU.
//!
//! Every CUDA thread is a coroutine. A scheduler per block knows what each one waits for, so that a deadlock is
//! reported instead of hanging; every access is checked against the allocation it belongs to; asynchronous copies are
//! as early or as late as [`Order`] says; and two threads that use the same shared memory with nothing between that
//! orders them are found whatever the order is. Three things are stricter than on a GPU: a thread that has exited does
//! not count as arrived at a barrier or warp collective that waits for it; an address may only be used within the
//! allocation it was made for; and memory nobody has written holds NaN.
//!
//! What is not modelled: time, bank conflicts, the weak ordering of global memory, and the rounding inside tensor
//! cores. A kernel that spins until another block writes never ends here.

// SAFETY of everything below is one contract: `block`, `abi` and `waits` are entered from a coroutine whose `Block`
// lives on the OS thread that resumed it, is reached through raw pointers only, and is borrowed for no longer than one
// statement needs.
#![allow(clippy::undocumented_unsafe_blocks)]

pub(crate) mod abi;
mod block;
mod boxes;
mod cluster;
mod copies;
mod descriptor;
mod fiber;
mod granules;
mod kernels;
mod launch;
mod mbarriers;
mod memory;
mod order;
mod races;
mod shared;
mod waits;
mod warpgroup;

use std::sync::Mutex;

pub use order::Order;

use crate::backend::arguments::Aligned;
use crate::backend::gpu::{Asked, Driver, Field, Gpu, Hopper, Launch};
use crate::backend::shared_memory;
use crate::backend::tensor_map::{Boxes, Plain, TensorMap};
use crate::error::{Error, Result};
use memory::{AFTER_ALL, Memory};

/// How the emulator runs kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmulatorOptions {
    /// In which order threads run, and when asynchronous copies complete.
    pub order: Order,
    /// Blocks that run at the same time; 0 stands for as many as rayon has threads (16 at most). The results are the
    /// same for any number.
    pub workers: usize,
    /// Whether a launch is stopped where two threads use the same shared memory, one of them to write, and nothing
    /// orders them. The search takes a third to half of the time.
    pub races: bool,
    /// Whether the device is a Hopper: 227 KiB of shared memory for a block, wgmma, the copy engine, and the kernels
    /// that are made of them. It has three multiprocessors then, so that a block has several tiles to do.
    pub hopper: bool,
    /// What a Hopper is asked for besides.
    pub asked: Asked,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        EmulatorOptions { order: Order::default(), workers: 0, races: true, hopper: false, asked: Asked::default() }
    }
}

impl EmulatorOptions {
    /// The same options with another order.
    pub fn order(self, order: Order) -> Self {
        EmulatorOptions { order, ..self }
    }

    /// The same options with or without the search for races.
    pub fn races(self, races: bool) -> Self {
        EmulatorOptions { races, ..self }
    }

    /// The same options for a Hopper, or for an older GPU.
    pub fn hopper(self, hopper: bool) -> Self {
        EmulatorOptions { hopper, ..self }
    }

    /// The same options with gradients of weights by a Hopper's own kernels, or by those for all GPUs.
    pub fn hopper_weights(self, weight_gradients: bool) -> Self {
        EmulatorOptions { asked: Asked { weight_gradients, ..self.asked }, ..self }
    }

    /// The same options with a Hopper's tiles given to clusters of two blocks, or to single ones.
    pub fn hopper_clusters(self, clusters: bool) -> Self {
        EmulatorOptions { asked: Asked { clusters, ..self.asked }, ..self }
    }

    /// The same options with another number of workers.
    pub fn workers(self, workers: usize) -> Self {
        EmulatorOptions { workers, ..self }
    }
}

impl Gpu {
    /// A device whose kernels run on the CPU. Devices share nothing.
    ///
    /// Errors if the host cannot provide it; at present it always can.
    pub fn emulator(options: EmulatorOptions) -> Result<Gpu> {
        Emulator::new(options).map(Gpu::new)
    }
}

/// The driver behind [`Gpu::emulator`].
pub(crate) struct Emulator {
    options: EmulatorOptions,
    memory: Memory,
    /// Damage found where no error could be returned; the next call that can reports it.
    damage: Mutex<Option<String>>,
}

impl Emulator {
    pub(crate) fn new(options: EmulatorOptions) -> Result<Self> {
        abi::start();
        Ok(Emulator { options, memory: Memory::default(), damage: Mutex::new(None) })
    }

    fn workers(&self) -> usize {
        if self.options.workers == 0 { rayon::current_num_threads() } else { self.options.workers }
    }

    /// Keeps damage that was found where no error can be returned.
    fn note(&self, found: Result<(), String>) {
        if let Err(why) = found {
            let mut damage = self.damage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            damage.get_or_insert(why);
        }
    }

    fn pending_damage(&self) -> Result<(), String> {
        let mut damage = self.damage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        damage.take().map_or(Ok(()), Err)
    }
}

fn driver(what: &str) -> impl Fn(String) -> Error + '_ {
    move |why| Error::Driver { what: format!("emulator: {what}"), why }
}

impl Driver for Emulator {
    fn name(&self) -> String {
        format!("emulator ({})", self.options.order)
    }

    fn hopper(&self) -> Option<Hopper> {
        let EmulatorOptions { hopper, asked, .. } = self.options;
        hopper.then_some(Hopper { multiprocessors: 3, asked })
    }

    fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap> {
        Ok(Plain::map(boxes))
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.memory.allocate(bytes).map_err(|why| Error::OutOfMemory { device: self.name(), bytes, why })
    }

    fn free(&self, address: u64, _bytes: usize) {
        self.note(self.memory.free(address));
    }

    fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.memory.check(to, from.len(), AFTER_ALL).map_err(driver("upload"))?;
        // SAFETY: the range was checked; the source is a slice of this process.
        unsafe { (to as *mut u8).copy_from(from.as_ptr(), from.len()) };
        Ok(())
    }

    fn download(&self, from: u64, to: &mut [u8]) -> Result<()> {
        self.pending_damage().map_err(driver("download"))?;
        self.memory.check(from, to.len(), AFTER_ALL).map_err(driver("download"))?;
        // SAFETY: the range was checked.
        unsafe { to.as_mut_ptr().copy_from(from as *const u8, to.len()) };
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.memory.check(to, bytes, AFTER_ALL).map_err(driver("copy, destination"))?;
        self.memory.check(from, bytes, AFTER_ALL).map_err(driver("copy, source"))?;
        // SAFETY: both ranges were checked; `copy` allows them to overlap.
        unsafe { (to as *mut u8).copy_from(from as *const u8, bytes) };
        Ok(())
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<()> {
        self.memory.check(to, bytes, AFTER_ALL).map_err(driver("zero"))?;
        // SAFETY: the range was checked.
        unsafe { (to as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    fn launch(&self, launch: &Launch, params: &[u8], layout: &'static [Field]) -> Result<()> {
        let error = |why: String| Error::Driver { what: launch.to_string(), why };
        let kernel = kernels::find(launch.kernel).ok_or_else(|| error("there is no kernel of this name".into()))?;
        let EmulatorOptions { order, races, hopper, .. } = self.options;
        launch.check(kernel.max_threads, kernel.cluster, shared_memory::most(hopper)).map_err(error)?;
        cluster::check(kernel.cluster, launch.threads, hopper).map_err(error)?;
        launch::check_layout(layout, params.len(), &kernel.layout()).map_err(error)?;
        // The kernel reads the struct where it lies: it must be aligned as C++ expects.
        let mut aligned = Aligned::of(params.len());
        let aligned = aligned.bytes(params.len());
        aligned.copy_from_slice(params);
        let turn = self.memory.begin();
        let grid =
            launch::Grid { kernel, launch, params: aligned, layout, memory: &self.memory, turn, order, races, hopper };
        let ran = grid.run(self.workers()).map_err(error);
        self.note(self.memory.ended(turn));
        ran
    }

    fn synchronize(&self) -> Result<()> {
        self.pending_damage().and_then(|()| self.memory.check_all()).map_err(driver("synchronize"))
    }
}
