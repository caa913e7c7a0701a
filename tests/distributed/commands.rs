//! `veridical train` by several processes.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{free_port, locate};

/// A small network, of which a step takes some milliseconds.
const TINY: &[&str] = &[
    "--data",
    "digits",
    "--set",
    "train.slots=4",
    "--set",
    "model.model_channels=8",
    "--set",
    "model.num_blocks=1",
    "--set",
    "sampling.measured=0",
    "--set",
    "sampling.rows=1",
    "--set",
    "sampling.columns=2",
    "--set",
    "sampling.steps=2",
    "--set",
    "train.sample_every=0",
];

pub fn train(out: &Path, more: &[&str]) -> Command {
    train_by(&["--device", "cpu", "--batch", "16"], out, more)
}

/// The same with a device and a batch of one's own.
pub fn train_by(how: &[&str], out: &Path, more: &[&str]) -> Command {
    let mut command = command(out);
    command.args(TINY).args(how).args(more);
    command
}

fn resume(out: &Path) -> Command {
    let mut command = command(out);
    command.arg("--resume");
    command
}

fn command(out: &Path) -> Command {
    let mut command = Command::new(locate::program());
    command.args(["train", "--out"]).arg(out);
    for name in ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"] {
        command.env_remove(name);
    }
    command.env("RAYON_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn start(mut command: Command, rank: usize, size: usize, port: u16) -> Child {
    command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string()).env("LOCAL_RANK", rank.to_string());
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
    if command.get_envs().all(|(name, _)| name != "VERIDICAL_RANKS_MEETING") {
        command.env("VERIDICAL_RANKS_MEETING", "60");
    }
    command.env("VERIDICAL_RANKS_SILENCE", "4");
    command.spawn().unwrap()
}

pub fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The command on so many ranks.
fn on(size: usize, out: &Path, more: &[&str]) -> Vec<Output> {
    let port = free_port();
    let children: Vec<Child> = (0..size).map(|rank| start(train(out, more), rank, size, port)).collect();
    children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

pub fn succeeds(outputs: &[Output]) {
    outputs.iter().for_each(|output| assert!(output.status.success(), "{}", said(output)));
}

pub fn alone(out: &Path, more: &[&str]) {
    succeeds(&[train(out, more).output().unwrap()]);
}

pub fn model(run: &Path) -> Vec<u8> {
    fs::read(run.join("model.safetensors")).unwrap()
}

/// A run's log without what the clock says.
fn log(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .map(|mut line| {
            for name in ["seconds", "images_per_second"] {
                line.as_object_mut().unwrap().remove(name);
            }
            line
        })
        .collect()
}

#[test]
fn a_run_is_the_same_on_any_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let few = ["--steps", "6", "--set", "train.checkpoint_every=3", "--set", "train.log_every=2"];
    alone(&at("one"), &few);
    for size in [2, 3, 4] {
        let run = at(&format!("{size}"));
        let outputs = on(size, &run, &few);
        succeeds(&outputs);
        assert_eq!(model(&run), model(&at("one")), "{size} ranks");
        assert_eq!(log(&run), log(&at("one")), "{size} ranks");
        for output in &outputs[1..] {
            assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", said(output));
        }
    }
    let last = |run: &str, file: &str| fs::read(at(run).join("checkpoints/step-000000006").join(file)).unwrap();
    for file in ["model.safetensors", "ema.safetensors", "optimizer.safetensors"] {
        assert_eq!(last("one", file), last("4", file), "{file}");
    }
    // The command starts them itself.
    let output = train(&at("own"), &[&few[..], &["--ranks", "2"]].concat()).output().unwrap();
    succeeds(&[output]);
    assert_eq!(model(&at("own")), model(&at("one")));
}

#[test]
fn a_killed_rank_ends_the_others_and_the_run_goes_on_with_another_number() {
    killed(&["--steps", "60", "--set", "train.checkpoint_every=5"]);
}

#[test]
fn so_it_does_where_optimiser_and_averages_are_in_shares() {
    let averages = ["--set", "average.power=[0.05, 0.1]", "--set", "average.snapshot_every=64"];
    let shares = ["--steps", "60", "--set", "train.checkpoint_every=5", "--set", "train.shard_state=true"];
    killed(&[&shares[..], &averages].concat());
}

