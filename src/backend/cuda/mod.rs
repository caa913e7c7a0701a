//! NVIDIA GPUs, through the CUDA driver, which is loaded when the first device is asked for.

mod driver;
mod errors;
mod graph;
mod listing;
mod module;
mod node;
mod staging;
mod tensor_map;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use cudarc::driver::{CudaContext, DriverError};

use super::ceiling;
use super::gpu::Gpu;
use super::gpu_info::OLDEST;
use crate::error::{Error, Result};
use driver::Cuda;
use errors::text;
pub(super) use listing::list;

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
    let driver = version().map_err(failed("cannot ask the driver for its version"))?;
    let gpu = Gpu::new(Cuda::new(context, name.clone()).map_err(|error| unavailable(error.to_string()))?);
    ceiling::probe(&gpu).map_err(|error| unavailable(unusable(&name, capability, driver, &error)))?;
    open.insert(ordinal, gpu.clone());
    Ok(gpu)
}

/// What to do about a GPU on which this build's kernels do not run.
fn unusable(name: &str, (major, minor): (i32, i32), driver: i32, why: &Error) -> String {
    format!(
        "the kernels of this build do not run on {name} (sm_{major}{minor}) with a driver for CUDA {}.{}: {why}; update \
         the driver, or rebuild with VERIDICAL_CUDA_ARCHS={major}{minor}, or use the CPU",
        driver / 1000,
        driver % 1000 / 10
    )
}

/// The newest CUDA that the driver knows: 1000 times its major plus 10 times its minor number.
fn version() -> Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: the library is loaded, and the number outlives the call.
    unsafe { cudarc::driver::sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_do_not_run_say_what_to_do() {
        let why = Error::Driver { what: "loading kernels/a.cu".into(), why: "CUDA_ERROR_NO_BINARY_FOR_GPU".into() };
        assert_eq!(
            unusable("NVIDIA L4", (8, 9), 12040, &why),
            "the kernels of this build do not run on NVIDIA L4 (sm_89) with a driver for CUDA 12.4: loading \
             kernels/a.cu: CUDA_ERROR_NO_BINARY_FOR_GPU; update the driver, or rebuild with VERIDICAL_CUDA_ARCHS=89, \
             or use the CPU"
        );
    }
}
