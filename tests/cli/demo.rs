use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{command, fails, has_cuda};

/// A network and a run so small that they end in a second; what they draw is noise.
const TINY: &str = "device = \"cpu\"\nsteps = 12\nbatch = 4\nmodel_channels = 8\nchannel_mult = [1]\nattn_resolutions = []\n\
                    sampler_steps = 2\nper_class = 2\nclassifier_epochs = 1\ngame_iterations = 2\n";

const FILES: [&str; 11] = [
    ".veridical-run",
    "config.toml",
    "denoised.png",
    "few",
    "log.jsonl",
    "loss.png",
    "metrics.json",
    "model.safetensors",
    "report.html",
    "samples.png",
    "sfbd",
];

struct Place {
    dir: TempDir,
    config: String,
    out: PathBuf,
}

impl Place {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        fs::write(&file, config).unwrap();
        Place { config: file.to_str().unwrap().into(), out: dir.path().join("run"), dir }
    }

    fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["demo", "--config", &self.config, "--out", self.out.to_str().unwrap()], more].concat()
    }

    fn run(&self, more: &[&str]) -> String {
        super::succeeds(&self.args(more))
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn check_results(out: &Path) -> Value {
    let metrics = json(&out.join("metrics.json"));
    assert_eq!(names(out), FILES.map(String::from).into());
    let stages = metrics["noisy"].as_array().unwrap();
    assert_eq!(stages.len(), 1 + 3 + 1, "clean only, three rounds, the ceiling");
    assert!(stages.iter().all(|stage| stage["kid"].is_number() && stage["swd"].as_f64().unwrap() > 0.0));
    assert!(stages[1..4].iter().all(|stage| stage["rms_error"].as_f64().unwrap() > 0.0));
    for key in ["kid_before", "kid_after", "swd_before", "swd_after", "classifier_accuracy", "seconds"] {
        assert!(metrics[key].as_f64().is_some_and(f64::is_finite), "{key} of {metrics}");
    }
    for share in
        [&metrics["classifier_accuracy"], &metrics["few"]["alone"], &metrics["few"]["game"], &metrics["few"]["read"]]
    {
        assert!((0.0..=1.0).contains(&share.as_f64().unwrap()), "{metrics}");
    }
    assert!(metrics["seconds"].as_f64().unwrap() > 0.0);
    for picture in ["samples.png", "loss.png"] {
        let picture = image::open(out.join(picture)).unwrap();
        assert!(picture.width() > 300 && picture.height() > 200);
    }
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("data:image/png;base64,") && !report.contains("NaN"));
    metrics
}

#[test]
fn a_run_leaves_everything_it_promises() {
    let place = Place::new(TINY);
    let shown = place.run(&["--seed", "3"]);
    let metrics = check_results(&place.out);
    assert!(shown.contains("KID") && shown.contains("report.html"), "{shown}");
    assert!(shown.contains("from 60 clean and 1440 noisy digits") && shown.contains("ceiling"), "{shown}");
    assert!(shown.contains("from 50 labelled digits, and 1450 without"), "{shown}");
    assert_eq!((metrics["steps"].as_u64(), metrics["interrupted"].as_bool()), (Some(12), Some(false)));

    let log = fs::read_to_string(place.out.join("log.jsonl")).unwrap();
    let ticks: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ticks.iter().map(|tick| tick["step"].as_u64().unwrap()).collect::<Vec<_>>(), [10, 12]);
    assert!(ticks.iter().all(|tick| tick["loss"].as_f64().unwrap() > 0.0));
    assert_eq!(ticks[1]["seen"], 48);

    // The model file is one that the library reads and samples from.
    let model =
        veridical::diffusion::Model::load(place.out.join("model.safetensors"), &veridical::Device::Cpu).unwrap();
    let sampler = veridical::diffusion::Sampler { steps: 2, ..Default::default() };
    let digits = sampler.sample_classes(&model, 3, 0, &[4, 7]).unwrap();
    assert_eq!(digits.shape()[..], [2, 8, 8, 1]);
}

#[test]
fn its_settings_file_runs_it_again_bit_for_bit() {
    let place = Place::new(TINY);
    place.run(&["--seed", "5", "--steps", "3"]);
    let read = |name: &str| fs::read(place.out.join(name)).unwrap();
    let (model, settings) = (read("model.safetensors"), read("config.toml"));

    let again = place.dir.path().join("again");
    let config = place.out.join("config.toml");
    super::succeeds(&["demo", "--config", config.to_str().unwrap(), "--out", again.to_str().unwrap()]);
    assert!(fs::read(again.join("model.safetensors")).unwrap() == model, "the same settings, another model");
    assert_eq!(fs::read(again.join("config.toml")).unwrap(), settings);

    // A new run takes the place of the old one, and another seed makes another model.
    place.run(&["--seed", "6", "--steps", "3"]);
    assert!(read("model.safetensors") != model);
    check_results(&place.out);
}

