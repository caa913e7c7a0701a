//! One handle for everything that runs the CUDA kernels: a real GPU through the CUDA driver, or the emulator.
//!
//! The launches in `ops/*/gpu.rs` are written once against [`Gpu`]; which driver stands behind it they do not know.

use std::fmt;
use std::sync::Arc;

pub use super::arguments::Ptr;
pub use super::hopper::Hopper;
use super::tensor_map::{Boxes, TensorMap};
use super::usage::Usage;
use crate::error::{Error, Result};

/// Name, byte offset and size of one field of a kernel's parameter struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The field's name, as in the C++ struct.
    pub name: &'static str,
    /// Byte offset within the struct.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
}

/// The parameter struct of a kernel: plain bytes with the layout of the C++ struct of the same name. Those of the
/// crate's kernels are made of the C++ structs when it is built; [`params!`](crate::params) makes others.
pub trait KernelParams: bytemuck::Pod {
    /// The C++ struct's name.
    const NAME: &'static str;
    /// Its fields, in order.
    const FIELDS: &'static [Field];
}

/// Declares the parameter struct of a kernel that is not one of the crate's own: `#[repr(C)]`, no implicit padding,
/// with a table of its fields that the emulator compares with the C++ side at every launch.
#[macro_export]
macro_rules! params {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, ::bytemuck::Pod, ::bytemuck::Zeroable)]
        #[repr(C)]
        $vis struct $name { $(pub $field: $ty),* }

        impl $crate::backend::gpu::KernelParams for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [$crate::backend::gpu::Field] = &[$($crate::backend::gpu::Field {
                name: stringify!($field),
                offset: ::std::mem::offset_of!($name, $field),
                size: ::std::mem::size_of::<$ty>(),
            }),*];
        }
    };
}

/// Which kernel to start, and how many threads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's symbol, such as `silu_fwd_f32`.
    pub kernel: &'static str,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads per block, all along x: that spares every kernel two more indices.
    pub threads: u32,
    /// Dynamic shared memory in bytes.
    pub shared: u32,
}

impl Launch {
    /// Threads per block of [`Launch::over`].
    pub const THREADS: u32 = 256;

    /// A one-dimensional launch for grid-stride loops over `items` work items; the grid is capped at a size that fills
    /// any GPU.
    pub fn over(kernel: &'static str, items: usize) -> Self {
        let blocks = items.div_ceil(Self::THREADS as usize).clamp(1, 8192) as u32;
        Launch { kernel, grid: [blocks, 1, 1], threads: Self::THREADS, shared: 0 }
    }

    /// A launch for kernels in which a warp shares a row of `columns` elements, or a whole block does
    /// ([`block_per_row`](Self::block_per_row)); they stride over the rows by the number of such teams.
    pub fn over_rows(kernel: &'static str, rows: usize, columns: usize) -> Self {
        let rows_per_block = if Self::block_per_row(columns) { 1 } else { Self::THREADS as usize / 32 };
        let blocks = rows.div_ceil(rows_per_block).clamp(1, 1 << 20) as u32;
        Launch { kernel, grid: [blocks, 1, 1], threads: Self::THREADS, shared: 0 }
    }

    /// Whether a row is long enough to keep a block busy.
    pub fn block_per_row(columns: usize) -> bool {
        columns > 1024
    }

    /// A launch of `grid` blocks of `threads` threads.
    pub fn blocks(kernel: &'static str, grid: [u32; 3], threads: u32) -> Self {
        Launch { kernel, grid, threads, shared: 0 }
    }

    /// The same launch with `bytes` of dynamic shared memory.
    pub fn shared(self, bytes: usize) -> Self {
        Launch { shared: bytes as u32, ..self }
    }

    /// Errors beyond the limits that every GPU has, and `most` bytes of shared memory, for a kernel declared for blocks
    /// of at most `max_threads`.
    #[allow(dead_code)] // a GPU has them itself
    pub(crate) fn check(&self, max_threads: u32, most: usize) -> std::result::Result<(), String> {
        let &Launch { grid, threads, shared, .. } = self;
        if grid.contains(&0) || threads == 0 {
            return Err("no dimension of the grid may be zero, nor may a block have no threads".into());
        }
        if grid[0] > i32::MAX as u32 || grid[1] > 65535 || grid[2] > 65535 {
            return Err("a grid has at most 2147483647 x 65535 x 65535 blocks".into());
        }
        if threads > 1024 {
            return Err(format!("a block has at most 1024 threads; this one has {threads}"));
        }
        if threads > max_threads {
            return Err(format!("the kernel is declared for blocks of at most {max_threads} threads"));
        }
        if shared as usize > most {
            return Err(format!("a block has at most {most} bytes of shared memory"));
        }
        Ok(())
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Launch { kernel, grid, threads, shared } = self;
        write!(f, "{kernel} <<<{grid:?}, {threads}, {shared} B>>>")
    }
}

