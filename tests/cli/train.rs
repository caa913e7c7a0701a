use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use veridical::Device;
use veridical::diffusion::Model;
use veridical::train::RunConfig;

use super::{command, fails, succeeds};

/// A network so small that a step takes milliseconds.
const TINY: &str = r#"
[data]
path = "digits"
[model]
model_channels = 8
channel_mult = [1]
num_blocks = 1
attn_resolutions = []
dropout = 0.1
[augment]
p = 0.3
[optimizer]
warm_up = 200
[average]
half_life = 500
ramp = 0.1
[train]
device = "cpu"
batch = 8
micro_batch = 4
images = 480
log_every = 5
sample_every = 0
checkpoint_every = 5
keep_last = 3
[sampling]
steps = 2
columns = 2
"#;

struct Place {
    dir: TempDir,
    config: PathBuf,
}

impl Place {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        fs::write(&file, config).unwrap();
        Place { config: file, dir }
    }
    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn first<'a>(&'a self, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        [&["train", "--config", self.config.to_str().unwrap(), "--out", out.to_str().unwrap()], more].concat()
    }
}

fn resume<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--resume", "--out", out.to_str().unwrap()], more].concat()
}

fn steps_of(out: &Path) -> Vec<String> {
    let entries = fs::read_dir(out.join("checkpoints")).map(|dir| dir.map(|e| e.unwrap().file_name()).collect());
    let mut names: Vec<std::ffi::OsString> = entries.unwrap_or_default();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

/// Everything that a run leaves and that does not hold times.
fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
    let last = steps_of(out).pop().unwrap();
    let mut files: Vec<PathBuf> =
        fs::read_dir(out.join("checkpoints").join(last)).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.push(out.join("model.safetensors"));
    files.extend(fs::read_dir(out.join("samples")).unwrap().map(|e| e.unwrap().path()));
    let name = |path: &Path| path.strip_prefix(out).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

fn assert_same(a: &Path, b: &Path) {
    let (a, b) = (results(a), results(b));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert!(a == b, "{name} differs");
    }
}

