//! Finds the kernels, compiles them with nvcc (features `cuda` and `ptx`) and with the host C++ compiler (feature
//! `emulator`), and writes the table of all that to `$OUT_DIR/kernels.rs`, which `src/backend/kernels.rs` includes,
//! their parameter structs to `$OUT_DIR/params.rs`, for `src/backend/params.rs`, and which commit this is to
//! `$OUT_DIR/commit.rs`, for the command.
//!
//! | variable | meaning |
//! |---|---|
//! | `NVCC`, `CUDA_HOME`, `CUDA_PATH`, `PATH` | where nvcc is looked for, in this order |
//! | `VERIDICAL_CUDA` | `required`: no nvcc is an error. `off`: do not look for it |
//! | `VERIDICAL_CUDA_ARCHS` | list such as `80,90a,90+PTX`: `80` is machine code for sm_80, `90+PTX` code that newer drivers translate |
//! | `VERIDICAL_TEST_KERNELS` | `1`: compile `tests/kernels` for the GPU too, but for those that are wrong on purpose |
//! | `VERIDICAL_KERNEL_REPORT` | `1`: say where the table of registers, shared memory and stack per kernel is |
//! | `CXX`, `CXXFLAGS` | the host compiler of the emulator, as the `cc` crate reads them |

#[path = "build/commit.rs"]
mod commit;
#[cfg(feature = "emulator")]
#[path = "build/host.rs"]
mod host;
#[path = "build/jobs.rs"]
mod jobs;
#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/params.rs"]
mod params;
#[path = "build/scan.rs"]
mod scan;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use scan::{Header, Source};

