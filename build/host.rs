//! Compiles the kernels for the emulator: the same sources as C++17, one object per file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::jobs::{self, Job};
use crate::params;
use crate::scan::{Header, Source, fingerprint, write_if_changed};

/// Compiles every source and links them into the crate.
pub fn compile(sources: &[Source], headers: &[Header], out: &Path) -> Result<(), String> {
    if std::env::var("CARGO_CFG_UNIX").is_err() {
        return Err("the feature `emulator` needs a Unix: Linux or macOS".into());
    }
    let root = std::env::current_dir().map_err(|e| format!("current directory: {e}"))?;
    let folder = out.join("host");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;

    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).debug(false).define("VERIDICAL_HOST", None);
    build.include(root.join("kernels")).warnings(true).extra_warnings(true).warnings_into_errors(true);
    // No contraction: a product that is added is rounded first unless the kernel says fmaf. Params are read through
    // other types.
    for flag in ["-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-fno-strict-aliasing"] {
        build.flag(flag);
    }
    let compiler = build.try_get_compiler().map_err(|e| format!("the emulator needs a C++17 compiler: {e}"))?;
    if compiler.is_like_msvc() {
        return Err("the emulator's kernels need GCC or Clang; set CXX".into());
    }

    let runtime = root.join("kernels/host/runtime.cpp");
    let mut files = vec![(runtime.display().to_string(), runtime)];
    // Each file gets a namespace, for two files may define functions or structs of one name. The headers come first,
    // outside of it; behind the file stand the fields of its parameter structs.
    let language: String = headers
        .iter()
        .filter(|header| header.path.extension().is_some_and(|e| e == "cuh"))
        .map(|header| format!("#include \"{}\"\n", root.join(&header.path).display()))
        .collect();
    let mut texts = vec![String::new()];
    for source in sources {
        let layouts: String = params::of(source)?.iter().map(|params| params.layout()).collect();
        let wrapped = folder.join(format!("{}.cpp", source.stem));
        let path = root.join(&source.path);
        let text = format!(
            "#include \"device/veridical.cuh\"\n{language}namespace veridical_file_{} {{\n#include \"{}\"\n{layouts}}}\n",
            source.stem,
            path.display()
        );
        write_if_changed(&wrapped, &text)?;
        files.push((source.path.display().to_string(), wrapped));
        texts.push(text + &source.text);
    }

    // The compiler, its version and its flags, and not the command, which holds the whole environment: nothing would
    // be found that a build with other features has compiled.
    let version = compiler.to_command().arg("--version").output();
    let version = version.map_err(|e| format!("{}: {e}", compiler.path().display()))?.stdout;
    let command = format!("{:?} {:?} {}", compiler.path(), compiler.args(), String::from_utf8_lossy(&version));
    let mut jobs = Vec::new();
    for ((what, path), text) in files.into_iter().zip(&texts) {
        let inputs = [command.as_str(), &what, text].into_iter().chain(headers.iter().map(|h| h.text.as_str()));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let output = folder.join(format!("{stem}-{}.o", fingerprint(inputs)));
        let mut command = compiler.to_command();
        command.arg("-c").arg("-o").arg(&output).arg(&path);
        jobs.push(Job { what, command, output });
    }
    let objects: Vec<PathBuf> = jobs.iter().map(|job| job.output.clone()).collect();
    jobs::run(jobs, |_| Ok(()))?;
    jobs::sweep(&folder, &objects);
    cc::Build::new().cpp(true).objects(&objects).try_compile("veridical_host_kernels").map_err(|e| e.to_string())
}