/// Every file of a run that training leaves, but for settings and the log.
fn files(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in ["checkpoints/step-000000060", "snapshots"] {
        let Ok(entries) = fs::read_dir(run.join(folder)) else { continue };
        let paths = entries.map(|entry| entry.unwrap().path());
        let tensors = paths.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
        found.extend(
            tensors.map(|path| (path.strip_prefix(run).unwrap().display().to_string(), fs::read(&path).unwrap())),
        );
    }
    found.sort();
    found
}

fn killed(long: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (whole, run) = (dir.path().join("whole"), dir.path().join("run"));
    alone(&whole, long);
    // Rank 1 is killed, then rank 0.
    for (round, killed) in [1, 0].into_iter().enumerate() {
        let port = free_port();
        let command = || if round == 0 { train(&run, long) } else { resume(&run) };
        let mut children: Vec<Child> = (0..2).map(|rank| start(command(), rank, 2, port)).collect();
        let there = run.join(["checkpoints/step-000000005", "checkpoints/step-000000020"][round]);
        let began = Instant::now();
        while !there.exists() {
            assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint");
            for child in &mut children {
                assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
            }
            thread::sleep(Duration::from_millis(2));
        }
        children[killed].kill().unwrap();
        let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let other = &outputs[1 - killed];
        let text = said(other);
        assert_eq!(other.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("rank {killed} is gone")) && text.contains("--resume"), "{text}");
        let named = text.split("the last good checkpoint is ").nth(1).and_then(|rest| rest.split(';').next());
        assert!(named.is_some_and(|path| Path::new(path).join("state.json").is_file()), "{text}");
    }
    let port = free_port();
    let last: Vec<Child> = (0..4).map(|rank| start(resume(&run), rank, 4, port)).collect();
    succeeds(&last.into_iter().map(|child| child.wait_with_output().unwrap()).collect::<Vec<_>>());
    assert_eq!(model(&run), model(&whole));
    let (left, expected) = (files(&run), files(&whole));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&left), names(&expected));
    assert!(left == expected && left.len() > 2, "{:?}", names(&left));
}

#[test]
fn a_stop_of_one_is_a_stop_of_all() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let port = free_port();
    let endless = ["--steps", "100000", "--set", "train.checkpoint_every=5"];
    let children: Vec<Child> = (0..2).map(|rank| start(train(&run, &endless), rank, 2, port)).collect();
    let began = Instant::now();
    while !run.join("checkpoints/step-000000005").exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint");
        thread::sleep(Duration::from_millis(2));
    }
    let sent = Command::new("kill").args(["-TERM", &children[1].id().to_string()]).status().unwrap();
    assert!(sent.success());
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    }
    assert!(run.join("model.safetensors").exists() && run.join("report.html").exists());
}

#[test]
fn ranks_stop_with_the_command_that_started_them() {
    let dir = tempfile::tempdir().unwrap();
    for (signal, code) in [("-TERM", Some(130)), ("-KILL", None)] {
        let run = dir.path().join(signal);
        let endless = ["--steps", "1000000", "--set", "train.checkpoint_every=5", "--ranks", "2"];
        let mut command = train(&run, &endless).spawn().unwrap();
        let began = Instant::now();
        while !run.join("checkpoints/step-000000005").exists() {
            assert!(began.elapsed() < Duration::from_secs(120), "no checkpoint");
            thread::sleep(Duration::from_millis(2));
        }
        assert!(Command::new("kill").args([signal, &command.id().to_string()]).status().unwrap().success());
        assert_eq!(command.wait().unwrap().code(), code);
        // Whoever holds the lock of the directory still writes there.
        let began = Instant::now();
        while !run.join("report.html").exists() || !resume(&run).arg("--minutes=0").output().unwrap().status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "the ranks of {signal} go on");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_refused_start_leaves_the_run_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    alone(&run, &["--steps", "1"]);
    let before = model(&run);
    for output in on(5, &run, &["--steps", "2", "--overwrite"]) {
        assert!(said(&output).contains("train.slots = 4 gives 5 ranks"), "{}", said(&output));
    }
    let ends = |commands: [Command; 2]| {
        let port = free_port();
        let children: Vec<Child> =
            commands.into_iter().enumerate().map(|(rank, command)| start(command, rank, 2, port)).collect();
        children.into_iter().map(|child| said(&child.wait_with_output().unwrap())).collect::<Vec<_>>()
    };
    let seeded = |seed| train(&run, &["--steps", "1", "--overwrite", "--seed", seed]);
    for text in ends([seeded("1"), seeded("2")]) {
        assert!(text.contains("its settings is seed = 2"), "{text}");
    }
    for text in ends([train(&run, &["--steps", "1", "--overwrite"]), resume(&run)]) {
        assert!(text.contains("its --resume is given"), "{text}");
    }
    assert_eq!(model(&run), before);
}