/// What a driver can do. Addresses are 256-byte aligned; everything is ordered as if on one stream.
pub(crate) trait Driver: Send + Sync {
    fn name(&self) -> String;
    /// What tells it from all other devices, of any machine; `None` where it is no hardware.
    fn identity(&self) -> Option<String> {
        None
    }
    /// `None` where kernels for Hopper do not run.
    fn hopper(&self) -> Option<Hopper> {
        None
    }
    /// A tensor map of boxes that have been checked, where there is a [`Hopper`].
    fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap>;
    fn allocate(&self, bytes: usize) -> Result<u64>;
    fn free(&self, address: u64, bytes: usize);
    fn upload(&self, to: u64, from: &[u8]) -> Result<()>;
    fn download(&self, from: u64, to: &mut [u8]) -> Result<()>;
    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()>;
    fn zero(&self, to: u64, bytes: usize) -> Result<()>;
    /// `params` are the bytes of the parameter struct, `layout` its fields as Rust sees them.
    fn launch(&self, launch: &Launch, params: &[u8], layout: &'static [Field]) -> Result<()>;
    fn synchronize(&self) -> Result<()>;
    /// Makes the device's context the calling thread's and gives its stream, for libraries that work on it; null where
    /// there is none.
    fn stream(&self) -> Result<*mut std::ffi::c_void> {
        Ok(std::ptr::null_mut())
    }
    /// Whether everything started so far is done.
    fn is_idle(&self) -> Result<bool> {
        Ok(true)
    }
}

/// A device that runs the CUDA kernels. Cheap to clone.
#[derive(Clone)]
pub struct Gpu {
    driver: Arc<dyn Driver>,
    usage: Arc<Usage>,
}

impl Gpu {
    pub(crate) fn new(driver: impl Driver + 'static) -> Self {
        Gpu { driver: Arc::new(driver), usage: Arc::default() }
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
        let address = if bytes == 0 { 0 } else { self.driver.allocate(bytes)? };
        self.usage.add(bytes);
        Ok(GpuBuffer { gpu: self.clone(), address, bytes })
    }

    /// Allocates a copy of `bytes`.
    pub fn upload(&self, bytes: &[u8]) -> Result<GpuBuffer> {
        let buffer = self.allocate(bytes.len())?;
        if !bytes.is_empty() {
            self.driver.upload(buffer.address, bytes)?;
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
        self.driver.tensor_map(boxes)
    }

    /// Starts a kernel. On a GPU it runs after what was started before, and this does not wait for it.
    ///
    /// Errors if there is no such kernel, if its launch is beyond the device's limits and, on the emulator, if the
    /// struct differs from the kernel's or if the kernel leaves the buffers that it was given.
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
        self.driver.launch(launch, bytemuck::bytes_of(params), P::FIELDS)
    }

    /// Waits until everything started so far is done, and reports what failed meanwhile.
    pub fn synchronize(&self) -> Result<()> {
        self.driver.synchronize()
    }

    /// Makes the device's context the calling thread's and gives its stream; null where there is none.
    #[allow(dead_code)] // only NCCL asks
    pub(crate) fn stream(&self) -> Result<*mut std::ffi::c_void> {
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

/// Device memory, freed on drop.
pub struct GpuBuffer {
    gpu: Gpu,
    address: u64,
    bytes: usize,
}

impl GpuBuffer {
    /// The device that owns the memory.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the buffer holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The address `offset` bytes into the buffer, for a parameter struct; one that is not in it is for the caller to
    /// avoid.
    pub fn ptr(&self, offset: usize) -> Ptr {
        Ptr(self.address).byte_add(offset)
    }

    /// Copies `to.len()` bytes from `offset` to the host. Errors if the buffer ends before them.
    pub fn download(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        let from = self.range("download", offset, to.len())?;
        if to.is_empty() {
            return Ok(());
        }
        self.gpu.driver.download(from, to)
    }

    /// Overwrites the bytes from `offset` on. Errors if the buffer ends before the last of them.
    pub fn write(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        let to = self.range("write", offset, from.len())?;
        if from.is_empty() {
            return Ok(());
        }
        self.gpu.driver.upload(to, from)
    }

    /// Copies `bytes` from `source`, where they begin at `from`. Errors if either buffer ends before the last of them,
    /// or if the buffers are on different devices.
    pub fn copy_from(&mut self, offset: usize, source: &GpuBuffer, from: usize, bytes: usize) -> Result<()> {
        const OP: &str = "copy between buffers";
        if !self.gpu.same(&source.gpu) {
            let what = format!(
                "the source is on {}, the destination on {}; go through the host",
                source.gpu.name(),
                self.gpu.name()
            );
            return Err(Error::Device { op: OP, what });
        }
        let (to, from) = (self.range(OP, offset, bytes)?, source.range(OP, from, bytes)?);
        if bytes == 0 {
            return Ok(());
        }
        self.gpu.driver.copy(to, from, bytes)
    }

    /// The address of `bytes` bytes from `offset` on, all of which are the buffer's.
    fn range(&self, op: &'static str, offset: usize, bytes: usize) -> Result<u64> {
        if offset.checked_add(bytes).is_some_and(|end| end <= self.bytes) {
            return Ok(self.address + offset as u64);
        }
        Err(Error::argument(op, format!("{bytes} bytes from byte {offset} on, in a buffer of {} bytes", self.bytes)))
    }

    /// Sets every byte to zero.
    pub fn zero(&mut self) -> Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.gpu.driver.zero(self.address, self.bytes)
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        self.gpu.usage.remove(self.bytes);
        if self.bytes > 0 {
            self.gpu.driver.free(self.address, self.bytes);
        }
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
