//! Faults at file calls: every command that leaves a run is killed, or has a call fail, at one file call after another;
//! taken up again it comes to what the undisturbed run leaves, file by file.
//!
//! A library that is loaded before the C library (`faults/shim.c`, compiled here) counts the calls on files below the
//! run's directory and lets the k-th go wrong. Some k of each command are tried; `VERIDICAL_FAULTS=all` tries every
//! one, which takes an hour or two, and `VERIDICAL_FAULTS=kill:37` one kind at one call, as a failure names it.
#![cfg(target_os = "linux")]

#[path = "faults/commands.rs"]
mod commands;
#[path = "faults/files.rs"]
mod files;
mod locate;
#[path = "faults/shim.rs"]
mod shim;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Output;

use commands::Case;
use shim::{Fault, Kind, Shim};

/// Calls that are tried of each kind, if not all are.
const TRIED: [(Kind, u64); 3] = [(Kind::Kill, 6), (Kind::Eio, 4), (Kind::Enospc, 3)];

/// The faults to try in a run of `calls` file calls.
fn faults(calls: u64) -> Vec<Fault> {
    let asked = std::env::var("VERIDICAL_FAULTS").unwrap_or_default();
    if let Some((kind, at)) = asked.split_once(':') {
        return vec![Fault { kind: Kind::named(kind), at: at.parse().expect("VERIDICAL_FAULTS=KIND:CALL") }];
    }
    let tried = |(kind, count): (Kind, u64)| {
        let count = if asked == "all" { calls } else { count.min(calls) };
        // Spread evenly over the run.
        (0..count).map(move |i| Fault { kind, at: 1 + (i * calls) / count })
    };
    TRIED.into_iter().flat_map(tried).collect()
}

fn said(output: &Output) -> String {
    format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
}

/// What a fault did to a command: `true` if it came to its end all the same. Anything but a clear error or the kill is
/// a failure.
fn harmless(output: &Output, fault: Fault, name: &str) -> bool {
    let text = said(output);
    assert!(!text.contains("panicked"), "{name}, {fault}: {text}");
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => true,
        (Some(1 | 2), _) => {
            assert!(text.contains("error") && fault.kind != Kind::Kill, "{name}, {fault}: {text}");
            false
        }
        (None, Some(9)) if fault.kind == Kind::Kill => false,
        _ => panic!("{name}, {fault}: {text}"),
    }
}

fn survives(case: &Case) {
    let place = tempfile::tempdir().unwrap();
    let shim = Shim::build(place.path());
    let settings = case.prepare(place.path());
    let whole = place.path().join("whole");
    let (output, calls) = shim.count(&case.first(&settings, &whole), &whole);
    assert!(output.status.success(), "{}: {}", case.name, said(&output));
    assert!(calls > 20, "{}: {calls} file calls; is the shim loaded?", case.name);
    let expected = files::all(&whole);
    let all = faults(calls);
    for fault in &all {
        let out = place.path().join("faulty");
        let struck = shim.run(&case.first(&settings, &out), &out, Some(*fault));
        if !harmless(&struck, *fault, case.name) {
            go_on(case, &shim, &settings, &out, *fault, &struck);
        }
        let difference = files::difference(&expected, &files::all(&out));
        assert!(difference.is_none(), "{}, {fault}: {}\n{}", case.name, difference.unwrap_or_default(), said(&struck));
        std::fs::remove_dir_all(&out).unwrap();
    }
    println!("{}: {} faults in {calls} file calls", case.name, all.len());
}

/// Where settings were written the run is resumed, else the same command is given again.
fn go_on(case: &Case, shim: &Shim, settings: &Path, out: &Path, fault: Fault, struck: &Output) {
    let args = match case.resumable && out.join("config.toml").is_file() {
        true => case.resume(out),
        false => case.first(settings, out),
    };
    let output = shim.run(&args, out, None);
    let (before, after) = (said(struck), said(&output));
    assert!(output.status.success(), "{}, {fault}: {before}\nthen {args:?}: {after}", case.name);
}

#[test]
fn train() {
    survives(&commands::TRAIN);
}

#[test]
fn sfbd() {
    survives(&commands::SFBD);
}

#[test]
fn sfbd_with_a_kept_optimizer() {
    survives(&commands::KEPT);
}

#[test]
fn online_sfbd() {
    survives(&commands::ONLINE);
}

#[test]
fn ambient() {
    survives(&commands::AMBIENT);
}

#[test]
fn csc() {
    survives(&commands::CSC);
}

#[test]
fn kdgan() {
    survives(&commands::KDGAN);
}

#[test]
fn triple_gan() {
    survives(&commands::TRIPLE_GAN);
}

/// Cannot be resumed: given again it begins again.
#[test]
fn demo() {
    survives(&commands::DEMO);
}

/// Writes its results at its end, and cannot be resumed either.
#[test]
fn collapse() {
    survives(&commands::COLLAPSE);
}
