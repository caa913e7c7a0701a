//! What GPUs there are, whether or not this build has kernels for them.

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, DriverError, result};

use super::errors::text;
use crate::backend::gpu_info::{GpuDriver, GpuInfo};

/// The driver and its GPUs, or why there are none.
pub(in crate::backend) fn list() -> Result<GpuDriver, String> {
    // SAFETY: loads the driver library, whose initialisers are trusted.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err("no CUDA driver library is installed on this machine".into());
    }
    let failed = |what: &'static str| move |error: DriverError| format!("{what}: {}", text(error));
    result::init().map_err(failed("the CUDA driver does not start"))?;
    let version = super::version().map_err(failed("cannot ask the driver for its version"))?;
    let count = CudaContext::device_count().map_err(failed("cannot count the GPUs"))?;
    let gpus = (0..count.max(0) as usize).map(|ordinal| gpu(ordinal).map_err(failed("cannot ask a GPU what it is")));
    Ok(GpuDriver { cuda: (version / 1000, version % 1000 / 10), gpus: gpus.collect::<Result<_, _>>()? })
}

fn gpu(ordinal: usize) -> Result<GpuInfo, DriverError> {
    let device = result::device::get(ordinal as i32)?;
    // SAFETY: the device is one that the driver has just named.
    let ask = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    Ok(GpuInfo {
        ordinal,
        name: result::device::get_name(device)?,
        capability: (
            ask(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            ask(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        // SAFETY: as above.
        memory: unsafe { result::device::total_mem(device) }? as u64,
        // A GPU that has no room for a context has no memory to tell of.
        free: CudaContext::new(ordinal).and_then(|context| context.mem_get_info()).ok().map(|(free, _)| free as u64),
    })
}