fn log(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_leaves_everything_it_promises() {
    let place = Place::new(TINY);
    let out = place.out("run");
    let more =
        ["--set", "train.sample_every=20", "--set", "average.power=[0.05, 0.1]", "--set", "average.snapshot_every=80"];
    let shown = succeeds(&place.first(&out, &more));
    assert!(shown.contains("finished after 60 steps") && shown.contains("model.safetensors"), "{shown}");
    assert_eq!(steps_of(&out), ["step-000000050", "step-000000055", "step-000000060"]);
    let samples: Vec<_> = fs::read_dir(out.join("samples")).unwrap().collect();
    assert_eq!(samples.len(), 3);
    let ticks = log(&out);
    assert_eq!(
        ticks.iter().map(|t| t["step"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=12).map(|i| 5 * i).collect::<Vec<_>>()
    );
    assert!(ticks.iter().all(|t| t["loss"].as_f64().unwrap() > 0.0 && t["images_per_second"].as_f64().unwrap() > 0.0));
    assert_eq!(ticks[11]["seen"], 480);
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        report.contains("The run is finished. 480 of 480 images")
            && !report.contains("NaN")
            && !report.contains("http")
    );
    assert_eq!(report.matches("<img ").count(), 3 + 4, "three pictures of samples, four charts");

    // The model's files are models, with the label that the augmentation makes and the classes of the data.
    let model = Model::load(out.join("model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!((model.denoiser().label_dim(), model.denoiser().augment_dim()), (10, 9));

    // Its settings are complete and make the same run again.
    let again = place.out("again");
    let config = out.join("config.toml");
    succeeds(&["train", "--config", config.to_str().unwrap(), "--out", again.to_str().unwrap()]);
    assert_same(&out, &again);
    assert_eq!(fs::read(&config).unwrap(), fs::read(again.join("config.toml")).unwrap());

    // Averages afterwards: of a stored width at the end it is the stored average; between two, neither.
    let ema = |std: &str| {
        let path = place.out("ema.safetensors");
        let run = out.to_str().unwrap();
        succeeds(&["ema", "--run", run, "--std", std, "--output", path.to_str().unwrap()]);
        Model::load(path, &Device::Cpu).unwrap().weights.flat().to_f64().unwrap()
    };
    let stored = |width: &str| {
        let path = out.join(format!("checkpoints/step-000000060/ema-{width}.safetensors"));
        Model::load(path, &Device::Cpu).unwrap().weights.flat().to_f64().unwrap()
    };
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(distance(&ema("0.05"), &stored("0.050")) < 1e-6);
    assert!(distance(&ema("0.1"), &stored("0.100")) < 1e-6);
    let between = ema("0.07");
    assert!(distance(&between, &stored("0.050")) > 1e-5 && distance(&between, &stored("0.100")) > 1e-5);
    let run = out.to_str().unwrap();
    let both = place.out("both.safetensors");
    let shown =
        succeeds(&["ema", "--run", run, "--std", "0.06,0.12", "--images", "400", "--output", both.to_str().unwrap()]);
    assert!(shown.lines().count() == 2 && place.out("both-0.12.safetensors").is_file());
    let nowhere = ["ema", "--run", run, "--std", "0.1", "--images", "9999", "--output", "x"];
    assert!(fails(2, &nowhere).contains("reach from 80 to 480"));
    assert!(fails(2, &["ema", "--run", run, "--std", "0.5", "--output", "x"]).contains("between 0 and 0.3"));

    assert!(fails(2, &place.first(&out, &[])).contains("--resume"));
    assert!(out.join("model.safetensors").exists());
}

/// A child is killed at moments that nobody chose, and taken up again, until it is through.
#[cfg(unix)]
#[test]
fn killed_and_resumed_is_the_same_as_never_stopped() {
    let place = Place::new(TINY);
    let straight = place.out("straight");
    let began = Instant::now();
    succeeds(&place.first(&straight, &[]));
    let whole = began.elapsed();

    let out = place.out("killed");
    let (mut kills, mut starts) = (0, 0u64);
    loop {
        let started = out.join("checkpoints").is_dir() && !steps_of(&out).iter().all(|name| name.starts_with('.'));
        let overwrite = place.first(&out, &["--overwrite"]);
        let first = place.first(&out, &[]);
        let args = match (started, out.join(".veridical-run").exists()) {
            (true, _) => resume(&out, &[]),
            (false, true) => overwrite,
            (false, false) => first,
        };
        let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Some seven parts of a run, each of another length; the last ones are allowed to finish.
        starts += 1;
        let part = whole.mul_f64(0.15 + 0.35 * ((starts * 7919 % 101) as f64 / 101.0));
        let began = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if starts <= 12 && began.elapsed() > part {
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

#[test]
fn one_thread_or_many_make_the_same_model() {
    let place = Place::new(&TINY.replace("images = 480", "images = 80"));
    let outs = ["1", "3"].map(|threads| {
        let out = place.out(threads);
        let run = command(&place.first(&out, &[])).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(run.status.success(), "{run:?}");
        out
    });
    assert_same(&outs[0], &outs[1]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_makes_a_checkpoint_to_go_on_from() {
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
    assert!(std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
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
        "trap '' XFSZ; ulimit -f 20; exec {} train --resume --out {} --steps 10",
        env!("CARGO_BIN_EXE_veridical"),
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
    for says in ["no checkpoint is whole", "format 99", "step-000000015", "missing field"] {
        assert!(error.contains(says), "{error}");
    }
    fs::remove_dir_all(out.join("checkpoints")).unwrap();
    assert!(fails(2, &resume(&out, &[])).contains("no checkpoint to resume from"));
}

#[test]
fn a_checkpoint_of_something_else_is_refused_by_name() {
    let place = Place::new(&TINY.replace("images = 480", "images = 40"));
    let out = place.out("run");
    succeeds(&place.first(&out, &[]));
    for (setting, says) in [
        ("model.model_channels=16", "model.model_channels is 8 there and 16 here"),
        ("optimizer.lr=0.5", "optimizer.lr is"),
        ("average.power=[0.1]", "average.power is [] there"),
        ("train.seed=4", "train.seed is 0 there and 4 here"),
        ("data.labels=false", "data.labels is true there"),
    ] {
        let more = ["--set", setting, "--set", "model.label_dim=10"];
        let more = if setting.starts_with("data") { &more[..2] } else { &more[..] };
        let error = fails(2, &resume(&out, more));
        // Without labels the network has no classes, which the settings contradict first.
        let contradicted = setting.starts_with("data") && error.contains("model.label_dim is 10");
        assert!(error.contains(says) || contradicted, "{setting}: {error}");
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
fn impossible_wishes_are_refused_before_anything_is_written() {
    let place = Place::new(TINY);
    for (setting, says) in [
        ("train.colour=1", "unknown key train.colour"),
        ("colour.red=1", "unknown section [colour]"),
        ("train=1", "section.key=value"),
        ("model.chanels=8", "chanels"),
        ("model.attn_resolutions=[5]", "attn_resolutions"),
        ("model.channel_mult=[1, 1, 1, 1, 1]", "channel_mult"),
        ("model.dropout=1.5", "dropout"),
        ("model.img_resolution=16", "model.img_resolution is 16, but the data have 8"),
        ("model.model_type=\"GPT\"", "model_type"),
        ("loss.kind=\"vlb\"", "`vlb` is no loss"),
        ("train.batch=0", "train.batch = 0"),
        ("train.batch=\"many\"", "batch"),
        ("train.compute=\"f16\"", "f32 and bf16"),
        ("train.device=\"tpu\"", "`tpu` is no device"),
        ("optimizer.lr=-1", "optimizer.lr = -1"),
        ("optimizer.schedule=\"linear\"", "optimizer.schedule"),
        ("augment.p=2", "[0, 1]"),
        ("average.power=[0.7]", "average.power"),
        ("sampling.sigma_min=100", "sampling.sigma_min"),
        ("data.path=\"\"", "--data"),
        ("data.path=\"/no/such/place\"", "no such file"),
    ] {
        let out = place.out("run");
        let error = fails(2, &place.first(&out, &["--set", setting]));
        assert!(error.contains(says), "{setting}: {error}");
        assert!(!out.exists(), "{setting} left a directory");
    }
    let out = place.out("run");
    assert!(fails(2, &place.first(&out, &["--preset", "cifar11"])).contains("cifar10-ddpmpp"));
    assert!(fails(2, &place.first(&out, &["--minutes=-1"])).contains("minutes"));
    assert!(fails(2, &resume(&out, &[])).contains("no run of veridical"));
    fs::write(&place.config, "[train]\nbatch = 3\nbatch = 4\n").unwrap();
    assert!(fails(2, &place.first(&out, &[])).contains("batch"));
}

#[test]
fn every_preset_writes_itself_out() {
    for preset in veridical::train::config::preset_names() {
        let text = succeeds(&["train", "--preset", preset, "--print-config"]);
        let config: RunConfig = toml::from_str(&text).unwrap_or_else(|e| panic!("{preset}: {e}"));
        assert_eq!(config.document().unwrap().trim_end(), text.trim_end(), "{preset}");
        for says in ["# Learning rate.\nlr = ", "[model]", "precond = \"edm\"", "dropout"] {
            assert!(text.contains(says) || *preset == "points" && says == "dropout", "{preset}: no {says}");
        }
    }
    let changed = succeeds(&["train", "--print-config", "--preset", "fashion", "--set", "loss.p_std=2", "--seed", "9"]);
    assert!(changed.contains("p_std = 2.0") && changed.contains("seed = 9") && changed.contains("img_resolution = 28"));
}

#[test]
fn a_run_that_diverges_says_where_and_what_is_left() {
    let config = TINY.replace("[optimizer]", "[optimizer]\nlr = 1e30").replace("warm_up = 200", "warm_up = 0");
    let place = Place::new(&config);
    let error = fails(1, &place.first(&place.out("run"), &[]));
    assert!(error.contains("of step") && error.contains("not finite") && error.contains("checkpoint"), "{error}");
    assert!(!place.out("run").join("model.safetensors").exists());
}

#[test]
fn points_of_a_known_density_are_learned_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    succeeds(&[
        "train",
        "--preset",
        "points",
        "--steps",
        "30",
        "--device",
        "cpu",
        "--set",
        "train.batch=50",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(out.join("report.html").is_file() && !out.join("samples").exists());
    let shown = succeeds(&[
        "train",
        "--preset",
        "points",
        "--minutes",
        "0",
        "--device",
        "cpu",
        "--out",
        dir.path().join("no").to_str().unwrap(),
    ]);
    assert!(shown.contains("out of time after 0 steps"), "{shown}");
}
