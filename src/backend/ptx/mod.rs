//! The PTX that nvcc makes of `kernels/`, run on the CPU: a device for tests.
//!
//! The emulator compiles the kernels for the host, with a model in place of every instruction that C++ has no words
//! for. Here what nvcc wrote is read and run instead, instruction by instruction, so that operands, predicates and
//! addresses of those very instructions are tested, with a second model of each, which is written from the PTX ISA and
//! knows nothing of the first.
//!
//! A warp runs in step. Blocks run one after the other, and so do warps from barrier to barrier: what depends on the
//! order of threads is for the emulator to find. What is checked: every access lies in one live allocation, or in the
//! block's shared memory, and is aligned; memory nobody has written holds NaN, as does what `cp.async` has not been
//! waited for; lanes that do something together are all there; barriers are reached by all; an instruction that is not
//! known is an error before the kernel starts. What ptxas makes of the PTX in turn is not tested.

mod boxes;
mod collective;
mod convert;
mod copies;
mod decode;
mod decode_hopper;
mod decode_memory;
mod decode_warp;
mod draft;
mod engines;
mod float;
mod grid;
mod integer;
mod lanes;
mod layout;
mod machine;
mod matrix;
mod memory;
mod module;
mod products;
mod program;
mod step;
mod text;
mod transfer;
mod warp;
mod warpgroup;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::gpu::{Asked, Driver, Field, Hopper, Launch};
use crate::backend::tensor_map::{Boxes, Plain, TensorMap};
use crate::backend::{kernels, shared_memory};
use crate::error::{Error, Result};
use machine::Machine;
use memory::Memory;
use module::Module;
use program::Program;

/// The PTX of several `.cu` files.
#[derive(Debug, Clone, Default)]
pub struct PtxModules {
    /// By the file's name without `.cu`.
    texts: Vec<(String, String)>,
    hopper: bool,
    asked: Asked,
}

impl PtxModules {
    /// The modules that this build has of `kernels/`, or those in the folder that `VERIDICAL_PTX` names, as another
    /// compiler made them. Errors if the build has none, for it was made without nvcc, and where the folder has none.
    pub fn of_this_build() -> Result<Self> {
        let unavailable = |why: String| Error::Unavailable { device: "ptx".into(), why };
        if let Some(folder) = std::env::var_os("VERIDICAL_PTX").filter(|folder| !folder.is_empty()) {
            let named = |why| unavailable(format!("VERIDICAL_PTX={}: {why}", folder.display()));
            return match Self::in_folder(folder.as_ref()) {
                Ok(modules) if modules.texts.is_empty() => Err(named("no file there ends in .ptx".into())),
                read => read.map_err(|error| named(error.to_string())),
            };
        }
        if kernels::PTX.is_empty() {
            let why = "this build has no PTX; install the CUDA toolkit, or set NVCC to its nvcc, and build with VERIDICAL_CUDA=required";
            return Err(unavailable(why.into()));
        }
        let texts = kernels::PTX.iter().map(|&(file, text)| (file.into(), text.into())).collect();
        Ok(PtxModules { texts, ..PtxModules::default() })
    }

    /// The same for tests, which leave it out where the build has none, unless they must not.
    #[cfg(test)]
    pub(crate) fn if_built() -> Option<Self> {
        let set = |variable| std::env::var(variable).unwrap_or_default();
        let must = set("VERIDICAL_CUDA") == "required" || !set("VERIDICAL_PTX").is_empty();
        Self::of_this_build().map_err(|error| assert!(!must, "{error}")).ok()
    }

    /// One module for each file there whose name ends in `.ptx`.
    fn in_folder(folder: &Path) -> std::io::Result<Self> {
        let mut texts = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if let (Some("ptx"), Some(file)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) {
                texts.push((file.to_string_lossy().into_owned(), std::fs::read_to_string(&path)?));
            }
        }
        texts.sort_unstable();
        Ok(PtxModules { texts, ..PtxModules::default() })
    }

    /// One module, of a file of this name.
    pub fn of_text(file: &str, text: &str) -> Self {
        PtxModules { texts: vec![(file.into(), text.into())], ..PtxModules::default() }
    }

    /// The same modules on a Hopper, or on an older GPU. It has two multiprocessors then, so that a block has several
    /// tiles to do.
    pub fn hopper(self, hopper: bool) -> Self {
        PtxModules { hopper, ..self }
    }

    /// The same modules, and with gradients of weights by a Hopper's own kernels, or by those for all GPUs.
    pub fn hopper_weights(self, weight_gradients: bool) -> Self {
        PtxModules { asked: Asked { weight_gradients, ..self.asked }, ..self }
    }

    /// The same modules, and with a Hopper's tiles given to clusters of two blocks, or to single ones.
    pub fn hopper_clusters(self, clusters: bool) -> Self {
        PtxModules { asked: Asked { clusters, ..self.asked }, ..self }
    }

    /// The text of the module of `kernels/<file>.cu`, to be looked at or changed.
    pub fn text_mut(&mut self, file: &str) -> Option<&mut String> {
        self.texts.iter_mut().find(|(name, _)| name == file).map(|(_, text)| text)
    }

    /// Reads and resolves every kernel, and returns their names. Errors at the first instruction that is not known.
    pub fn check(&self) -> Result<Vec<String>> {
        let mut state = State::new(self)?;
        let names: Vec<String> = state.modules.iter().flat_map(|module| module.kernels().map(String::from)).collect();
        for name in &names {
            state.program(name).map_err(|why| Error::Driver { what: name.clone(), why })?;
        }
        Ok(names)
    }
}

