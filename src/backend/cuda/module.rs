//! Kernels by name, loaded when they are first launched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, result, sys};
use cudarc::nvrtc::Ptx;

use super::errors::failed;
use crate::backend::gpu::Launch;
use crate::backend::kernels;
use crate::backend::shared_memory::Allowance;
use crate::error::{Error, Result};

pub(super) struct Modules {
    context: Arc<CudaContext>,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    files: HashMap<&'static str, Arc<CudaModule>>,
    functions: HashMap<&'static str, Function>,
}

struct Function {
    function: CudaFunction,
    shared: Allowance,
}

impl Modules {
    pub fn new(context: Arc<CudaContext>) -> Self {
        Modules { context, loaded: Mutex::default() }
    }

    /// The function of a launch, with enough dynamic shared memory allowed.
    pub fn function(&self, launch: &Launch) -> Result<sys::CUfunction> {
        let failed = |what: &'static str| failed(move || format!("{what} {launch}"));
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if !loaded.functions.contains_key(launch.kernel) {
            let module = self.module(&mut loaded, launch)?;
            let function = module.load_function(launch.kernel).map_err(failed("looking up"))?;
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
            let statics = function.get_attribute(attribute).map_err(failed("asking for the shared memory of"))?;
            let shared = Allowance::unasked(statics.max(0) as u32);
            loaded.functions.insert(launch.kernel, Function { function, shared });
        }
        let Some(entry) = loaded.functions.get_mut(launch.kernel) else {
            return Err(missing(launch, "it was not loaded"));
        };
        let function = entry.function.cu_function();
        if entry.shared.must_ask(launch.shared) {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function belongs to a module that is never unloaded.
            unsafe { result::function::set_function_attribute(function, attribute, launch.shared as i32) }
                .map_err(failed("reserving shared memory for"))?;
            entry.shared.granted(launch.shared);
        }
        Ok(function)
    }

    fn module(&self, loaded: &mut Loaded, launch: &Launch) -> Result<Arc<CudaModule>> {
        let kernel =
            kernels::find(launch.kernel).ok_or_else(|| missing(launch, "no kernel of that name was compiled"))?;
        if let Some(module) = loaded.files.get(kernel.file) {
            return Ok(module.clone());
        }
        let image = kernels::fatbin(kernel.file).ok_or_else(|| missing(launch, "its file holds no machine code"))?;
        let module = self
            .context
            .load_module(Ptx::from_binary(image.to_vec()))
            .map_err(failed(|| format!("loading kernels/{}.cu", kernel.file)))?;
        loaded.files.insert(kernel.file, module.clone());
        Ok(module)
    }
}

fn missing(launch: &Launch, why: &str) -> Error {
    Error::Driver { what: launch.to_string(), why: why.into() }
}
