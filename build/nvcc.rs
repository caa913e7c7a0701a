//! Compiles the kernels for the GPU: one fatbin per file.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::jobs::{self, Job};
use crate::scan::{Header, Source, fingerprint, write_if_changed};
use crate::variable;

/// Ampere, Ada and Hopper as machine code; what comes later translates the PTX when it loads the kernels.
const ARCHS: &str = "80,89,90a,90+PTX";

const FLAGS: &[&str] =
    &["-fatbin", "-std=c++17", "-O3", "-lineinfo", "-Ikernels", "-Xptxas=-v", "-Xfatbin=-compress-all"];

/// What the interpreter of PTX is given: what newer GPUs get, with the kernels for Hopper, which they do not.
const PTX_FLAGS: &[&str] = &["-ptx", "-std=c++17", "-O3", "-Ikernels", "-arch=compute_90a"];

/// nvcc's path, or none. A place that is named explicitly and has no nvcc is an error.
pub fn find() -> Result<Option<PathBuf>, String> {
    let program = format!("nvcc{}", std::env::consts::EXE_SUFFIX);
    if let Some(path) = variable("NVCC") {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(Some(path)) } else { Err(format!("NVCC is {}: no such file", path.display())) };
    }
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).map(|p| Path::new(&p).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = toolkits.chain(std::env::split_paths(&path));
    Ok(folders.map(|folder| folder.join(&program)).find(|nvcc| nvcc.is_file()))
}

/// All that nvcc says of its version.
pub fn version(nvcc: &Path) -> Result<String, String> {
    let said = Command::new(nvcc).arg("--version").output().map_err(|e| format!("{}: {e}", nvcc.display()))?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// The number in that, such as 13.0.88.
pub fn release(said: &str) -> String {
    let number =
        said.lines().find_map(|line| line.split_once("release ")?.1.split_once(", V")).map(|(_, number)| number);
    number.unwrap_or("of an unknown version").trim().to_string()
}

/// The architectures that are compiled for.
pub fn archs() -> String {
    variable("VERIDICAL_CUDA_ARCHS").unwrap_or_else(|| ARCHS.to_string())
}

/// Compiles every source, refuses spills and serialized wgmma, and writes the report.
pub fn compile(
    nvcc: &Path,
    sources: &[Source],
    headers: &[Header],
    out: &Path,
) -> Result<Vec<(String, PathBuf)>, String> {
    let (version, archs) = (version(nvcc)?, archs());
    let codes = archs.split(',').map(|arch| generate_code(arch.trim(), &archs)).collect::<Result<Vec<_>, _>>()?;

    let flags: Vec<&str> = FLAGS.iter().copied().chain(codes.iter().map(String::as_str)).collect();
    let (fatbins, logs) = each(nvcc, &version, sources.iter(), headers, &flags, &out.join("cuda"), "fatbin", accept)?;

    let report = out.join("kernel-report.txt");
    write_if_changed(&report, &table(logs.iter().flat_map(|log| resources(log))))?;
    if variable("VERIDICAL_KERNEL_REPORT").is_some_and(|v| v != "0") {
        println!("cargo::warning=registers, shared memory and stack of every kernel: {}", report.display());
    }
    Ok(fatbins)
}

/// Compiles every source to PTX.
pub fn ptx<'a>(
    nvcc: &Path,
    sources: impl Iterator<Item = &'a Source>,
    headers: &[Header],
    out: &Path,
) -> Result<Vec<(String, PathBuf)>, String> {
    let accept = |_: &str| Ok(());
    let (texts, _) = each(nvcc, &version(nvcc)?, sources, headers, PTX_FLAGS, &out.join("ptx"), "ptx", accept)?;
    Ok(texts)
}

/// Runs nvcc on every source that has changed: the outputs by the sources' names, and what was said of each.
fn each<'a>(
    nvcc: &Path,
    version: &str,
    sources: impl Iterator<Item = &'a Source>,
    headers: &[Header],
    flags: &[&str],
    folder: &Path,
    extension: &str,
    accept: impl Fn(&str) -> Result<(), String> + Sync,
) -> Result<(Vec<(String, PathBuf)>, Vec<String>), String> {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut jobs = Vec::new();
    let mut made = Vec::new();
    for source in sources {
        let inputs = flags.iter().copied().chain([version, &source.text]);
        let inputs = inputs.chain(headers.iter().map(|h| h.text.as_str()));
        let output = folder.join(format!("{}-{}.{extension}", source.stem, fingerprint(inputs)));
        let mut command = Command::new(nvcc);
        command.args(flags).arg("-o").arg(&output).arg(&source.path);
        made.push((source.stem.clone(), output.clone()));
        jobs.push(Job { what: source.path.display().to_string(), command, output });
    }
    let outputs: Vec<PathBuf> = jobs.iter().map(|job| job.output.clone()).collect();
    let logs = jobs::run(jobs, accept)?;
    jobs::sweep(folder, &outputs);
    Ok((made, logs))
}

