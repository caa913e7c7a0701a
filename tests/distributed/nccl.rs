//! Ranks that exchange gradients by NCCL: on the emulator, with a stand-in for the library (`nccl.c`).
#![cfg(all(unix, feature = "cuda", feature = "emulator"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::commands::{model, said, start, succeeds, train_by};
use super::{free_port, locate};

/// On the emulator, in as few steps as tell.
const FEW: &[&str] = &["--device", "emulator", "--batch", "4", "--steps", "2"];

fn alone(out: &Path, more: &[&str]) {
    succeeds(&[train_by(FEW, out, more).output().unwrap()]);
}

struct StandIn {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl StandIn {
    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libnccl.so.2");
        let source = locate::root().join("tests/distributed/nccl.c");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let mut command = Command::new(&compiler);
        command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        let output = command.output().unwrap_or_else(|e| panic!("no C compiler ({compiler}): {e}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        StandIn { folder, library }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A training on so many ranks, each with these variables besides.
    fn train(
        &self,
        size: usize,
        out: &Path,
        more: &[&str],
        variables: impl Fn(usize) -> Vec<(&'static str, String)>,
    ) -> Vec<Output> {
        let (port, files) = (free_port(), tempfile::tempdir().unwrap());
        let rank = |rank: usize| {
            let mut command = train_by(FEW, out, more);
            command.env("VERIDICAL_NCCL", &self.library).env("FAKE_NCCL_FOLDER", files.path()).envs(variables(rank));
            start(command, rank, size, port)
        };
        let children: Vec<_> = (0..size).map(rank).collect();
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
    }
}

fn nothing(_: usize) -> Vec<(&'static str, String)> {
    Vec::new()
}

/// A variable of one rank.
fn of(rank: usize, name: &'static str, value: &'static str) -> impl Fn(usize) -> Vec<(&'static str, String)> {
    move |this| if this == rank { vec![(name, value.to_string())] } else { Vec::new() }
}

#[test]
fn gradients_by_nccl_are_those_of_one_process() {
    let stand_in = StandIn::build();
    // Of three slots the second of two ranks has two, which are no whole node of the tree: it sends both.
    for (size, slots) in [(2, 4), (3, 4), (2, 3)] {
        let (slots, one) = (format!("train.slots={slots}"), stand_in.at(&format!("one-{slots}")));
        let more = ["--set", &slots, "--overwrite"];
        alone(&one, &more);
        let run = stand_in.at(&format!("{size}-{slots}"));
        let outputs = stand_in.train(size, &run, &more, nothing);
        succeeds(&outputs);
        assert!(said(&outputs[0]).contains("gradients are exchanged by NCCL 2.27.3"), "{}", said(&outputs[0]));
        assert_eq!(model(&run), model(&one), "{size} ranks, {slots}");
    }
}

#[test]
fn a_rank_that_dies_among_nccls_calls_is_named() {
    let stand_in = StandIn::build();
    let run = stand_in.at("run");
    // Each step has two exchanges, with one send to each rank: in the second step.
    let outputs = stand_in.train(2, &run, &[], of(1, "FAKE_NCCL_FAULT", "1:6:die"));
    assert_eq!(outputs[1].status.code(), Some(9));
    assert_eq!(outputs[0].status.code(), Some(1), "{}", said(&outputs[0]));
    assert!(said(&outputs[0]).contains("rank 1 is gone"), "{}", said(&outputs[0]));
    assert!(run.join("checkpoints/step-000000001").exists(), "{}", said(&outputs[0]));
    // And goes on by itself, to the bits of a run that nothing happened to.
    let mut resumed = Command::new(locate::program());
    resumed.args(["train", "--resume", "--out"]).arg(&run);
    succeeds(&[resumed.output().unwrap()]);
    alone(&stand_in.at("one"), &[]);
    assert_eq!(model(&run), model(&stand_in.at("one")));
}

#[test]
fn what_nccl_reports_is_told_in_its_words() {
    let stand_in = StandIn::build();
    let outputs = stand_in.train(2, &stand_in.at("run"), &[], of(1, "FAKE_NCCL_FAULT", "1:2:fail"));
    for output in &outputs {
        assert_eq!(output.status.code(), Some(1), "{}", said(output));
        let words = "NCCL: exchanging gradients: remote process exited or there was a network error";
        assert!(said(output).contains(words) && said(output).contains("VERIDICAL_NCCL=off"), "{}", said(output));
    }
}

#[test]
fn ranks_that_nccl_does_not_bring_together_are_not_waited_for_for_ever() {
    let stand_in = StandIn::build();
    // The second one stays away from NCCL's meeting, and lives.
    let apart = |rank: usize| {
        let away = (rank == 1).then(|| ("FAKE_NCCL_FAULT", "1:0:stay".to_string()));
        [("VERIDICAL_RANKS_MEETING", "5".to_string())].into_iter().chain(away).collect()
    };
    for output in stand_in.train(2, &stand_in.at("run"), &[], apart) {
        let (text, words) = (said(&output), "meeting the other ranks: not done after 5 seconds, and all ranks live");
        assert!(output.status.code() == Some(2) && text.contains(words), "{text}");
        assert!(text.contains("VERIDICAL_NCCL asks for NCCL, and it cannot be used"), "{text}");
    }
}

#[test]
fn nccl_that_is_missing_old_or_of_two_versions_is_said() {
    let stand_in = StandIn::build();
    let refused = |outputs: &[Output], words: &str| {
        for output in outputs {
            assert_eq!(output.status.code(), Some(2), "{}", said(output));
            assert!(said(output).contains(words), "{words}\n{}", said(output));
        }
    };
    let old = stand_in.train(2, &stand_in.at("old"), &[], |_| vec![("FAKE_NCCL_VERSION", "2804".into())]);
    refused(&old, "is NCCL 2.8.4, and 2.14 is needed at least");
    let two = stand_in.train(2, &stand_in.at("two"), &[], of(1, "FAKE_NCCL_VERSION", "22000"));
    refused(&two, "rank 1 has version 2.20.0 of it, and rank 0 2.27.3");
    let missing = |_| vec![("VERIDICAL_NCCL", "/nowhere/libnccl.so.2".into())];
    refused(&stand_in.train(2, &stand_in.at("missing"), &[], missing), "install NCCL (Debian and Ubuntu: libnccl2");
    let source = locate::root().join("tests/distributed/nccl.c").display().to_string();
    let other = stand_in.train(2, &stand_in.at("other"), &[], |_| vec![("VERIDICAL_NCCL", source.clone())]);
    refused(&other, "VERIDICAL_NCCL asks for NCCL, and it cannot be used");
    // Where it is not asked for, the exchange goes another way, and the device is not even asked.
    let off = stand_in.train(2, &stand_in.at("off"), &[], |_| vec![("VERIDICAL_NCCL", "off".into())]);
    succeeds(&off);
    assert!(!said(&off[0]).contains("NCCL"), "{}", said(&off[0]));
    assert!(fs::metadata(stand_in.at("off").join("model.safetensors")).is_ok());
}
