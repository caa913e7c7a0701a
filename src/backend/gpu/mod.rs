//! One handle for everything that runs the CUDA kernels: a real GPU through the CUDA driver, or the emulator.
//!
//! The launches in `ops/*/gpu.rs` are written once against [`Gpu`]; which driver stands behind it they do not know.

mod buffer;
pub(crate) mod capture;
pub(crate) mod deferred;
mod driver;
pub(crate) mod graph;
mod launch;
pub(crate) mod pool;
mod starter;
mod watches;

use std::fmt;
use std::sync::Arc;

pub use super::arguments::Ptr;
pub use super::hopper::{Asked, Hopper};
pub use buffer::GpuBuffer;
pub(crate) use driver::{Command, Driver, Replay, prepared};
pub use launch::{Field, KernelParams, Launch};

use super::tensor_map::{Boxes, TensorMap};
use super::usage::Usage;
use crate::error::{Error, Result};
use deferred::Deferral;
use pool::Pool;
use watches::Watches;

/// A device that runs the CUDA kernels. Cheap to clone.
#[derive(Clone)]
pub struct Gpu {
    driver: Arc<dyn Driver>,
    usage: Arc<Usage>,
    watches: Arc<Watches>,
    deferral: Arc<Deferral>,
}

impl Gpu {
    pub(crate) fn new(driver: impl Driver + 'static) -> Self {
        let (driver, usage, watches): (Arc<dyn Driver>, Arc<Usage>, Arc<Watches>) =
            (Arc::new(driver), Arc::default(), Arc::default());
        let pool = Pool::new(driver.clone(), usage.clone(), watches.clone()).sharing();
        let deferral = Arc::new(Deferral::new(driver.clone(), watches.clone(), pool));
        Gpu { driver, usage, watches, deferral }
    }

    /// The device's name, such as `NVIDIA H200` or `emulator (early)`.
    pub fn name(&self) -> String {
        self.driver.name()
    }

    /// What tells the GPU from all others, of any machine, whatever number it has; `None` of what is no hardware.
    pub fn identity(&self) -> Option<String> {
        self.driver.identity()
    }

    /// Allocates `bytes`; the contents are unspecified. Errors with [`Error::OutOfMemory`]
    /// if they cannot be had.
    pub fn allocate(&self, bytes: usize) -> Result<GpuBuffer> {
        let pool = capture::with(&self.driver, |capture| capture.pool.clone()).filter(|_| bytes > 0);
        let address = match &pool {
            _ if bytes == 0 => 0,
            Some(pool) => self.take_or_make_room(|| pool.take(bytes))?,
            None => self.take_or_make_room(|| self.driver.allocate(bytes))?,
        };
        if pool.is_none() {
            self.usage.add(bytes);
        }
        Ok(GpuBuffer { gpu: self.clone(), address, bytes, pool })
    }

    fn take_or_make_room(&self, take: impl Fn() -> Result<u64>) -> Result<u64> {
        match take() {
            Err(Error::OutOfMemory { .. }) if self.deferral.make_room()? => take(),
            taken => taken,
        }
    }

    /// Gives back to the driver what is kept for work that is done over and over.
    pub(crate) fn release_memory(&self) -> Result<()> {
        self.deferral.make_room().map(drop)
    }

    /// Allocates a copy of `bytes`.
    pub fn upload(&self, bytes: &[u8]) -> Result<GpuBuffer> {
        let buffer = self.allocate(bytes.len())?;
        if !bytes.is_empty() {
            self.ask_to_upload(buffer.address, bytes)?;
        }
        Ok(buffer)
    }

    /// Whether kernels for Hopper run here.
    pub fn hopper(&self) -> Option<Hopper> {
        self.driver.hopper()
    }

    /// What kernels for Hopper are told of a tensor. Errors beyond what its copy engine can do, and where there is
    /// none. The map keeps nothing alive: to launch a kernel with it is to give it the address ([`Gpu::launch`]).
    pub fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap> {
        let refused = |why| Error::Driver { what: format!("a tensor map of {:?}", boxes.extents), why };
        if self.hopper().is_none() {
            return Err(refused(format!("{} copies no boxes of tensors: that is Hopper's", self.name())));
        }
        boxes.check().map_err(refused)?;
        capture::with(&self.driver, |capture| capture.mapped.push(boxes.address.number()));
        self.driver.tensor_map(boxes)
    }

    /// Starts a kernel. On a GPU it runs after what was started before, and this does not wait for it.
    ///
    /// Errors if there is no such kernel, if its launch is beyond the device's limits and, on the emulator, if the
    /// struct differs from the kernel's or if the kernel leaves the buffers that it was given: here, or where what a
    /// trainer's step asked for is started together.
    ///
    /// # Safety
    /// * Each [`Ptr`] in `params` is null where the kernel allows that, or the address of a [`GpuBuffer`] of this
    ///   device.
    /// * Each of these buffers is alive when this is called, and as long as the extents in `params` and the launch's
    ///   grid make the kernel read or write (the head of its file in `kernels/` says what that is). They may be freed
    ///   afterwards, which waits for the kernel.
    /// * Nobody else uses meanwhile what the kernel writes, nor writes what it reads.
    /// * `P` is the kernel's own parameter struct, field by field.
    pub unsafe fn launch<P: KernelParams>(&self, launch: &Launch, params: &P) -> Result<()> {
        let (params, layout) = (bytemuck::bytes_of(params), P::FIELDS);
        let command = || Command::Launch { launch: *launch, params: params.into(), layout };
        self.ask(command, |driver| driver.launch(launch, params, layout))
    }

    /// Waits until everything started so far is done, and reports what failed meanwhile.
    pub fn synchronize(&self) -> Result<()> {
        self.before_the_host_needs_it("it waits for the device")?;
        self.driver.synchronize()
    }

    /// Makes the device's context the calling thread's and gives its stream; null where there is none.
    #[allow(dead_code)] // only NCCL asks
    pub(crate) fn stream(&self) -> Result<*mut std::ffi::c_void> {
        self.before_the_host_needs_it("a library works on its stream")?;
        self.driver.stream()
    }

    /// Whether everything started so far is done. Reports what failed meanwhile.
    #[allow(dead_code)] // only NCCL asks
    pub(crate) fn is_idle(&self) -> Result<bool> {
        self.driver.is_idle()
    }

    pub(crate) fn driver(&self) -> Arc<dyn Driver> {
        self.driver.clone()
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Whether both are the same device.
    pub fn same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.driver, &other.driver)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// What must not compile: kernels started, addresses made up and types of elements added, all without `unsafe`.
///
/// ```compile_fail,E0133
/// use veridical::backend::gpu::{Gpu, KernelParams, Launch};
/// fn start<P: KernelParams>(gpu: &Gpu, launch: &Launch, params: &P) -> veridical::Result<()> {
///     gpu.launch(launch, params)
/// }
/// ```
/// ```compile_fail,E0423
/// let anywhere = veridical::backend::gpu::Ptr(0x1000);
/// ```
/// ```compile_fail,E0277
/// #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(transparent)]
/// struct Byte(u8);
/// // A quarter of the memory that kernels expect of an f32.
/// impl veridical::tensor::Element for Byte {
///     const DTYPE: veridical::DType = veridical::DType::F32;
/// }
/// ```
#[cfg(doctest)]
struct Refused;