#[test]
fn a_rank_that_hangs_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let port = free_port();
    let endless = ["--steps", "100000", "--set", "train.checkpoint_every=5"];
    let mut children: Vec<Child> = (0..2).map(|rank| start(train(&run, &endless), rank, 2, port)).collect();
    while !run.join("checkpoints/step-000000005").exists() {
        thread::sleep(Duration::from_millis(2));
    }
    let hung = children.pop().unwrap();
    let signal = |name: &str| Command::new("kill").args([name, &hung.id().to_string()]).status().unwrap();
    signal("-STOP");
    let output = children.pop().unwrap().wait_with_output().unwrap();
    signal("-KILL");
    let text = said(&output);
    assert!(output.status.code() == Some(1) && text.contains("rank 1 has not been heard of for 4 seconds"), "{text}");
    let mut hung = hung;
    hung.wait().unwrap();
}

#[test]
fn what_ranks_cannot_do_is_said_by_all() {
    let dir = tempfile::tempdir().unwrap();
    let out = |name: &str| dir.path().join(name);
    // Settings that differ.
    let port = free_port();
    let few = |rate: &'static str| ["--steps", "2", "--lr", rate];
    let children = [
        start(train(&out("differ"), &few("0.001")), 0, 2, port),
        start(train(&out("differ"), &few("0.002")), 1, 2, port),
    ];
    for output in children.map(|child| child.wait_with_output().unwrap()) {
        let text = said(&output);
        assert!(
            output.status.code() == Some(2) && text.contains("lr = 0.002") && text.contains("lr = 0.001"),
            "{text}"
        );
    }
    // Fewer slots than ranks.
    for output in on(5, &out("slots"), &["--steps", "2"]) {
        assert!(
            output.status.code() == Some(2) && said(&output).contains("train.slots = 4 gives 5 ranks"),
            "{}",
            said(&output)
        );
    }
    // A directory that is taken: the others hear of it.
    alone(&out("taken"), &["--steps", "1"]);
    let outputs = on(2, &out("taken"), &["--steps", "1"]);
    assert!(
        said(&outputs[0]).contains("not empty") && said(&outputs[1]).contains("rank 0 ended: "),
        "{}",
        said(&outputs[1])
    );
    // Commands that are done by one.
    let mut sample = Command::new(locate::program());
    sample
        .args(["triple-gan", "--out"])
        .arg(out("none"))
        .env("RANK", "0")
        .env("WORLD_SIZE", "2")
        .env("MASTER_ADDR", "x");
    let text = said(&sample.output().unwrap());
    assert!(text.contains("done by one process"), "{text}");
    let text = said(&train(&out("none"), &["--set", "train.slots=17"]).output().unwrap());
    assert!(text.contains("train.slots = 17 of a batch of train.batch = 16"), "{text}");
    let mut both = train(&out("none"), &["--ranks", "3"]);
    both.env("RANK", "0").env("WORLD_SIZE", "2").env("MASTER_ADDR", "127.0.0.1");
    let text = said(&both.output().unwrap());
    assert!(text.contains("--ranks 3: this process was started as one of 2"), "{text}");
}

/// Whoever has Open MPI or PyTorch has programs that start several processes; here they start ours. Without them there
/// is nothing to try, which is said.
#[test]
fn launchers_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let few = ["--steps", "3"];
    alone(&at("one"), &few);
    let port = free_port().to_string();
    let mpirun = ["mpirun", "-n", "2", "--oversubscribe", "--allow-run-as-root"];
    let torchrun = ["torchrun", "--no-python", "--nproc-per-node", "2", "--master-port", &port];
    for launcher in [&mpirun[..], &torchrun] {
        let out = at(launcher[0]);
        let ours = train(&out, &few);
        let mut command = Command::new(launcher[0]);
        command.args(&launcher[1..]).arg(ours.get_program()).args(ours.get_args());
        command.env("RAYON_NUM_THREADS", "1").env("MASTER_PORT", &port);
        match command.stdout(Stdio::piped()).stderr(Stdio::piped()).output() {
            Ok(output) => {
                succeeds(&[output]);
                assert_eq!(model(&out), model(&at("one")), "{}", launcher[0]);
            }
            Err(e) => eprintln!("{} is not here ({e}): not tried", launcher[0]),
        }
    }
}
