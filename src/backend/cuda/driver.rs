//! Memory, copies and launches on one stream.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::errors::{failed, text};
use super::graph::{Constants, Executable};
use super::module::Modules;
use super::staging::Staging;
use super::tensor_map;
use crate::backend::arguments::Aligned;
use crate::backend::gpu::{Command, Driver, Field, Hopper, Launch, Replay};
use crate::backend::tensor_map::{Boxes, TensorMap};
use crate::error::{Error, Result};

/// One GPU: a context and the one stream that everything is ordered on.
pub(super) struct Cuda {
    /// Before the context, which it is freed in. `None` where the system locks no more pages for us.
    staging: Option<Mutex<Staging>>,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: Modules,
    name: String,
    hopper: Option<Hopper>,
    /// `VERIDICAL_SYNC=1`: wait after every launch, so that an asynchronous error is reported by the launch that caused
    /// it.
    synchronous: bool,
}

impl Cuda {
    pub fn new(context: Arc<CudaContext>, name: String) -> Result<Self> {
        // SAFETY: there is one stream only, so nothing relies on cudarc's events for ordering.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(failed(|| "creating a stream".into()))?;
        if context.has_async_alloc() {
            keep_freed_memory(&context).map_err(failed(|| "configuring the memory pool".into()))?;
        }
        let synchronous = std::env::var_os("VERIDICAL_SYNC").is_some_and(|value| value == "1");
        context.bind_to_thread().map_err(failed(|| "taking the GPU's context".into()))?;
        let staging = Staging::new().ok().map(Mutex::new);
        let hopper = tensor_map::hopper(&context).map_err(failed(|| "asking the GPU what it is".into()))?;
        Ok(Cuda { modules: Modules::new(context.clone()), context, stream, staging, name, hopper, synchronous })
    }

    /// Starts a kernel on `stream`, of the context that is the calling thread's.
    pub(super) fn start(&self, launch: &Launch, params: &[u8], stream: &CudaStream) -> Result<()> {
        let function = self.modules.function(launch)?;
        if params.len() > 4096 {
            return Err(Error::Driver {
                what: launch.to_string(),
                why: format!("a parameter struct of {} bytes; the limit is 4096", params.len()),
            });
        }
        // The driver reads the struct through a pointer; a copy keeps it aligned like the C++ struct may be.
        let mut aligned = Aligned::of(params.len());
        let room = aligned.bytes(params.len());
        room.copy_from_slice(params);
        let mut arguments = [room.as_mut_ptr().cast::<c_void>()];
        // SAFETY: the function takes one struct by value, whose layout the emulator's tests compare field by field; the
        // addresses in it are the caller's promise.
        unsafe {
            result::launch_kernel(
                function,
                launch.grid.into(),
                (launch.threads, 1, 1),
                launch.shared,
                stream.cu_stream(),
                &mut arguments,
            )
        }
        .map_err(failed(|| launch.to_string()))
    }

    fn executable(&self, commands: &[Command], to_be_changed: bool) -> Result<Executable> {
        let uploads = commands.iter().filter_map(|command| match command {
            Command::Upload { from, .. } => Some(&**from),
            _ => None,
        });
        let constants = Constants::of(uploads, &self.stream)?;
        let mut uploaded = constants.address();
        Executable::of(&self.stream, commands, constants, to_be_changed, |command, stream| {
            match command {
                Command::Launch { launch, params, .. } => return self.start(launch, params, stream),
                // SAFETY: whoever prepares commands promises that what they address is there.
                Command::Copy { to, from, bytes } => unsafe {
                    result::memcpy_dtod_async(*to, *from, *bytes, stream.cu_stream())
                },
                // SAFETY: as above.
                Command::Zero { to, bytes } => unsafe { result::memset_d8_async(*to, 0, *bytes, stream.cu_stream()) },
                Command::Upload { to, from } => {
                    let part = uploaded;
                    uploaded += from.len() as u64;
                    // SAFETY: as above; the part lies within the constants.
                    unsafe { result::memcpy_dtod_async(*to, part, from.len(), stream.cu_stream()) }
                }
            }
            .map_err(failed(|| format!("making a graph on {}", self.name)))
        })
    }

    /// Driver calls act on the calling thread's current context.
    fn bind(&self) -> Result<()> {
        self.context.bind_to_thread().map_err(failed(|| "looking at what earlier calls left".into()))
    }
}

/// Memory freed into the pool stays there; by default every synchronisation would hand it back to the driver.
fn keep_freed_memory(context: &CudaContext) -> Result<(), DriverError> {
    let mut threshold = u64::MAX;
    // SAFETY: the device is open, and the attribute is a 64-bit number that outlives the call.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast::<c_void>())
    }
}

