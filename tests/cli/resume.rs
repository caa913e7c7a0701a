//! Runs that were stopped, killed or damaged, and go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use veridical::Device;
use veridical::diffusion::Model;

use super::training::{Place, TINY, assert_same, log, results, resume, steps_of};
use super::{command, fails, succeeds};

#[cfg(unix)]
#[test]
fn killed_and_resumed_is_the_same_as_never_stopped() {
    killed_and_resumed(TINY);
}

/// A child is killed here and there, in the middle of whatever it does, and taken up again, until it is through.
#[cfg(unix)]
pub fn killed_and_resumed(settings: &str) {
    let place = Place::new(settings);
    let straight = place.out("straight");
    succeeds(&place.first(&straight, &[]));

    let out = place.out("killed");
    let lines = || fs::read_to_string(out.join("log.jsonl")).unwrap_or_default().lines().count();
    let (mut kills, mut starts) = (0, 0u64);
    loop {
        // The settings are the first thing that a run writes; before that there is nothing to go on with.
        let args = match out.join("config.toml").is_file() {
            true => resume(&out, &[]),
            false => place.first(&out, &["--overwrite"]),
        };
        // The first one dies as soon as there are settings, the others some lines of the log and some milliseconds
        // later, so that steps, logs and checkpoints are hit. The last ones are allowed to finish.
        starts += 1;
        let target = lines() as u64 + (starts - 1) % 3;
        let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if starts <= 10 && out.join("config.toml").is_file() && lines() as u64 >= target {
                std::thread::sleep(Duration::from_millis(starts * 7919 % 23));
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        match ended {
            Some(status) => {
                assert!(status.success(), "{status}");
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    println!("{kills} kills in {starts} starts");
    assert!(kills >= 1, "the run was never killed");
    assert_same(&straight, &out);
    assert_eq!(log(&straight).len(), log(&out).len());
    for (a, b) in log(&straight).iter().zip(log(&out)) {
        assert_eq!((&a["step"], &a["loss"], &a["gradient_norm"]), (&b["step"], &b["loss"], &b["gradient_norm"]));
    }
}

#[cfg(unix)]
#[test]
fn a_stop_makes_a_checkpoint_to_go_on_from() {
    let place = Place::new(TINY);
    let out = place.out("run");
    let mut run = command(&place.first(&out, &["--images", "100000000"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while fs::read_to_string(out.join("log.jsonl")).unwrap_or_default().lines().count() < 2 {
        assert!(run.try_wait().unwrap().is_none(), "the run ended by itself");
        assert!(began.elapsed().as_secs() < 120, "no step in two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Not by -INT, which a shell's `&` makes its commands ignore, and with them those that they start.
    assert!(std::process::Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("--resume"));
    let made: u64 = steps_of(&out).pop().unwrap()["step-".len()..].parse().unwrap();
    assert!(out.join("model.safetensors").is_file());

    // On to a number of steps that is not that of the interrupted run, and the same as straight there.
    let steps = (made + 7).to_string();
    succeeds(&resume(&out, &["--steps", &steps]));
    let straight = place.out("straight");
    succeeds(&place.first(&straight, &["--steps", &steps]));
    let read = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    assert!(read(&out) == read(&straight), "stopped after {made} of {steps} steps");
}

/// Files may not grow beyond a limit, as on a full disk: the checkpoint fails with its name, the one before stays good.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let place = Place::new(&TINY.replace("keep_last = 3", "keep_last = 1"));
    let out = place.out("run");
    succeeds(&place.first(&out, &["--steps", "5"]));
    let before = results(&out);
    let script = format!(
        "ulimit -f 20; exec {} train --resume --out {} --steps 10",
        super::locate::program().display(),
        out.display()
    );
    let full = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let error = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(1), "{error}");
    assert!(error.contains("step-000000010") && error.contains("last good checkpoint is"), "{error}");
    assert_eq!(steps_of(&out), ["step-000000005"], "nothing half-written stays");
    let kept = |files: &[(String, Vec<u8>)]| {
        files.iter().filter(|(name, _)| name.contains("step-")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&results(&out)), kept(&before));

    succeeds(&resume(&out, &["--steps", "10"]));
    let straight = place.out("straight");
    succeeds(&place.first(&straight, &["--steps", "10"]));
    let model = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    assert!(model(&out) == model(&straight));
}

#[test]
fn torn_and_foreign_checkpoints_are_told_from_good_ones() {
    let place = Place::new(&TINY.replace("images = 480", "images = 160"));
    let out = place.out("run");
    succeeds(&place.first(&out, &[]));
    assert_eq!(steps_of(&out), ["step-000000010", "step-000000015", "step-000000020"]);
    let finished = results(&out);

    // The newest is torn, the next is another step's: both are named, and the third is gone on from.
    let newest = out.join("checkpoints/step-000000020/ema.safetensors");
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let next = out.join("checkpoints/step-000000015");
    fs::remove_dir_all(&next).unwrap();
    fs::create_dir(&next).unwrap();
    for entry in fs::read_dir(out.join("checkpoints/step-000000010")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, next.join(path.file_name().unwrap())).unwrap();
    }
    // What a killed process leaves is swept away.
    fs::create_dir(out.join("checkpoints/.partial-step-000000025-1")).unwrap();
    let run = command(&resume(&out, &[])).output().unwrap();
    let notes = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{notes}");
    assert!(notes.contains("ema.safetensors") && notes.contains("torn"), "{notes}");
    assert!(notes.contains("the directory of step 15 holds step 10"), "{notes}");
    assert!(notes.contains("going on from") && notes.contains("step-000000010"), "{notes}");
    assert_eq!(results(&out).last(), finished.last());
    assert!(results(&out) == finished && steps_of(&out).len() == 3);

    // All of them damaged in some way: an error that names every one.
    for (name, damage) in [("10", "{\"format\": 99}"), ("15", "not json"), ("20", "{\"format\": 1}")] {
        fs::write(out.join(format!("checkpoints/step-0000000{name}/state.json")), damage).unwrap();
    }
    let error = fails(1, &resume(&out, &[]));
    for says in
        ["no checkpoint is whole", "format 99, but this version reads 1 and 2", "step-000000015", "missing field"]
    {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_checkpoint_of_something_else_is_refused_by_name() {
    let place = Place::new(&TINY.replace("images = 480", "images = 40"));
    let out = place.out("run");
    succeeds(&place.first(&out, &[]));
    for (setting, says) in [
        ("model.model_channels=16", "model.model_channels is 8 there and 16 here"),
        ("optimizer.name=\"sgd\"", "optimizer.name is"),
        ("average.power=[0.1]", "average.power is [] there"),
        ("train.seed=4", "train.seed is 0 there and 4 here"),
        ("data.labels=false", "data.labels is true there"),
    ] {
        let more = ["--set", setting, "--set", "model.label_dim=10"];
        let more = if setting.starts_with("data") { &more[..2] } else { &more[..] };
        let error = fails(2, &resume(&out, more));
        // Without labels the network has no classes, which the settings contradict first.
        let contradicted = setting.starts_with("data") && error.contains("model.label_dim is 10");
        assert!(error.contains(says) && error.contains("--init") || contradicted, "{setting}: {error}");
    }
    // Other data of the same kind: ten grey pictures of 8 by 8.
    let other = place.out("other.npz");
    let pictures = veridical::data::npy::Array {
        shape: vec![10, 8, 8],
        values: veridical::data::npy::Values::F32((0..640).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect()),
    };
    let labels =
        veridical::data::npy::Array { shape: vec![10], values: veridical::data::npy::Values::I64((0..10).collect()) };
    let arrays = [("images".to_string(), pictures), ("labels".to_string(), labels)].into();
    veridical::data::npy::write_npz(&other, &arrays).unwrap();
    let error = fails(2, &resume(&out, &["--data", other.to_str().unwrap()]));
    assert!(error.contains("other data: 1500x8x8x1") && error.contains("10x8x8x1"), "{error}");
}

#[test]
fn a_finished_run_is_made_longer_where_the_schedule_allows_it_and_else_says_how_to_go_on() {
    let steps = |place: &Place, out: &Path, first: &str, then: &[&str]| {
        succeeds(&place.first(out, &["--steps", first]));
        succeeds(&resume(out, then));
    };
    // As if it had been meant to be so long from the start, but for the picture that it ended with first.
    let model = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    let constant = Place::new(TINY);
    let (longer, straight) = (constant.out("longer"), constant.out("straight"));
    steps(&constant, &longer, "5", &["--steps", "10"]);
    succeeds(&constant.first(&straight, &["--steps", "10"]));
    assert!(model(&longer) == model(&straight));
    // The fall of the learning rate begins where it did.
    let inverse = Place::new(&TINY.replace("warm_up = 200", "warm_up = 8\nschedule = \"inverse-sqrt\""));
    let (longer, straight) = (inverse.out("longer"), inverse.out("straight"));
    steps(&inverse, &longer, "5", &["--steps", "10", "--set", "optimizer.schedule_images=40"]);
    succeeds(&inverse.first(&straight, &["--steps", "10", "--set", "optimizer.schedule_images=40"]));
    assert!(model(&longer) == model(&straight));
    // A schedule that depends on the length becomes another one, which is told.
    let told = notes(&resume(&longer, &["--steps", "12", "--set", "optimizer.schedule_images=0"]));
    assert!(told.contains("a branch of the run from step 10 on: optimizer.schedule_images = 96 (was 40)"), "{told}");
    let cosine = Place::new(&TINY.replace("warm_up = 200", "schedule = \"cosine\""));
    let out = cosine.out("run");
    steps(&cosine, &out, "5", &["--steps", "5"]);
    let told = notes(&resume(&out, &["--steps", "10"]));
    assert!(told.contains("optimizer.schedule_images = 80 (was 40)"), "{told}");
}

/// What a command that succeeds says on its way.
pub fn notes(arguments: &[&str]) -> String {
    let run = command(arguments).output().unwrap();
    let notes = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{notes}");
    notes
}

/// Copies a checkpoint, for a test to damage it.
fn copy_step(out: &Path, from: u64, to: &str) -> PathBuf {
    let checkpoints = out.join("checkpoints");
    let copy = checkpoints.join(to);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(checkpoints.join(format!("step-{from:09}"))).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn damaged_checkpoints_do_not_push_out_good_ones() {
    let place = Place::new(&TINY.replace("keep_last = 3", "keep_last = 1"));
    let out = place.out("run");
    succeeds(&place.first(&out, &["--steps", "5"]));
    for later in ["step-000000008", "step-000000009"] {
        fs::remove_file(copy_step(&out, 5, later).join("model.safetensors")).unwrap();
    }
    succeeds(&resume(&out, &["--steps", "7"]));
    assert_eq!(steps_of(&out), ["step-000000007", "step-000000008", "step-000000009"]);
    // What it came to is gone on from, over the steps of the damaged ones.
    succeeds(&resume(&out, &["--steps", "12"]));
    let straight = place.out("straight");
    succeeds(&place.first(&straight, &["--steps", "12"]));
    let model = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    assert!(model(&out) == model(&straight));
}

/// A process can die between a checkpoint and the picture and distances that are due at the same step.
#[test]
fn a_picture_that_was_not_drawn_any_more_is_made_up() {
    let place =
        Place::new(&TINY.replace("sample_every = 0", "sample_every = 5").replace("images = 480", "images = 80"));
    let more = ["--set", "sampling.measured=20"];
    let (straight, out) = (place.out("straight"), place.out("killed"));
    succeeds(&place.first(&straight, &more));
    succeeds(&place.first(&out, &more));
    // What is there at that moment: the log up to the step's own line, the checkpoint, nothing after it.
    let text = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let kept: Vec<&str> = text.lines().take_while(|line| !line.contains("\"kid\"")).collect();
    assert_eq!((kept.len(), text.lines().count()), (1, 4));
    fs::write(out.join("log.jsonl"), kept.join("\n") + "\n").unwrap();
    for made_later in ["checkpoints/step-000000010", "samples"] {
        fs::remove_dir_all(out.join(made_later)).unwrap();
    }
    fs::remove_file(out.join("model.safetensors")).unwrap();
    // And what another process was writing when it was killed.
    fs::write(out.join("checkpoints/.x.17.part"), "").unwrap();
    succeeds(&resume(&out, &[]));
    assert_same(&straight, &out);
    assert_eq!(fs::read_dir(out.join("samples")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(out.join("checkpoints")).unwrap().count(), 2);
    let figures = |out: &Path| {
        let line = |tick: &serde_json::Value| (tick["step"].clone(), tick["loss"].clone(), tick["kid"].clone());
        log(out).iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(figures(&straight), figures(&out));
}

/// A process can die between the two renames by which a checkpoint takes the place of another.
#[test]
fn a_checkpoint_that_was_being_replaced_comes_back() {
    let place = Place::new(TINY);
    let out = place.out("run");
    succeeds(&place.first(&out, &["--steps", "5"]));
    let checkpoints = out.join("checkpoints");
    fs::rename(checkpoints.join("step-000000005"), checkpoints.join(".replaced-step-000000005")).unwrap();
    let run = command(&resume(&out, &["--steps", "5"])).output().unwrap();
    let notes = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && notes.contains("going on from") && notes.contains("step-000000005"), "{notes}");
    assert_eq!(steps_of(&out), ["step-000000005"]);
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again() {
    let place = Place::new(TINY);
    let straight = place.out("straight");
    succeeds(&place.first(&straight, &["--steps", "10"]));
    let out = place.out("run");
    succeeds(&place.first(&out, &["--steps", "3"]));
    fs::remove_dir_all(out.join("checkpoints")).unwrap();
    let run = command(&resume(&out, &["--steps", "10"])).output().unwrap();
    let notes = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && notes.contains("from the beginning"), "{notes}");
    fs::remove_file(out.join("samples/000000000024.png")).unwrap();
    assert_same(&straight, &out);
    assert_eq!(log(&straight).len(), log(&out).len());
}

#[test]
fn what_is_only_shown_does_not_stop_a_run() {
    let place = Place::new(TINY);
    let out = place.out("run");
    succeeds(&place.first(&out, &["--steps", "5"]));
    fs::write(out.join("log.jsonl"), "{}\nnot json\n").unwrap();
    fs::write(out.join("samples/1.png"), "no picture").unwrap();
    let run = command(&resume(&out, &["--steps", "10"])).output().unwrap();
    let notes = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && notes.contains("the log begins again") && notes.contains("line 2"), "{notes}");
    assert!(log(&out).iter().any(|tick| tick["step"] == 10));
}

#[test]
fn averages_do_not_depend_on_where_a_run_stopped() {
    let place = Place::new(TINY);
    let more = ["--set", "average.power=[0.05, 0.1]", "--set", "average.snapshot_every=64"];
    let average = |out: &Path| {
        let path = place.out("ema.safetensors");
        let (run, output) = (out.to_str().unwrap(), path.to_str().unwrap());
        succeeds(&["ema", "--run", run, "--std", "0.07", "--output", output]);
        Model::load(path, &Device::Cpu).unwrap().weights.flat().to_vec::<f32>().unwrap()
    };
    let (straight, stopped) = (place.out("straight"), place.out("stopped"));
    succeeds(&place.first(&straight, &[&more[..], &["--steps", "20"]].concat()));
    succeeds(&place.first(&stopped, &[&more[..], &["--steps", "13"]].concat()));
    succeeds(&resume(&stopped, &["--steps", "20"]));
    assert!(average(&straight) == average(&stopped));
}
