//! Devices.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::DType;
use crate::backend::ceiling::Ceiling;
use crate::backend::cpu;
use crate::backend::gpu::Gpu;
use crate::backend::usage::Usage;
use crate::error::{Error, Result};

/// Which GPU is meant by a name without a number.
static PREFERRED: AtomicUsize = AtomicUsize::new(0);

/// Where a tensor lives and where operations on it run.
#[derive(Clone, Debug)]
pub enum Device {
    /// This machine's processors, all of them (rayon's global pool).
    Cpu,
    /// An NVIDIA GPU, or the emulator of one.
    Gpu(Gpu),
}

impl Device {
    /// Measures what the device can do at most, once; takes some tenths of a second.
    pub fn ceiling(&self) -> Result<Ceiling> {
        match self {
            Device::Cpu => Ceiling::of_cpu(),
            Device::Gpu(gpu) => Ceiling::of_gpu(gpu),
        }
    }

    /// What a solver's own arithmetic is done in: f64 on the CPU, where it costs nothing beside a network, f32 on a
    /// GPU, whose tensors have no f64 here.
    pub fn state_dtype(&self) -> DType {
        match self {
            Device::Cpu => DType::F64,
            Device::Gpu(_) => DType::F32,
        }
    }

    /// The NVIDIA GPU number `ordinal`.
    ///
    /// Errors, each with its own text, if the crate was built without the feature `cuda` or without nvcc, if there is
    /// no driver or no such GPU, if the GPU is older than sm_80, or if this build's kernels do not run on it.
    pub fn cuda(ordinal: usize) -> Result<Device> {
        #[cfg(feature = "cuda")]
        return crate::backend::cuda::open(ordinal).map(Device::Gpu);
        #[cfg(not(feature = "cuda"))]
        Err(Error::Unavailable {
            device: format!("cuda:{ordinal}"),
            why: "this build has no CUDA support; build with `--features cuda`, or use the CPU".into(),
        })
    }

    /// A device that runs the CUDA kernels on the CPU, for tests; always the same one. With `VERIDICAL_RACES=off` it
    /// does not look for races in shared memory: the search takes a third to half of its time. Errors without the
    /// feature `emulator`.
    pub fn emulator() -> Result<Device> {
        #[cfg(feature = "emulator")]
        {
            static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
            if let Some(device) = DEVICE.get() {
                return Ok(device.clone());
            }
            let races = crate::backend::switch::is_on("VERIDICAL_RACES", true);
            let device = Self::emulator_with(crate::backend::EmulatorOptions::default().races(races))?;
            Ok(DEVICE.get_or_init(|| device).clone())
        }
        #[cfg(not(feature = "emulator"))]
        Err(Error::Unavailable {
            device: "emulator".into(),
            why: "this build has no emulator; build with `--features emulator`".into(),
        })
    }

    /// An emulator with its own order of asynchronous events; see [`EmulatorOptions`](crate::backend::EmulatorOptions).
    #[cfg(feature = "emulator")]
    pub fn emulator_with(options: crate::backend::EmulatorOptions) -> Result<Device> {
        crate::backend::emulator::Emulator::new(options).map(|emulator| Device::Gpu(Gpu::new(emulator)))
    }

    /// A device that runs the PTX of the CUDA kernels on the CPU, for tests. Devices share nothing.
    ///
    /// Errors if this build was made without nvcc.
    #[cfg(feature = "ptx")]
    pub fn ptx() -> Result<Device> {
        Self::ptx_of(&crate::backend::PtxModules::of_this_build()?)
    }

    /// A device that runs the given PTX. Errors if it cannot be read.
    #[cfg(feature = "ptx")]
    pub fn ptx_of(modules: &crate::backend::PtxModules) -> Result<Device> {
        crate::backend::ptx::Interpreter::new(modules).map(|interpreter| Device::Gpu(Gpu::new(interpreter)))
    }

    /// Makes GPU number `ordinal` the one that `cuda` and `best` mean in this process, instead of the first: each of
    /// several processes on a machine takes one of its own. Where there is none of that number it is the first still:
    /// some launchers show each process its own GPU alone.
    pub fn prefer(ordinal: usize) {
        PREFERRED.store(ordinal, Ordering::Relaxed);
    }

    /// The first NVIDIA GPU, or the [preferred](Self::prefer) one, if it can be used, else the CPU. Never fails and
    /// never panics.
    pub fn best() -> Device {
        Self::preferred().unwrap_or(Device::Cpu)
    }

    fn preferred() -> Result<Device> {
        Self::cuda(PREFERRED.load(Ordering::Relaxed)).or_else(|_| Self::cuda(0))
    }

    /// The device called `name`: `cpu`, `cuda`, `cuda:N`, `emulator` or `best`.
    pub fn named(name: &str) -> Result<Device> {
        match name {
            "cpu" => Ok(Device::Cpu),
            "best" => Ok(Self::best()),
            "cuda" => Self::preferred(),
            "emulator" => Self::emulator(),
            _ => match name.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(ordinal)) => Self::cuda(ordinal),
                _ => Err(Error::Unavailable {
                    device: format!("{name:?}"),
                    why: "devices are cpu, cuda, cuda:N, emulator and best".into(),
                }),
            },
        }
    }

    /// Waits until everything started on the device is done, and reports what failed meanwhile.
    pub fn synchronize(&self) -> Result<()> {
        match self {
            Device::Cpu => Ok(()),
            Device::Gpu(gpu) => gpu.synchronize(),
        }
    }

    /// The most bytes that this process's buffers on the device held at once since
    /// [`reset_peak_memory`](Self::reset_peak_memory), or ever.
    ///
    /// Tensors, and the scratch space of operations; not what an allocator keeps for reuse, and no other process's.
    pub fn peak_memory(&self) -> usize {
        self.usage().peak()
    }

    /// Lets [`peak_memory`](Self::peak_memory) begin anew with what is held now.
    pub fn reset_peak_memory(&self) {
        self.usage().reset_peak();
    }

    /// Returns the memory that is kept for reuse to the operating system, so that other processes can have it. The next
    /// step takes longer, since it gets fresh pages. A run of [`train::run`](crate::train::run) does so when it ends.
    ///
    /// On the CPU no more is kept than was ever in use at once; weights that kernels have packed stay with the weights
    /// until these change or are dropped. Of a GPU, what trainers keep for their next step goes back to its driver, and
    /// what that keeps stays with the process.
    pub fn release_memory(&self) {
        match self {
            Device::Cpu => cpu::give_back(),
            // What fails is reported by whoever works on it next.
            Device::Gpu(gpu) => gpu.release_memory().unwrap_or_default(),
        }
    }

    fn usage(&self) -> &Usage {
        match self {
            Device::Cpu => &cpu::USAGE,
            Device::Gpu(gpu) => gpu.usage(),
        }
    }

    /// Whether both are the same device.
    pub fn same(&self, other: &Device) -> bool {
        match (self, other) {
            (Device::Cpu, Device::Cpu) => true,
            (Device::Gpu(a), Device::Gpu(b)) => a.same(b),
            _ => false,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Gpu(gpu) => f.write_str(&gpu.name()),
        }
    }
}