impl Driver for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn identity(&self) -> Option<String> {
        let uuid = self.context.uuid().ok()?;
        Some(uuid.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect())
    }

    fn hopper(&self) -> Option<Hopper> {
        self.hopper
    }

    fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap> {
        self.bind()?;
        tensor_map::encode(boxes).map_err(failed(|| format!("a tensor map of {:?}", boxes.extents)))
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.bind()?;
        // SAFETY: the stream is valid; the contents are unspecified until written.
        let address = unsafe {
            match self.context.has_async_alloc() {
                true => result::malloc_async(self.stream.cu_stream(), bytes),
                false => result::malloc_sync(bytes),
            }
        };
        address.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                Error::OutOfMemory { device: self.name.clone(), bytes, why: text(error) }
            }
            _ => failed(|| format!("allocating {bytes} bytes on {}", self.name))(error),
        })
    }

    fn free(&self, address: u64, _bytes: usize) {
        // Not by `bind_to_thread`, which gives up where an earlier error is waiting to be reported: that must not cost
        // memory. SAFETY: the context is open as long as `self`; the address came from `allocate`, and its owner is
        // being dropped.
        let freed = unsafe {
            result::ctx::set_current(self.context.cu_ctx()).and_then(|()| match self.context.has_async_alloc() {
                true => result::free_async(address, self.stream.cu_stream()),
                false => result::free_sync(address),
            })
        };
        // A destructor cannot fail; the next call on the context reports it.
        self.context.record_err(freed);
    }

    fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.bind()?;
        let what = || format!("copying {} bytes to {}", from.len(), self.name);
        if let Some(staging) = self.staging.as_ref().filter(|_| from.len() <= Staging::LARGEST) {
            // Held until the copy is started, so that who waits for the stream waits for it.
            let mut staging = staging.lock().unwrap_or_else(PoisonError::into_inner);
            let part = staging.part(from, || self.stream.synchronize()).map_err(failed(what))?;
            // SAFETY: `to` has room for `from`, whose copy stays as it is until the stream has been waited for.
            return unsafe { result::memcpy_htod_async(to, part, self.stream.cu_stream()) }.map_err(failed(what));
        }
        // SAFETY: `to` has room for `from`, and the copy is waited for before the caller may free `from`: that pageable
        // memory is staged before the call returns is nothing that CUDA promises.
        unsafe { result::memcpy_htod_async(to, from, self.stream.cu_stream()) }.map_err(failed(what))?;
        self.synchronize()
    }

    fn download(&self, from: u64, to: &mut [u8]) -> Result<()> {
        self.bind()?;
        let (bytes, name) = (to.len(), &self.name);
        let what = || format!("copying {bytes} bytes from {name}");
        // SAFETY: `from` holds at least `to.len()` bytes, and the copy is waited for before `to` is used.
        unsafe { result::memcpy_dtoh_async(to, from, self.stream.cu_stream()) }.map_err(failed(what))?;
        self.synchronize()
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: both ranges are allocations of this device.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) }
            .map_err(failed(|| format!("copying {bytes} bytes within {}", self.name)))
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the range is an allocation of this device.
        unsafe { result::memset_d8_async(to, 0, bytes, self.stream.cu_stream()) }
            .map_err(failed(|| format!("clearing {bytes} bytes on {}", self.name)))
    }

    fn launch(&self, launch: &Launch, params: &[u8], _layout: &'static [Field]) -> Result<()> {
        self.bind()?;
        self.start(launch, params, &self.stream)?;
        if self.synchronous {
            let failed = |error| Error::Driver { what: launch.to_string(), why: text(error) };
            self.stream.synchronize().map_err(failed)?;
        }
        Ok(())
    }

    fn prepare(&self, commands: &[Command], to_be_changed: bool) -> Result<Option<Box<dyn Replay>>> {
        // A graph would say of an error only that one of its kernels caused it.
        if self.synchronous {
            return Ok(None);
        }
        self.bind()?;
        match self.executable(commands, to_be_changed) {
            Ok(executable) => Ok(Some(Box::new(executable))),
            Err(error) => {
                eprintln!("veridical: {error}; its launches are started one by one");
                Ok(None)
            }
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed(|| format!("waiting for {}", self.name)))
    }

    fn stream(&self) -> Result<*mut c_void> {
        self.bind()?;
        Ok(self.stream.cu_stream().cast())
    }

    fn is_idle(&self) -> Result<bool> {
        // SAFETY: the stream is open as long as `self`.
        match unsafe { sys::cuStreamQuery(self.stream.cu_stream()) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            code => code.result().map(|()| true).map_err(failed(|| format!("waiting for {}", self.name))),
        }
    }
}
