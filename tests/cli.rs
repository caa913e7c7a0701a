//! The `veridical` command as a user meets it: a process, its output, its exit code and its files.

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/branches.rs"]
mod branches;
#[path = "cli/collapse.rs"]
mod collapse;
#[path = "cli/columns.rs"]
mod columns;
#[path = "cli/copies.rs"]
mod copies;
#[path = "cli/damage.rs"]
mod damage;
#[path = "cli/data.rs"]
mod data;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/denoise.rs"]
mod denoise;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/evaluate.rs"]
mod evaluate;
#[path = "cli/games.rs"]
mod games;
#[path = "cli/gpu.rs"]
mod gpu;
mod hardware;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/info.rs"]
mod info;
#[path = "cli/kinds.rs"]
mod kinds;
#[path = "cli/likelihood.rs"]
mod likelihood;
mod locate;
#[path = "cli/methods.rs"]
mod methods;
#[path = "cli/mistakes.rs"]
mod mistakes;
#[path = "cli/names.rs"]
mod names;
#[path = "cli/noise.rs"]
mod noise;
#[path = "cli/noise_models.rs"]
mod noise_models;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/people.rs"]
mod people;
#[path = "cli/rehearsal.rs"]
mod rehearsal;
#[path = "cli/resume.rs"]
mod resume;
#[path = "cli/sample.rs"]
mod sample;
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/shell.rs"]
mod shell;
#[path = "cli/stop.rs"]
mod stop;
#[path = "cli/train.rs"]
mod train;
#[path = "cli/training.rs"]
mod training;

use std::process::{Command, Output};

/// On the emulator without the search for races, which takes up to half of its time: the tests of kernels find them.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(locate::program());
    command.args(args).env("VERIDICAL_RACES", "off");
    command
}

/// Standard output of a command that must succeed.
fn succeeds(args: &[&str]) -> String {
    let output = command(args).output().unwrap();
    assert!(output.status.success(), "veridical {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that must fail with `code` without printing results.
fn fails(code: i32, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(args).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "veridical {args:?}: {stderr}");
    assert!(stdout.is_empty(), "veridical {args:?} printed results: {stdout:?}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn help_and_version_are_results() {
    let commands = [
        "demo",
        "train",
        "sample",
        "denoise",
        "likelihood",
        "ema",
        "info",
        "evaluate",
        "classifier",
        "bench",
        "sfbd",
        "ambient",
        "csc",
        "collapse",
    ];
    assert!(commands.iter().all(|name| succeeds(&["--help"]).contains(name)));
    assert!(succeeds(&["--version"]).starts_with("veridical "));
    assert!(fails(2, &[]).contains("Usage"));
    assert!(fails(2, &["conjure"]).contains("conjure"));
}

/// Whether a GPU can be used here, so that tests of its absence know what to expect.
fn has_cuda() -> bool {
    hardware::cuda().is_some()
}
