//! The build script: the tests inside its files, and what needs files or nvcc.

#[allow(dead_code)]
#[path = "../build/commit.rs"]
mod commit;
#[allow(dead_code)]
#[path = "../build/jobs.rs"]
mod jobs;
#[allow(dead_code)]
#[path = "../build/nvcc.rs"]
mod nvcc;
#[allow(dead_code)]
#[path = "../build/params.rs"]
mod params;
#[allow(dead_code)]
#[path = "../build/scan.rs"]
mod scan;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// As in `build.rs`.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[test]
fn every_kernel_file_of_the_crate_declares_kernels() {
    let sources = scan::folder(Path::new("kernels")).unwrap();
    scan::reject_duplicates(&sources).unwrap();
    params::all(&sources).unwrap();
    assert!(!sources.is_empty());
    for source in &sources {
        assert!(!source.kernels.is_empty(), "{} declares no kernel", source.path.display());
        // Ceilings belong to no operation: their kernels serve the backend's measurements.
        let measures = Path::new("src/backend").join(format!("{}.rs", source.stem)).is_file();
        assert!(
            measures || Path::new("src/ops").join(&source.stem).is_dir(),
            "{}: a kernel file is named as its op's folder",
            source.path.display()
        );
    }
}

#[test]
fn a_refused_compilation_runs_again_and_an_accepted_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("op-0.out");
    let job = || {
        let mut command = Command::new("sh");
        command.arg("-c").arg("echo compiled; echo x >> \"$0\"").arg(&output);
        vec![jobs::Job { what: "op".into(), command, output: output.clone() }]
    };
    let runs = || fs::read_to_string(&output).map_or(0, |text| text.lines().count());
    assert_eq!(jobs::run(job(), |_| Err("no".into())).unwrap_err(), "op: no");
    assert_eq!(runs(), 0, "what was refused is gone");
    assert_eq!(jobs::run(job(), |_| Ok(())).unwrap(), ["compiled\n"]);
    let judged = AtomicBool::new(false);
    let again = jobs::run(job(), |_| {
        judged.store(true, Ordering::Relaxed);
        Ok(())
    });
    assert_eq!((again.unwrap(), runs()), (vec!["compiled\n".to_string()], 1), "the messages are kept with the output");
    assert!(!judged.load(Ordering::Relaxed));

    let other = folder.path().join("old-1.out");
    fs::write(&other, "").unwrap();
    jobs::sweep(folder.path(), std::slice::from_ref(&output));
    assert!(output.exists() && !other.exists());
}

/// A kernel that keeps far more values alive than its launch bounds leave registers for.
const SPILLS: &str = "
extern \"C\" __global__ void __launch_bounds__(1024, 2) spilling(float* x) {
    float v[96];
    #pragma unroll
    for (int i = 0; i < 96; i++) v[i] = x[threadIdx.x + 1024 * i];
    for (int round = 0; round < 9; round++) {
        #pragma unroll
        for (int i = 0; i < 96; i++) v[i] = v[i] * v[(i + 31) % 96] + v[(i + 17) % 96];
    }
    #pragma unroll
    for (int i = 0; i < 96; i++) x[threadIdx.x + 1024 * i] = v[i];
}";

#[test]
fn nvcc_compiles_a_kernel_and_refuses_one_that_spills() {
    let Some(nvcc) = nvcc::find().unwrap() else {
        println!("skipped: nvcc was not found");
        assert_ne!(variable("VERIDICAL_CUDA").as_deref(), Some("required"));
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let compile = |stem: &str, text: &str| {
        let path = folder.path().join(format!("{stem}.cu"));
        fs::write(&path, text).unwrap();
        let source = scan::Source { path, stem: stem.into(), text: text.into(), kernels: Vec::new() };
        nvcc::compile(&nvcc, &[source], &[], folder.path())
    };
    let fatbins = compile("fine", "extern \"C\" __global__ void fine(float* x) { x[threadIdx.x] += 1.0f; }").unwrap();
    assert!(fs::metadata(&fatbins[0].1).unwrap().len() > 500);
    let report = fs::read_to_string(folder.path().join("kernel-report.txt")).unwrap();
    assert!(report.lines().any(|line| line.starts_with("fine ")), "{report}");

    let error = compile("spills", SPILLS).unwrap_err();
    assert!(error.contains("kernel spilling spills"), "{error}");
    assert!(compile("broken", "this is not C++").unwrap_err().contains("error"));
}