/// `80` or `90a` asks for machine code, `90+PTX` for PTX. `all` is the whole list.
fn generate_code(arch: &str, all: &str) -> Result<String, String> {
    let (number, ptx) = arch.strip_suffix("+PTX").map_or((arch, false), |number| (number, true));
    let digits = number.trim_end_matches(['a', 'f']);
    if digits.parse::<u32>().is_err() || number.len() > digits.len() + 1 {
        return Err(format!("VERIDICAL_CUDA_ARCHS: \"{arch}\" is not of the form 80, 90a or 90+PTX"));
    }
    if ptx {
        return Ok(format!("-gencode=arch=compute_{number},code=compute_{number}"));
    }
    // Kernels ask for a major version and no more (core.cuh), so the PTX of its oldest GPU is that of all, and nvcc
    // makes it once. What ends in a letter is not for all of them.
    let major = |arch: &str| arch.parse::<u32>().ok().map(|number| number / 10);
    let oldest = all.split(',').map(str::trim).filter(|a| major(a).is_some() && major(a) == major(number)).min();
    let oldest = oldest.unwrap_or(number);
    Ok(format!("-gencode=arch=compute_{oldest},code=sm_{number}"))
}

/// What ptxas says about one kernel for one architecture.
struct Resources {
    kernel: String,
    arch: String,
    registers: u32,
    shared: u32,
    stack: u32,
    spills: u32,
}

fn resources(log: &str) -> Vec<Resources> {
    let mut all: Vec<Resources> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut quoted = rest.split('\'');
            let kernel = quoted.next().unwrap_or_default().to_string();
            let arch = quoted.nth(1).unwrap_or_default().to_string();
            all.push(Resources { kernel, arch, registers: 0, shared: 0, stack: 0, spills: 0 });
        } else if let Some(last) = all.last_mut() {
            if line.contains("bytes stack frame") {
                last.stack = last.stack.max(number_before(line, "bytes stack frame"));
                last.spills += number_before(line, "bytes spill stores") + number_before(line, "bytes spill loads");
            } else if line.contains("Used ") {
                last.registers = number_before(line, "registers");
                last.shared = number_before(line, "bytes smem");
            }
        }
    }
    all
}