fn main() {
    if let Err(message) = run() {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rustc-check-cfg=cfg(has_cuda_kernels)");
    println!("cargo::rustc-check-cfg=cfg(has_cuda_test_kernels)");
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "DOCS_RS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    for variable in ["VERIDICAL_CUDA", "VERIDICAL_CUDA_ARCHS", "VERIDICAL_KERNEL_REPORT", "VERIDICAL_TEST_KERNELS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=kernels");

    let out = PathBuf::from(variable("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let commit = commit::Commit::of(&root);
    for path in commit.watched(&root) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    scan::write_if_changed(&out.join("commit.rs"), &commit.rust())?;
    let mut sources = scan::folder(Path::new("kernels"))?;
    scan::write_if_changed(&out.join("params.rs"), &params::rust(&params::all(&sources)?))?;
    let headers = scan::headers(Path::new("kernels"))?;
    let on_gpu = cfg!(feature = "cuda") && variable("VERIDICAL_TEST_KERNELS").is_some_and(|value| value == "1");
    let on_cpu = cfg!(any(feature = "emulator", feature = "ptx"));
    let tests = if on_gpu || on_cpu { test_kernels()? } else { Vec::new() };
    let nvcc = nvcc()?;
    let as_ptx = ptx(&nvcc, sources.iter().chain(&tests), &headers, &out)?;
    let (on_both, on_host): (Vec<_>, Vec<_>) =
        tests.into_iter().partition(|source| on_gpu && source.stem != WRONG_ON_PURPOSE);
    sources.extend(on_both);
    scan::reject_duplicates(&sources)?;
    params::all(&sources)?;

    let compiled = cuda(&nvcc, &sources, &headers, &out)?;
    if compiled.is_ok() {
        println!("cargo::rustc-cfg=has_cuda_kernels");
        if on_gpu {
            println!("cargo::rustc-cfg=has_cuda_test_kernels");
        }
    }
    let mut table = kernel_table(&sources);
    fatbin_table(&mut table, compiled.as_ref().map_or(&[][..], |compiled| &compiled.fatbins));
    #[cfg(feature = "ptx")]
    ptx_table(&mut table, &as_ptx);
    #[cfg(not(feature = "ptx"))]
    drop(as_ptx);
    let _ = writeln!(
        table,
        "/// nvcc's version and the architectures, or why there is no machine code.\n\
         pub(crate) static CUDA: Result<(&str, &str), &str> = {:?};",
        compiled.as_ref().map(|compiled| (&compiled.nvcc, &compiled.archs))
    );

    #[cfg(not(feature = "emulator"))]
    drop(on_host);
    #[cfg(feature = "emulator")]
    {
        let mut all = sources;
        all.extend(on_host);
        scan::reject_duplicates(&all)?;
        params::all(&all)?;
        host::compile(&all, &headers, &out)?;
        scan::write_if_changed(&out.join("host_kernels.rs"), &host_table(&all))?;
    }
    scan::write_if_changed(&out.join("kernels.rs"), &table)
}

/// Its kernels break every rule that the emulator watches over; some do not even compile for a GPU.
const WRONG_ON_PURPOSE: &str = "emulator_faults";

/// The kernels of `tests/kernels`, which the published crate may lack.
fn test_kernels() -> Result<Vec<Source>, String> {
    let folder = Path::new("tests/kernels");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    println!("cargo::rerun-if-changed=tests/kernels");
    scan::folder(folder)
}

/// What nvcc made.
struct Compiled {
    /// File stem and fatbin of every source.
    fatbins: Vec<(String, PathBuf)>,
    /// nvcc's version.
    nvcc: String,
    archs: String,
}

/// The nvcc to compile with, if that is wanted and possible. Or, in a word, why there is none: `feature`, `off`,
/// `docs`, or `nvcc`, which is not there.
fn nvcc() -> Result<Result<PathBuf, &'static str>, String> {
    if !cfg!(any(feature = "cuda", feature = "ptx")) {
        return Ok(Err("feature"));
    }
    let wish = variable("VERIDICAL_CUDA").unwrap_or_default();
    if !["", "required", "off"].contains(&wish.as_str()) {
        return Err(format!("VERIDICAL_CUDA is \"{wish}\"; it may be `required` or `off`, or not set"));
    }
    if wish == "off" {
        return Ok(Err("off"));
    }
    if variable("DOCS_RS").is_some() {
        return Ok(Err("docs"));
    }
    let Some(nvcc) = nvcc::find()? else {
        let searched = "nvcc was not found (searched NVCC, CUDA_HOME, CUDA_PATH and PATH)";
        if wish == "required" {
            return Err(format!("{searched}, and VERIDICAL_CUDA=required asks for it"));
        }
        println!("cargo::warning={searched}: building for the CPU only");
        return Ok(Err("nvcc"));
    };
    Ok(Ok(nvcc))
}

/// Compiles for the GPU, or says in a word why not: as [`nvcc`] does, or `feature`, which is off.
fn cuda(
    nvcc: &Result<PathBuf, &'static str>,
    sources: &[Source],
    headers: &[Header],
    out: &Path,
) -> Result<Result<Compiled, &'static str>, String> {
    if !cfg!(feature = "cuda") {
        return Ok(Err("feature"));
    }
    let nvcc = match nvcc {
        Ok(nvcc) => nvcc,
        Err(why) => return Ok(Err(why)),
    };
    let fatbins = nvcc::compile(nvcc, sources, headers, out)?;
    Ok(Ok(Compiled { fatbins, nvcc: nvcc::release(&nvcc::version(nvcc)?), archs: nvcc::archs() }))
}

/// Compiles to PTX for the interpreter, if that is built: file stem and file of every source.
fn ptx<'a>(
    nvcc: &Result<PathBuf, &'static str>,
    sources: impl Iterator<Item = &'a Source>,
    headers: &[Header],
    out: &Path,
) -> Result<Vec<(String, PathBuf)>, String> {
    match nvcc {
        Ok(nvcc) if cfg!(feature = "ptx") => {
            nvcc::ptx(nvcc, sources.filter(|source| source.stem != WRONG_ON_PURPOSE), headers, out)
        }
        _ => Ok(Vec::new()),
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn kernel_table(sources: &[Source]) -> String {
    let mut kernels: Vec<_> = sources.iter().flat_map(|s| s.kernels.iter().map(move |k| (k, s))).collect();
    kernels.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let mut table = String::from("/// Every kernel, sorted by name.\npub(crate) static KERNELS: &[Kernel] = &[\n");
    for (kernel, source) in kernels {
        let (name, file, params, cluster) = (&kernel.name, &source.stem, &kernel.params, kernel.cluster);
        let _ =
            writeln!(table, "    Kernel {{ name: {name:?}, file: {file:?}, params: {params:?}, cluster: {cluster} }},");
    }
    table + "];\n"
}

fn fatbin_table(table: &mut String, fatbins: &[(String, PathBuf)]) {
    table.push_str("/// The machine code of every file.\npub(crate) static FATBINS: &[(&str, &[u8])] = &[\n");
    for (file, path) in fatbins {
        let _ = writeln!(table, "    ({file:?}, &Aligned(*include_bytes!({:?})).0),", path.display().to_string());
    }
    table.push_str("];\n");
}

#[cfg(feature = "ptx")]
fn ptx_table(table: &mut String, modules: &[(String, PathBuf)]) {
    table.push_str("/// The PTX of every file.\npub(crate) static PTX: &[(&str, &str)] = &[\n");
    for (file, path) in modules {
        let _ = writeln!(table, "    ({file:?}, include_str!({:?})),", path.display().to_string());
    }
    table.push_str("];\n");
}

#[cfg(feature = "emulator")]
fn host_table(sources: &[Source]) -> String {
    let mut names: Vec<&str> = sources.iter().flat_map(|s| s.kernels.iter().map(|k| k.name.as_str())).collect();
    names.sort_unstable();
    let mut table = String::from("unsafe extern \"C\" {\n");
    for name in &names {
        let _ = writeln!(table, "    safe fn veridical_kernel_{name}() -> &'static HostKernel;");
    }
    table.push_str("}\n/// Every kernel as compiled for the host, sorted by name.\n");
    table.push_str("pub(crate) static HOST_KERNELS: &[(&str, extern \"C\" fn() -> &'static HostKernel)] = &[\n");
    for name in &names {
        let _ = writeln!(table, "    ({name:?}, veridical_kernel_{name}),");
    }
    table + "];\n"
}