/// Bad settings must be noticed before anything is made.
#[test]
fn impossible_wishes_are_refused_before_anything_is_written() {
    let untouched = |code: i32, config: &str, more: &[&str], says: &str| {
        let place = Place::new(config);
        let error = fails(code, &place.args(more));
        assert!(error.contains(says), "{error}");
        assert!(!place.out.exists(), "{more:?} left a directory");
    };
    for flags in [&["--device", "tpu"][..], &["--steps", "0"], &["--steps", "many"], &["--seed=-1"], &["--colour"]] {
        untouched(2, TINY, flags, flags[0].trim_end_matches("=-1"));
    }
    if !has_cuda() {
        untouched(1, TINY, &["--device", "cuda"], "no cuda:0 device: ");
    }
    if cfg!(not(feature = "emulator")) {
        untouched(1, TINY, &["--device", "emulator"], "--features emulator");
    }
    for (config, says) in [
        ("steps = 0", "steps = 0, expected 1 to"),
        ("step = 5", "unknown field"),
        ("learning_rate = -1.0", "learning_rate = -1"),
        ("learning_rate = nan", "learning_rate = NaN"),
        ("steps = ", "settings.toml"),
        ("device = \"tpu\"", "`tpu` is no device"),
        ("attn_resolutions = [5]", "attn_resolutions"),
        ("channel_mult = []", "channel_mult"),
        ("dropout = 1.5", "dropout"),
    ] {
        let place = Place::new(config);
        let output = command(&place.args(&[])).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{config}: {error}");
        assert!(error.contains(says), "{config}: {error}");
        assert!(!place.out.exists(), "{config} left a directory");
    }
    let place = Place::new(TINY);
    let missing = place.dir.path().join("none.toml");
    assert!(fails(1, &["demo", "--config", missing.to_str().unwrap()]).contains("none.toml"));
}

#[test]
fn directories_that_are_not_its_own_are_left_alone() {
    let place = Place::new(TINY);
    fs::create_dir(&place.out).unwrap();
    fs::write(place.out.join("thesis.tex"), "years").unwrap();
    assert!(fails(2, &place.args(&[])).contains("overwrite"));
    assert_eq!(names(&place.out), BTreeSet::from(["thesis.tex".into()]));
    place.run(&["--overwrite", "--steps", "1"]);
    assert!(place.out.join("thesis.tex").exists() && place.out.join("metrics.json").exists());

    // A file where the directory should be.
    let file = place.dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let below = file.join("run");
    assert!(fails(2, &["demo", "--out", below.to_str().unwrap()]).contains("give a directory"));
}

#[cfg(unix)]
#[test]
fn a_directory_without_permission_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new(TINY);
    let locked = place.dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write everywhere, except where nobody can.
    let root = fs::write(locked.join("probe"), "").is_ok();
    let out = if root { PathBuf::from("/proc/veridical") } else { locked.join("run") };
    let error = fails(1, &["demo", "--out", out.to_str().unwrap()]);
    assert!(error.contains(out.to_str().unwrap()), "{error}");
}

/// A loss that is not finite ends the run, says where, and leaves no model.
#[test]
fn a_run_that_diverges_says_so() {
    let place =
        Place::new(&TINY.replace("steps = 12", "steps = 500\nlearning_rate = 1e30\nwarm_up = 0\nmax_norm = 1e30"));
    let error = fails(1, &place.args(&[]));
    assert!(error.contains("of step") && error.contains("not finite") && error.contains("learning rate"), "{error}");
    for made_last in ["model.safetensors", "metrics.json", "samples.png"] {
        assert!(!place.out.join(made_last).exists(), "{made_last}");
    }
}

/// Starts a run that would take for ever, waits until it has logged a step, and stops it.
#[cfg(unix)]
#[test]
fn a_stop_keeps_what_was_learned() {
    use std::process::Stdio;
    let place = Place::new(TINY);
    let args = place.args(&["--steps", "10000000"]);
    let mut run = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = std::time::Instant::now();
    while fs::read_to_string(place.out.join("log.jsonl")).unwrap_or_default().lines().count() < 2 {
        assert!(run.try_wait().unwrap().is_none(), "the run ended by itself");
        assert!(started.elapsed().as_secs() < 120, "no step in two minutes");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Not by -INT, which a shell's `&` makes its commands ignore, and with them those that they start.
    let killed = std::process::Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopping: what was learned is kept"), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("stopped after ") && said.contains("veridical sample --model"), "{said}");
    let kept = [".veridical-run", "config.toml", "log.jsonl", "model.safetensors"];
    assert_eq!(names(&place.out), kept.into_iter().map(String::from).collect());
    let (model, picture) = (place.out.join("model.safetensors"), place.out.join("samples.png"));
    let (model, picture) = (model.to_str().unwrap(), picture.to_str().unwrap());
    super::succeeds(&[
        "sample", "--device", "cpu", "--model", model, "--steps", "2", "--seeds", "0-3", "--png", picture,
    ]);
}

#[cfg(feature = "emulator")]
#[test]
fn runs_on_the_emulator() {
    let fewer = TINY.replace("steps = 12", "steps = 2").replace("per_class = 2", "per_class = 1");
    let fewer =
        fewer.replace("sampler_steps = 2", "sampler_steps = 1").replace("model_channels = 8", "model_channels = 4");
    let place = Place::new(&fewer);
    let out = place.out.to_str().unwrap();
    super::succeeds(&["demo", "--device", "emulator", "--config", &place.config, "--out", out]);
    check_results(&place.out);
}
