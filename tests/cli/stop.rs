//! Signals, limits and threads: what ends a command, and what it leaves then.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use veridical::data::npy::{self, Array, Values};

use super::sample;
use super::training::{Place, TINY, log, resume, steps_of};
use super::{command, locate, succeeds};

/// Longer than anything here takes, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a stop may take there. Left to themselves the commands below would go on for hours.
const SOON: Duration = Duration::from_secs(40);

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn until(what: &str, child: &mut Child, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {what}");
        assert!(began.elapsed() < PATIENCE, "no {what} in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a command that is to end now.
fn ends(mut child: Child) -> Output {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > SOON {
            child.kill().unwrap();
            panic!("it goes on: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn started(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A shell that sets something up and becomes the command.
fn shell(before: &str, args: &[&str]) -> Command {
    let mut shell = Command::new("bash");
    let script = format!("{before}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script).arg(locate::program()).args(args);
    shell
}

/// Everything below a folder, by its path from there.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|below| format!("{name}/{below}"))),
            false => found.push(name),
        }
    }
    found
}

fn nothing_half_written(folder: &Path) {
    let half: Vec<String> =
        files(folder).into_iter().filter(|name| name.contains(".part") || name.contains(".partial")).collect();
    assert!(half.is_empty(), "{half:?}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A stop while the last pictures are drawn, of which there are enough for hours.
#[test]
fn pictures_that_are_being_drawn_are_dropped() {
    let place = Place::new(TINY);
    let out = place.out("run");
    let more = ["--steps", "6", "--set", "sampling.steps=10000", "--set", "sampling.measured=5000"];
    let mut run = started(&mut command(&place.first(&out, &more)));
    until("the model at the end", &mut run, || out.join("model.safetensors").is_file());
    send("-TERM", &run);
    let output = ends(run);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("stopping: ") && stderr.contains("--resume"), "{stderr}");
    assert!(stdout.contains("stopped") && stdout.contains("after 6 steps") && stdout.contains("--resume"), "{stdout}");
    assert_eq!(steps_of(&out).pop().unwrap(), "step-000000006");
    assert!(out.join("report.html").is_file() && !out.join("samples").exists());
    nothing_half_written(&out);
}

/// Stopped in the middle of whatever step it is in, and taken up again, it comes to the same weights.
#[test]
fn a_step_that_is_dropped_is_made_again() {
    let slow = TINY.replace("model_channels = 8", "model_channels = 32").replace("batch = 8", "batch = 64");
    let place = Place::new(&slow.replace("checkpoint_every = 5", "checkpoint_every = 0"));
    let out = place.out("run");
    let mut run = started(&mut command(&place.first(&out, &["--images", "100000000", "--set", "train.log_every=1"])));
    until("two steps", &mut run, || out.join("log.jsonl").is_file() && log(&out).len() >= 2);
    send("-TERM", &run);
    let output = ends(run);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let made: u64 = steps_of(&out).pop().unwrap()["step-".len()..].parse().unwrap();
    assert!(made >= 2);
    let steps = (made + 2).to_string();
    succeeds(&resume(&out, &["--steps", &steps]));
    let straight = place.out("straight");
    succeeds(&place.first(&straight, &["--steps", &steps]));
    let read = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    assert!(read(&out) == read(&straight), "stopped after {made} of {steps} steps");
}

/// Each is in the middle of work of hours when it is told to stop, and leaves nothing at all.
#[test]
fn commands_without_anything_to_keep_end_at_once() {
    let place = sample::Place::pictures();
    let rows = 40_000;
    let values = (0..rows * 32).map(|i| (i as f32 * 0.618).fract()).collect();
    npy::write(place.file("rows.npy"), &Array { shape: vec![rows, 32], values: Values::F32(values) }).unwrap();
    let (rows, out, model) = (place.file("rows.npy"), place.file("out"), place.model.as_str());
    let before = files(place.dir.path());
    let commands: [&[&str]; 6] = [
        &[
            "evaluate",
            "--real-features",
            &rows,
            "--generated-features",
            &rows,
            "--neighbours",
            "1000000",
            "--json",
            &out,
        ],
        &["collapse", "--family", "gmm", "--rounds", "100000", "--samples", "100000", "--repeats", "3", "--json", &out],
        &["classifier", "--data", "digits", "--epochs", "1000", "--output", &out],
        &["sample", "--device", "cpu", "--model", model, "--seeds", "0-4999", "--batch", "5000", "--output", &out],
        &["likelihood", "--model", model, "--data", "synthetic:two-moons", "--steps", "100000", "--json", &out],
        &["demo", "--out", &out],
    ];
    for args in commands {
        let points = sample::Place::points(0);
        let args: Vec<&str> = args
            .iter()
            .map(|arg| if args[0] == "likelihood" && *arg == model { &points.model } else { *arg })
            .collect();
        let mut child = started(&mut command(&args));
        std::thread::sleep(Duration::from_millis(700));
        assert!(child.try_wait().unwrap().is_none(), "{args:?} ended by itself: {:?}", child.wait_with_output());
        send("-TERM", &child);
        let output = ends(child);
        assert_eq!(output.status.code(), Some(130), "{args:?}: {output:?}");
        assert!(text(&output.stderr).contains("stopped: nothing more is written"), "{args:?}: {output:?}");
        nothing_half_written(place.dir.path());
        if args[0] != "demo" {
            assert_eq!(files(place.dir.path()), before, "{args:?}");
        }
    }
}

/// Whole batches are samples as good as any: they are written, and it is said which are missing.
#[test]
fn samples_that_are_there_are_written() {
    let place = sample::Place::pictures();
    let (some, all) = (place.file("some.npz"), place.file("all.npz"));
    let args = |seeds: &'static str, out: &str| -> Vec<String> {
        let args = ["sample", "--device", "cpu", "--model", &place.model, "--batch", "2", "--steps", "9", "--seeds"];
        args.iter().copied().chain([seeds, "--output", out]).map(String::from).collect()
    };
    let run = |args: &[String]| {
        command(&args.iter().map(String::as_str).collect::<Vec<_>>())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut child = run(&args("0-199999", &some));
    // The first line of progress comes after the first batch.
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("sampling") {
        line.clear();
        assert!(notes.read_line(&mut line).unwrap() > 0, "no progress");
    }
    send("-TERM", &child);
    let output = ends(child);
    let mut rest = String::new();
    notes.read_to_string(&mut rest).unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest}");
    let drawn = veridical::data::open(&some).unwrap().train;
    let said = format!("stopped: seed {} and those after it were not drawn", drawn.len());
    assert!(rest.contains("whole batches are written") && rest.contains(&said), "{rest}");
    assert!(text(&output.stdout).starts_with(&format!("{} samples", drawn.len())), "{output:?}");
    // The same as when nobody stops it.
    assert!(run(&args("0-1", &all)).wait().unwrap().success());
    let expected = veridical::data::open(&all).unwrap().train;
    assert_eq!(drawn.gather(&[0, 1]).unwrap(), expected.gather(&[0, 1]).unwrap());
}

/// The command hangs in a write that nobody reads; so would what it has to say.
#[test]
fn a_second_signal_ends_what_hangs() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut full = writer.try_clone().unwrap();
    // Fills the pipe, and waits then for room that never comes.
    let filling = std::thread::spawn(move || full.write_all(&vec![b'.'; 1 << 21]));
    std::thread::sleep(Duration::from_millis(200));
    let args = ["bench", "--quick", "--op", "add", "--dtype", "f32"];
    let mut child = command(&args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    send("-TERM", &child);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "what is there is kept, as long as only one signal came");
    send("-INT", &child);
    send("-TERM", &child);
    let output = ends(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(text(&output.stderr).contains("another signal ends the command at once"), "{output:?}");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    filling.join().unwrap().unwrap();
}

/// `timeout` sends its signal to the command and again to the group that it is in.
#[test]
fn a_signal_that_is_sent_twice_is_one() {
    let place = Place::new(TINY);
    let out = place.out("run");
    let mut run = started(&mut command(&place.first(&out, &["--images", "100000000"])));
    until("a step", &mut run, || out.join("log.jsonl").is_file() && !log(&out).is_empty());
    let id = run.id().to_string();
    assert!(
        Command::new("bash")
            .args(["-c", "kill -TERM $0; kill -TERM $0; kill -HUP $0", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(ends(run).status.code(), Some(130));
    assert!(out.join("model.safetensors").is_file() && out.join("report.html").is_file());
}

/// What is ignored at the start, by `nohup` or a shell's `&`, stays so.
#[test]
fn ignored_signals_stay_ignored() {
    let place = Place::new(TINY);
    for (trap, signals) in [("trap '' HUP", &["-HUP"][..]), ("trap '' INT HUP", &["-INT", "-HUP"])] {
        let out = place.out("run");
        let _ = fs::remove_dir_all(&out);
        let mut run = started(&mut shell(trap, &place.first(&out, &["--images", "100000000"])));
        until("a step", &mut run, || out.join("log.jsonl").is_file() && !log(&out).is_empty());
        for signal in signals {
            send(signal, &run);
        }
        let lines = log(&out).len();
        until("steps after the signals", &mut run, || log(&out).len() >= lines + 5);
        send("-TERM", &run);
        assert_eq!(ends(run).status.code(), Some(130), "{trap}");
    }
}

/// A limit on the size of files is an error of whatever writes, and leaves no part of a file.
#[test]
fn files_may_be_limited() {
    let place = sample::Place::pictures();
    let rows: Vec<f32> = (0..640).map(|i| (i as f32 * 0.618).fract()).collect();
    npy::write(place.file("rows.npy"), &Array { shape: vec![160, 4], values: Values::F32(rows) }).unwrap();
    let (rows, out, run) = (place.file("rows.npy"), place.file("out"), place.file("run"));
    let model = place.model.as_str();
    let commands: [(&str, &[&str]); 4] = [
        ("0", &["evaluate", "--real-features", &rows, "--generated-features", &rows, "--json", &out]),
        ("1", &["sample", "--device", "cpu", "--model", model, "--seeds", "0-7", "--steps", "2", "--output", &out]),
        ("1", &["classifier", "--data", "digits", "--epochs", "1", "--channels", "4", "--output", &out]),
        (
            "8",
            &[
                "train",
                "--data",
                "digits",
                "--steps",
                "1",
                "--device",
                "cpu",
                "--set",
                "model.model_channels=8",
                "--out",
                &run,
            ],
        ),
    ];
    for (limit, args) in commands {
        let output = shell(&format!("ulimit -f {limit}"), args).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains("error: ") && error.contains("File too large"), "{args:?}: {error}");
        nothing_half_written(place.dir.path());
        assert!(!Path::new(&out).exists(), "{args:?}");
    }
}

const FEW_STEPS: [&str; 6] = ["bench", "--quick", "--op", "add", "--dtype", "f32"];

#[test]
fn the_number_of_threads_is_taken_at_its_word_or_said() {
    let with = |value: &str| command(&FEW_STEPS).env("RAYON_NUM_THREADS", value).output().unwrap();
    for (value, says) in
        [("", "is empty"), ("0", "is 0"), ("100000", "is 100000"), ("99999999999999999999", "threads are started")]
    {
        let output = with(value);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{value:?}: {said}");
        assert_eq!(said.lines().filter(|line| line.contains("RAYON_NUM_THREADS")).count(), 1, "{value:?}: {said}");
        assert!(said.contains(says), "{value:?}: {said}");
    }
    for value in ["abc", "-1", "1.5", "2 threads"] {
        let output = with(value);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{value:?}: {error}");
        assert!(error.contains(&format!("RAYON_NUM_THREADS is `{value}`")) && error.lines().count() == 1, "{error}");
    }
    let output = with("3");
    let fewer = std::thread::available_parallelism().is_ok_and(|processors| processors.get() < 3);
    assert_eq!(text(&output.stderr).contains("RAYON_NUM_THREADS is 3, more than the"), fewer, "{output:?}");
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("3 threads"), "{output:?}");
}

/// A user who may have no more processes: not even one thread can be started, and results are the same.
#[test]
fn without_threads_there_is_one() {
    // Limits on processes do not hold for root, who can become somebody without processes instead.
    let root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    let nobody = if root { "exec setpriv --reuid 64987 --regid 64987 --clear-groups --inh-caps=-all" } else { "exec" };
    let script = format!("ulimit -u 1; {nobody} \"$0\" \"$@\"");
    let limited = |program: &Path, args: &[&str]| {
        Command::new("bash").arg("-c").arg(&script).arg(program).args(args).output().unwrap()
    };
    if !limited(locate::program().as_ref(), &["--version"]).status.success() {
        println!("left out: no user without processes can be had here");
        return;
    }
    let output = limited(locate::program().as_ref(), &FEW_STEPS);
    let (said, figures) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success() && !said.contains("panicked"), "{said}");
    assert!(said.contains("threads were to be started") && said.contains("going on with the calling one"), "{said}");
    assert!(figures.contains("1 thread"), "{figures}");
}
