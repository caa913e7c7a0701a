//! What this build was made with, and what the machine has that it could run on: for `veridical doctor`, and for
//! whoever reports a fault.

pub use super::gpu_info::{GpuDriver, GpuInfo};
use super::kernels::CUDA;
use crate::files;

/// The features of the crate that this build has, by their names in `Cargo.toml`.
pub fn features() -> Vec<&'static str> {
    let all = [
        ("cli", cfg!(feature = "cli")),
        ("cuda", cfg!(feature = "cuda")),
        ("emulator", cfg!(feature = "emulator")),
        ("formats", cfg!(feature = "formats")),
        ("ndarray", cfg!(feature = "ndarray")),
        ("op-table", cfg!(feature = "op-table")),
        ("ptx", cfg!(feature = "ptx")),
        ("report", cfg!(feature = "report")),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

/// The machine code for GPUs in this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CudaKernels {
    /// There is some.
    Compiled {
        /// The version of nvcc that made it, such as `13.0.88`.
        nvcc: &'static str,
        /// What for, as in `VERIDICAL_CUDA_ARCHS`, such as `80,90a,90+PTX`.
        archs: &'static str,
    },
    /// There is none, for the feature `cuda` is off.
    NoFeature,
    /// There is none, for `VERIDICAL_CUDA=off` was set, or documentation was built.
    SwitchedOff,
    /// There is none, for nvcc was not found.
    NoCompiler,
}

impl CudaKernels {
    /// Those of this build.
    pub fn of_this_build() -> CudaKernels {
        match CUDA {
            Ok((nvcc, archs)) => CudaKernels::Compiled { nvcc, archs },
            Err("feature") => CudaKernels::NoFeature,
            Err("nvcc") => CudaKernels::NoCompiler,
            Err(_) => CudaKernels::SwitchedOff,
        }
    }

    /// What a person does to have them; `None` if they are there.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            CudaKernels::Compiled { .. } => None,
            CudaKernels::NoFeature => {
                Some("build with the feature `cuda`, which is on by default, and with nvcc (VERIDICAL_CUDA=required)")
            }
            CudaKernels::SwitchedOff => Some("build without VERIDICAL_CUDA=off, and with nvcc"),
            CudaKernels::NoCompiler => {
                Some("install the CUDA toolkit, or set NVCC to its nvcc, and build with VERIDICAL_CUDA=required")
            }
        }
    }
}

impl std::fmt::Display for CudaKernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CudaKernels::Compiled { nvcc, archs } => write!(f, "for {archs}, by nvcc {nvcc}"),
            CudaKernels::NoFeature => f.write_str("none: built without the feature `cuda`"),
            CudaKernels::SwitchedOff => f.write_str("none: built with VERIDICAL_CUDA=off"),
            CudaKernels::NoCompiler => f.write_str("none: no nvcc was found when it was built"),
        }
    }
}

/// The driver and its GPUs, or, in words, why there are none: no driver, one that does not start, or a build that
/// cannot ask. Loads the driver, also in a build without kernels.
pub fn driver() -> Result<GpuDriver, String> {
    #[cfg(feature = "cuda")]
    return super::cuda::list();
    #[cfg(not(feature = "cuda"))]
    Err("this build cannot ask: it is without the feature `cuda`".into())
}

/// The machine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it, in bytes.
    pub total: u64,
    /// What a process could have without others being swapped out, in bytes, if the system tells.
    pub available: Option<u64>,
    /// What this process may have at most, in bytes, if that is limited: by a control group (version 2, as containers
    /// have it) or `ulimit -v`.
    pub limit: Option<u64>,
}

/// The machine's memory, where the system tells: on Unix.
pub fn memory() -> Option<Memory> {
    let told = files::system("/proc/meminfo");
    let of = |key: &str| meminfo(told.as_deref()?, key);
    let total = of("MemTotal").or_else(physical)?;
    let limits = [control_group(), address_space()].into_iter().flatten();
    let limit = limits.min().filter(|limit| *limit < total);
    Some(Memory { total, available: of("MemAvailable"), limit })
}

/// A number of `/proc/meminfo`, in bytes.
fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the control group of this process, or one above it, allows.
fn control_group() -> Option<u64> {
    let text = files::system("/proc/self/cgroup")?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = std::path::Path::new("/sys/fs/cgroup");
    let groups = root.join(own);
    let limits = groups.ancestors().take_while(|group| group.starts_with(root));
    limits.filter_map(|group| files::system(group.join("memory.max"))?.trim().parse().ok()).min()
}

#[cfg(unix)]
#[allow(clippy::unnecessary_cast)] // the number is not of this type on every Unix
fn address_space() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call, which fills it.
    let told = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } == 0;
    (told && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as u64)
}

#[cfg(not(unix))]
fn address_space() -> Option<u64> {
    None
}

/// Pages and their size.
#[cfg(unix)]
fn physical() -> Option<u64> {
    // SAFETY: the calls take a number and give one.
    let [pages, size] = [libc::_SC_PHYS_PAGES, libc::_SC_PAGESIZE].map(|name| unsafe { libc::sysconf(name) });
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(size).ok()?)
}

#[cfg(not(unix))]
fn physical() -> Option<u64> {
    None
}

/// What the processor is called, where the system tells: on Linux.
pub fn processor() -> Option<String> {
    let text = files::system("/proc/cpuinfo")?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?.1.trim();
    (!name.is_empty()).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       16384256 kB\nMemFree:          524288 kB\nMemAvailable:    8388608 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(16_384_256 * 1024));
        assert_eq!(meminfo(text, "MemAvailable"), Some(8 << 30));
        assert_eq!(
            (meminfo(text, "Mem"), meminfo(text, "HugePages_Total"), meminfo("", "MemTotal")),
            (None, None, None)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_memory() {
        let memory = memory().unwrap();
        assert!(memory.total > 1 << 28 && memory.available.unwrap() <= memory.total, "{memory:?}");
        assert!(memory.limit.is_none_or(|limit| limit < memory.total));
    }

    #[test]
    fn what_a_build_lacks_has_a_remedy() {
        let kernels = CudaKernels::of_this_build();
        assert_eq!(matches!(kernels, CudaKernels::Compiled { .. }), cfg!(has_cuda_kernels));
        assert_eq!(kernels == CudaKernels::NoFeature, !cfg!(feature = "cuda"));
        for kernels in [CudaKernels::NoFeature, CudaKernels::SwitchedOff, CudaKernels::NoCompiler] {
            assert!(
                kernels.remedy().is_some_and(|what| what.contains("build")) && kernels.to_string().starts_with("none")
            );
        }
        let compiled = CudaKernels::Compiled { nvcc: "13.0.88", archs: "80,90a" };
        assert_eq!((compiled.to_string().as_str(), compiled.remedy()), ("for 80,90a, by nvcc 13.0.88", None));
        assert_eq!(features().contains(&"cuda"), cfg!(feature = "cuda"));
    }
}