/// The kernels that this process has started.
static STARTED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The names of all kernels of this build, as their sources declare them, and whether this process has started them on
/// any device that runs PTX: what tests have not seen is not tested.
pub fn kernels() -> Vec<(&'static str, bool)> {
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    kernels::KERNELS.iter().map(|kernel| (kernel.name, started.contains(kernel.name))).collect()
}

/// The driver behind a device that runs PTX.
pub(crate) struct Interpreter {
    state: Mutex<State>,
}

/// Everything that a launch uses, so that one after the other has it for itself.
struct State {
    memory: Memory,
    modules: Vec<Module>,
    programs: HashMap<String, Arc<Program>>,
    /// Where the arrays of a module are.
    arrays: HashMap<usize, HashMap<String, u64>>,
    hopper: Option<Hopper>,
}

impl State {
    fn new(modules: &PtxModules) -> Result<State> {
        let read = |(file, text): &(String, String)| {
            Module::read(text).map_err(|why| Error::Driver { what: format!("the PTX of {file}.cu"), why })
        };
        let hopper = Hopper { multiprocessors: 2, asked: modules.asked };
        let hopper = modules.hopper.then_some(hopper);
        let modules = modules.texts.iter().map(read).collect::<Result<_>>()?;
        Ok(State { memory: Memory::default(), modules, programs: HashMap::new(), arrays: HashMap::new(), hopper })
    }

    /// The program of a kernel, which is made when it is asked for first.
    fn program(&mut self, kernel: &str) -> std::result::Result<Arc<Program>, String> {
        if let Some(program) = self.programs.get(kernel) {
            return Ok(program.clone());
        }
        let found = self.modules.iter().enumerate().find_map(|(i, module)| Some((i, module.kernel(kernel)?)));
        let (i, function) = found.ok_or("there is no kernel of this name")?;
        if !self.arrays.contains_key(&i) {
            let mut places = HashMap::new();
            for (name, bytes) in &self.modules[i].arrays {
                let at = self.memory.allocate(bytes.len())?;
                self.memory.write(at, bytes)?;
                places.insert(name.clone(), at);
            }
            self.arrays.insert(i, places);
        }
        let program = Arc::new(decode::decode(&function?, &self.arrays[&i])?);
        self.programs.insert(kernel.into(), program.clone());
        Ok(program)
    }
}

impl Interpreter {
    pub(crate) fn new(modules: &PtxModules) -> Result<Self> {
        Ok(Interpreter { state: Mutex::new(State::new(modules)?) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn driver(what: &str) -> impl Fn(String) -> Error + '_ {
    move |why| Error::Driver { what: format!("ptx: {what}"), why }
}

impl Driver for Interpreter {
    fn name(&self) -> String {
        "ptx".into()
    }

    fn hopper(&self) -> Option<Hopper> {
        self.state().hopper
    }

    fn tensor_map(&self, boxes: &Boxes) -> Result<TensorMap> {
        Ok(Plain::map(boxes))
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        let allocated = self.state().memory.allocate(bytes);
        allocated.map_err(|why| Error::OutOfMemory { device: self.name(), bytes, why })
    }

    fn free(&self, address: u64, _bytes: usize) {
        // What `allocate` gave is there.
        let _ = self.state().memory.free(address);
    }

    fn upload(&self, to: u64, from: &[u8]) -> Result<()> {
        self.state().memory.write(to, from).map_err(driver("upload"))
    }

    fn download(&self, from: u64, to: &mut [u8]) -> Result<()> {
        to.copy_from_slice(self.state().memory.at(from, to.len()).map_err(driver("download"))?);
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        let memory = &mut self.state().memory;
        let data = memory.at(from, bytes).map_err(driver("copy, source"))?.to_vec();
        memory.write(to, &data).map_err(driver("copy, destination"))
    }

    fn zero(&self, to: u64, bytes: usize) -> Result<()> {
        self.state().memory.at(to, bytes).map_err(driver("zero"))?.fill(0);
        Ok(())
    }

    fn launch(&self, launch: &Launch, params: &[u8], _layout: &'static [Field]) -> Result<()> {
        let error = |why: String| Error::Driver { what: launch.to_string(), why };
        let mut state = self.state();
        let program = state.program(launch.kernel).map_err(error)?;
        let most = shared_memory::most(state.hopper.is_some());
        launch.check(program.max_threads, program.cluster, most).map_err(error)?;
        if params.len() as u64 != program.param_bytes {
            let why = format!("a parameter struct of {} bytes; the kernel takes {}", params.len(), program.param_bytes);
            return Err(error(why));
        }
        STARTED.lock().unwrap_or_else(PoisonError::into_inner).insert(launch.kernel);
        let mut params = params.to_vec();
        let hopper = state.hopper.is_some();
        let State { memory, .. } = &mut *state;
        let machine = &mut Machine::new(&program, memory, &mut params, launch.threads, launch.shared, hopper);
        grid::run(&program, launch, machine).map_err(error)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}
