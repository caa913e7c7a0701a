//! What the running average is of: from random weights it forgets its start, from trained ones it goes on from them at
//! its half-life, as under `--transfer` of EDM's code (`ema_rampup_ratio=None`), which that of SFBD starts every round
//! with.

use std::fs;
use std::path::Path;

use veridical::Device;
use veridical::diffusion::Model;
use veridical::methods::{FineTuning, Sfbd, presets};
use veridical::train::{Existing, Prepared, RunConfig, RunDir, RunOptions};

use super::runs::{data, settings};

const BATCH: f64 = 20.0;

/// Every step leaves its weights.
const EACH_STEP: [&str; 2] = ["train.checkpoint_every=1", "train.keep_last=1000"];

fn weights(path: &Path) -> Vec<f64> {
    Model::load(path, &Device::Cpu).unwrap().weights.flat().to_f64().unwrap()
}

/// `a <- beta a + (1 - beta) w` over the weights `w` that a run had after each of its steps, from the model `start` on;
/// `half_life` is that after so many images. Returns how far the model that the run ended with is from it, at most, and
/// from where it started.
fn deviation(run: &Path, start: &Path, half_life: &dyn Fn(f64) -> f64) -> (f64, f64) {
    let mut steps: Vec<_> = fs::read_dir(run.join("checkpoints")).unwrap().map(|e| e.unwrap().path()).collect();
    steps.sort();
    let from = weights(start);
    let mut average = from.clone();
    for step in &steps {
        let name = step.file_name().unwrap().to_str().unwrap();
        let number: f64 = name.strip_prefix("step-").unwrap().parse().unwrap();
        let beta = 0.5f64.powf(BATCH / half_life((number - 1.0) * BATCH).max(1e-8));
        let now = weights(&step.join("model.safetensors"));
        average.iter_mut().zip(now).for_each(|(a, w)| *a = beta * *a + (1.0 - beta) * w);
    }
    let end = weights(&run.join("model.safetensors"));
    let most = |other: &[f64]| end.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    (most(&average), most(&from))
}

fn is_that(run: &Path, start: &Path, half_life: &dyn Fn(f64) -> f64) {
    let (error, moved) = deviation(run, start, half_life);
    assert!(moved > 1e-3, "{}: the weights moved by {moved} only", run.display());
    assert!(error < 1e-6, "{}: off by {error}, of a movement of {moved}", run.display());
}

#[test]
fn rounds_go_on_from_the_averaged_weights_for_a_tenth_of_the_round() {
    let (data, dir) = (data(), tempfile::tempdir().unwrap());
    let run = |name: &str, more: &[&str]| {
        let all: Vec<&str> = EACH_STEP.iter().chain(&["average.half_life=200"]).chain(more).copied().collect();
        let at = dir.path().join(name);
        let place = RunDir::create(&at, Existing::Refuse).unwrap();
        Sfbd::new(&settings(&all), &data).unwrap().run(&place, RunOptions::default(), &mut ()).unwrap();
        let stage = move |k: u32| at.join(format!("rounds/{k:02}"));
        (stage(0), stage(1), stage(2))
    };
    let end = |stage: &Path| stage.join("model.safetensors");
    let ramp = |seen: f64| (0.1 * seen).min(200.0);

    let (pretrained, first, second) = run("fresh", &[]);
    // From nothing: by the ramp, which leaves nothing of where it started, so that any model will do.
    is_that(&pretrained, &end(&second), &ramp);
    is_that(&first, &end(&pretrained), &|_| 20.0);
    is_that(&second, &end(&first), &|_| 20.0);
    let said = fs::read_to_string(first.join("config.toml")).unwrap();
    assert!(said.contains("\nramp = 0.0") && said.contains("\nhalf_life = 20.0"), "{said}");

    // Never longer than what was asked for; and as long, if that is wished.
    let (pretrained, first, _) = run("short", &["average.half_life=10"]);
    is_that(&first, &end(&pretrained), &|_| 10.0);
    let (pretrained, first, _) = run("long", &["sfbd.half_life_share=5"]);
    is_that(&first, &end(&pretrained), &|_| 200.0);

    // What is kept is kept: the average is that of one long run.
    let (pretrained, first, _) = run("kept", &["sfbd.optimizer=\"kept\""]);
    is_that(&first, &end(&pretrained), &ramp);

    // A model that was given is where rounds, and the online variant, go on from.
    let model = format!("sfbd.model='{}'", end(&pretrained).display());
    let (_, first, _) = run("given", &[&model]);
    is_that(&first, &end(&pretrained), &|_| 20.0);
    let (online, ..) = run("online", &[&model, "online.enabled=true", "online.images=200"]);
    is_that(&online, &end(&pretrained), &|_| 200.0);
}

#[test]
fn fine_tuning_and_runs_from_a_model_file_do_too() {
    let (data, dir) = (data(), tempfile::tempdir().unwrap());
    let set = data.set(data.clean.clone().unwrap());
    let common = settings(&[]).run;
    let place = |name: &str| RunDir::create(dir.path().join(name), Existing::Refuse).unwrap();
    Prepared::new(&common, &set).unwrap().run(&place("start"), RunOptions::default(), &mut ()).unwrap();
    let start = dir.path().join("start/model.safetensors");

    let mut file = common.document().unwrap();
    let ramp = "\nramp = 0.1";
    assert!(file.contains(ramp), "{file}");
    file = file.replace("\nimages = 400", "\nimages = 100");
    let each: Vec<String> = EACH_STEP.iter().map(|s| s.to_string()).collect();
    let mut config = RunConfig::build(None, Some(&file), &each).unwrap();
    config.train.init = start.to_str().unwrap().into();
    Prepared::new(&config, &set).unwrap().run(&place("init"), RunOptions::default(), &mut ()).unwrap();
    is_that(&dir.path().join("init"), &start, &|_| 200.0);
    let said = fs::read_to_string(dir.path().join("init/config.toml")).unwrap();
    assert!(said.contains("\nramp = 0.0"), "{said}");

    let model = format!("csc.model='{}'", start.display());
    let more = [model.as_str(), "csc.method=\"plain\"", "judge.images=0", "average.ramp=0.1", "optimizer.lr=0.003"];
    let all: Vec<String> = EACH_STEP.iter().chain(&more).map(|s| s.to_string()).collect();
    let tuned = presets::csc("points").unwrap().build(Some(&file), &all).unwrap();
    FineTuning::new(&tuned, &set).unwrap().run(&place("tuned"), RunOptions::default(), &mut ()).unwrap();
    is_that(&dir.path().join("tuned"), &start, &|_| 200.0);
}