fn number_before(line: &str, words: &str) -> u32 {
    let before = line.find(words).map_or("", |at| line[..at].trim_end());
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What ptxas says where it does not keep products of warpgroups under way as they were written, or leaves registers as
/// they were shared out: setmaxnreg ignored, wgmma serialized, a wait injected.
const WARPGROUP_WARNINGS: [&str; 4] = ["C7508", "C7510", "C7514", "C7517"];

/// All of it silently costs most of a kernel's speed.
fn accept(log: &str) -> Result<(), String> {
    let serialized = |line: &&str| line.contains("wgmma") && line.contains("serialized");
    if let Some(line) = log.lines().find(serialized) {
        return Err(format!("wgmma is serialized, which costs most of its speed: {}", line.trim()));
    }
    if let Some(line) = log.lines().find(|line| WARPGROUP_WARNINGS.iter().any(|code| line.contains(code))) {
        return Err(format!("products of warpgroups lose most of their speed: {}", line.trim()));
    }
    let all = resources(log);
    if let Some(r) = all.iter().find(|r| r.spills > 0) {
        return Err(format!("kernel {} spills {} bytes of registers on {}", r.kernel, r.spills, r.arch));
    }
    // Sums that wgmma computes in cannot be in memory.
    match all.iter().find(|r| r.stack > 0 && (r.kernel.contains("_hopper_") || r.kernel.contains("wgmma"))) {
        Some(r) => Err(format!("kernel {} has a stack frame of {} bytes on {}", r.kernel, r.stack, r.arch)),
        None => Ok(()),
    }
}

fn table(rows: impl Iterator<Item = Resources>) -> String {
    let mut text = format!(
        "{:48} {:8} {:>9} {:>9} {:>7} {:>7}\n",
        "kernel", "arch", "registers", "shared B", "stack B", "spill B"
    );
    for r in rows {
        let Resources { kernel, arch, registers, shared, stack, spills } = r;
        let _ = writeln!(text, "{kernel:48} {arch:8} {registers:9} {shared:9} {stack:7} {spills:7}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nvcc 13.0 prints for a kernel that wants more registers than its launch bounds leave, and for one that does
    /// not.
    const LOG: &str = "ptxas info    : 0 bytes gmem\n\
        ptxas info    : Compiling entry function 'many' for 'sm_90a'\n\
        ptxas info    : Function properties for many\n    \
        552 bytes stack frame, 808 bytes spill stores, 1072 bytes spill loads\n\
        ptxas info    : Used 32 registers, used 0 barriers, 552 bytes cumulative stack size\n\
        ptxas info    : Compile time = 50.647 ms\n";
    const FINE: &str = "ptxas info    : Compiling entry function 'all_bf16' for 'sm_80'\n\
        ptxas info    : Function properties for all_bf16\n    \
        0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Used 24 registers, used 2 barriers, 3072 bytes smem, 376 bytes cmem[0]\n";

    #[test]
    fn the_report_reads_what_ptxas_says() {
        let text = table(resources(&format!("{FINE}{LOG}")).into_iter());
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["all_bf16", "sm_80", "24", "3072", "0", "0"]);
        assert_eq!(rows[1], ["many", "sm_90a", "32", "0", "552", "1880"]);
    }

    #[test]
    fn spills_and_serialized_wgmma_are_refused() {
        assert_eq!(accept(FINE), Ok(()));
        let error = accept(LOG).unwrap_err();
        assert!(error.contains("many spills 1880 bytes") && error.contains("sm_90a"), "{error}");
        let warning = "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to \
            non wgmma instructions defining accumulator registers in the function 'x'";
        assert!(accept(warning).unwrap_err().contains("serialized"));
        for code in ["C7508", "C7514", "C7517"] {
            let warning = format!("{FINE}ptxas info    : ({code}) Potential Performance Loss: 'setmaxnreg' ignored\n");
            assert!(accept(&warning).unwrap_err().contains(code));
        }
        let framed =
            FINE.replace("all_bf16", "matmul_fwd_nt_hopper_bf16").replace("    0 bytes stack", "    8 bytes stack");
        assert!(accept(&framed).unwrap_err().contains("a stack frame of 8 bytes on sm_80"));
        assert_eq!(accept(&FINE.replace("    0 bytes stack", "    8 bytes stack")), Ok(()));
    }

    #[test]
    fn the_version_is_found_in_what_nvcc_says() {
        let said = "nvcc: NVIDIA (R) Cuda compiler driver\nCopyright (c) 2005-2025 NVIDIA Corporation\n\
            Cuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0.r13.0/compiler.36424714_0\n";
        assert_eq!(release(said), "13.0.88");
        assert_eq!(release("clang"), "of an unknown version");
    }

    #[test]
    fn architectures_have_three_forms() {
        let of = |arch| generate_code(arch, ARCHS).unwrap();
        assert_eq!(of("80"), "-gencode=arch=compute_80,code=sm_80");
        assert_eq!(of("90a"), "-gencode=arch=compute_90a,code=sm_90a");
        assert_eq!(of("90+PTX"), "-gencode=arch=compute_90,code=compute_90");
        for wrong in ["", "sm_80", "80b", "90aa", "90+SASS", "+PTX"] {
            assert!(generate_code(wrong, ARCHS).is_err(), "{wrong}");
        }
    }

    #[test]
    fn gpus_of_one_major_version_have_one_ptx() {
        assert_eq!(generate_code("89", ARCHS).unwrap(), "-gencode=arch=compute_80,code=sm_89");
        assert_eq!(generate_code("89", "89, 86").unwrap(), "-gencode=arch=compute_86,code=sm_89");
        for (arch, all) in [("89", "89,90a"), ("120", "80,120"), ("90", "90a,90,90+PTX")] {
            assert_eq!(generate_code(arch, all).unwrap(), format!("-gencode=arch=compute_{arch},code=sm_{arch}"));
        }
    }
}
