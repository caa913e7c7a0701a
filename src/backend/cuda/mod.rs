//! NVIDIA GPUs, through the CUDA driver, which is loaded when the first device is asked for.

mod driver;
mod module;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use cudarc::driver::{CudaContext, DriverError};

use super::gpu::Gpu;
use crate::error::{Error, Result};
use driver::Cuda;

/// The oldest GPU that the kernels run on: `mma.sync` in bf16 and `cp.async` came with it.
const OLDEST: (i32, i32) = (8, 0);

static OPEN: LazyLock<Mutex<HashMap<usize, Gpu>>> = LazyLock::new(Mutex::default);

/// The GPU number `ordinal`; every call with the same number gives the same device.
pub(crate) fn open(ordinal: usize) -> Result<Gpu> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(gpu) = open.get(&ordinal) {
        return Ok(gpu.clone());
    }
    let unavailable = |why: String| Error::Unavailable { device: format!("cuda:{ordinal}"), why };
    if !cfg!(has_cuda_kernels) {
        return Err(unavailable(
            "this build has no CUDA kernels: nvcc was not found when it was made, or VERIDICAL_CUDA=off was set; install \
             the CUDA toolkit (or set NVCC) and rebuild with VERIDICAL_CUDA=required, or use the CPU"
                .into(),
        ));
    }
    // SAFETY: loads the driver library, whose initialisers are trusted.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err(unavailable("no CUDA driver library is installed on this machine; use the CPU".into()));
    }
    let failed = |what: &'static str| {
        move |error: DriverError| unavailable(format!("{what}: {}; mend the driver, or use the CPU", text(error)))
    };
    cudarc::driver::result::init().map_err(failed("the CUDA driver does not start"))?;
    let count = CudaContext::device_count().map_err(failed("cannot count the GPUs"))?;
    if ordinal >= count.max(0) as usize {
        return Err(unavailable(format!(
            "the driver sees {count} GPU(s), numbered from 0; use the CPU or another number"
        )));
    }
    let context = CudaContext::new(ordinal).map_err(failed("cannot open the GPU"))?;
    let capability = context.compute_capability().map_err(failed("cannot ask the GPU what it is"))?;
    let name = context.name().map_err(failed("cannot ask the GPU for its name"))?;
    if capability < OLDEST {
        return Err(unavailable(format!(
            "{name} has compute capability {}.{}, and the kernels need {}.{} (Ampere) or newer; use the CPU",
            capability.0, capability.1, OLDEST.0, OLDEST.1
        )));
    }
    let gpu = Gpu::new(Cuda::new(context, name).map_err(|error| unavailable(error.to_string()))?);
    open.insert(ordinal, gpu.clone());
    Ok(gpu)
}

/// The driver's own words.
fn text(error: DriverError) -> String {
    let name = error.error_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|_| "?".into());
    let words = error.error_string().map(|words| words.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{name} ({words})")
}
