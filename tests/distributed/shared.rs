//! Methods and sampling by several processes.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::commands::{alone, model, said, start, succeeds};
use super::{free_port, locate};

/// What a method leaves, but for times.
fn left(run: &Path) -> (Vec<u8>, Option<Vec<u8>>) {
    (model(run), fs::read(run.join("metrics.json")).ok())
}

#[test]
fn methods_share_their_work_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    alone(&at("start"), &["--steps", "4"]);
    let before = at("start").to_str().unwrap().to_string();
    let tiny = [
        "--data",
        "digits",
        "--device",
        "cpu",
        "--batch",
        "16",
        "--set",
        "train.slots=4",
        "--set",
        "judge.images=32",
        "--set",
        "sampling.rows=1",
        "--set",
        "sampling.columns=2",
        "--set",
        "sampling.steps=2",
    ];
    let net = ["--set", "model.model_channels=8", "--set", "model.num_blocks=1"];
    let sigma = ["--sigma", "0.3", "--images", "96"];
    let rounds = ["--rounds", "1", "--set", "sfbd.optimizer=kept"];
    let methods: [(&str, Vec<&str>); 4] = [
        ("sfbd", [&net[..], &sigma, &rounds].concat()),
        ("sfbd", [&net[..], &sigma, &["--online"]].concat()),
        ("ambient", [&net[..], &sigma].concat()),
        ("csc", vec!["--model", &before, "--images", "48", "--set", "csc.measured_steps=[2]"]),
    ];
    for (index, (method, more)) in methods.iter().enumerate() {
        let command = |out: &Path| {
            let mut command = Command::new(locate::program());
            command.arg(method).args(tiny).args(more).arg("--out").arg(out).env("RAYON_NUM_THREADS", "1");
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command
        };
        let (one, two) = (at(&format!("one-{index}")), at(&format!("two-{index}")));
        succeeds(&[command(&one).output().unwrap()]);
        let port = free_port();
        let children: Vec<Child> = (0..2).map(|rank| start(command(&two), rank, 2, port)).collect();
        succeeds(&children.into_iter().map(|child| child.wait_with_output().unwrap()).collect::<Vec<_>>());
        assert!(left(&one) == left(&two), "{method} {more:?}");
        assert!(two.join("report.html").exists());
    }
}

#[test]
fn samples_are_those_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    alone(&at("run"), &["--steps", "2"]);
    let sample = |out: &str, more: &[&str]| {
        let mut command = Command::new(locate::program());
        command.args(["sample", "--device", "cpu", "--steps", "3", "--seeds", "0-12", "--batch", "3", "--model"]);
        command.arg(at("run")).arg("--output").arg(at(out)).args(more).env("RAYON_NUM_THREADS", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        (fs::read(at(out)).unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let trajectory = |name: &str| at(name).to_str().unwrap().to_string();
    let (one, two) = (trajectory("one.traj.safetensors"), trajectory("two.traj.safetensors"));
    let alone = sample("one.safetensors", &["--trajectory", &one]);
    assert!(alone.1.contains("13 samples"), "{}", alone.1);
    assert_eq!(sample("two.safetensors", &["--trajectory", &two, "--ranks", "2"]), alone);
    assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    assert_eq!(sample("three.safetensors", &["--ranks", "3"]), alone);
}
