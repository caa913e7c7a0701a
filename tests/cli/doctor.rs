//! `veridical doctor`, and what the command says of itself.

use serde_json::Value;

use super::{command, fails, has_cuda, succeeds};

#[test]
fn every_device_that_there_is_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("doctor.json");
    let said = succeeds(&["doctor", "--json", path.to_str().unwrap()]);
    for part in
        ["features      cli", "CPU kernels   ", "memory        ", "CUDA kernels  ", "CUDA driver   ", "processors    "]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let found: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    assert!(found["threads"].as_u64().unwrap() >= 1 && found["memory"]["total"].as_u64().unwrap() > 1 << 28);
    // Either there are kernels for GPUs, or why not is said; the same of the driver.
    assert_ne!(found["cuda_kernels"].is_null(), found["no_cuda_kernels"].is_null());
    assert_ne!(found["driver"].is_null(), found["no_driver"].is_null());
    let devices = found["devices"].as_array().unwrap();
    let state =
        |name: &str| devices.iter().find(|device| device["device"] == name).map(|device| device["state"].clone());
    assert_eq!(state("cpu").unwrap(), "right");
    assert_eq!(state("emulator").is_some(), cfg!(feature = "emulator"));
    assert_eq!(state("cuda:0").is_some_and(|state| state == "right"), has_cuda());
    for device in devices.iter().filter(|device| device["state"] == "right") {
        let checks = device["checks"].as_array().unwrap();
        assert!(checks.len() >= 12, "{device}");
        for check in checks {
            let (off, allowed) = (check["off"].as_f64().unwrap(), check["allowed"].as_f64().unwrap());
            assert!(check["right"] == true && off <= allowed, "{check}");
        }
    }
    assert!(fails(2, &["doctor", "--json", "found.txt"]).contains("--json found.txt: what is written is .json"));
}

#[test]
fn the_version_is_one_line_or_all_that_is_known() {
    let line = format!("veridical {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(succeeds(&["-V"]), line);
    let long = succeeds(&["--version"]);
    assert!(long.starts_with(&line), "{long}");
    for part in ["commit        ", "features      cli", "CPU kernels   ", "CUDA kernels  "] {
        assert!(long.contains(part), "{part:?} is not in {long}");
    }
    let portable = command(&["--version"]).env("VERIDICAL_CPU_KERNEL", "portable").output().unwrap();
    assert!(String::from_utf8(portable.stdout).unwrap().contains("CPU kernels   portable"));
}

/// Colours are clap's, which has them on terminals; `CLICOLOR_FORCE` has them anywhere.
#[test]
fn no_color_is_heeded() {
    let coloured = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = command(args);
        command.env_remove("NO_COLOR").envs(variables.iter().copied());
        let output = command.output().unwrap();
        [output.stdout, output.stderr].concat().contains(&0x1b)
    };
    for args in [&["train", "--conjure"][..], &["--help"]] {
        assert!(coloured(&[("CLICOLOR_FORCE", "1")], args), "{args:?}: the test sees no colours where there are some");
        assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], args), "{args:?}");
        assert!(!coloured(&[], args), "{args:?}");
    }
}

#[test]
fn threads_that_are_asked_for_wrongly_are_said() {
    let with = |threads: &str, args: &[&str]| {
        let output = command(args).env("RAYON_NUM_THREADS", threads).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let args = ["noise", "--data", "nowhere"];
    for (threads, says) in [("0", "is 0"), ("200", "more than the"), ("100000", "threads are started")] {
        let (code, said) = with(threads, &args);
        let line = said.lines().next().unwrap();
        assert!(code == Some(2) && line.starts_with("RAYON_NUM_THREADS") && line.contains(says), "{threads}: {said}");
        // The error of the command itself is what is left to say.
        let (_, said) = with(threads, &["-q", args[0], args[1], args[2]]);
        assert!(said.starts_with("error: nowhere") && said.lines().count() == 1, "{said}");
    }
    for threads in ["two", "1.5"] {
        let (code, said) = with(threads, &args);
        assert!(code == Some(2) && said.contains("no number of threads") && said.lines().count() == 1, "{said}");
    }
    assert!(!with("1", &args).1.contains("RAYON"));
}
