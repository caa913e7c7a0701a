//! `veridical sfbd`, `ambient` and `csc`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{fails, succeeds};

/// A network and runs so small that they end in seconds.
const TINY: &str = "
[model]
model_channels = 8
channel_mult = [1]
num_blocks = 1
attn_resolutions = []
[optimizer]
warm_up = 80
[average]
half_life = 200
[train]
device = 'cpu'
batch = 16
images = 160
checkpoint_every = 4
sample_every = 0
[sampling]
steps = 3
columns = 2
rows = 2
measured = 20
[judge]
images = 20
";
const ROUNDS: &str = "
[sfbd]
rounds = 2
round_images = 80
steps = 8
[online]
images = 160
ramp_images = 40
every = 4
count = 20
";

struct Place {
    dir: TempDir,
    config: String,
}

impl Place {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        fs::write(&file, config).unwrap();
        Place { config: file.to_str().unwrap().into(), dir }
    }
    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn args<'a>(&'a self, command: &'a str, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        [&[command, "--config", &self.config, "--out", out.to_str().unwrap()], more].concat()
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn model(out: &Path) -> Vec<u8> {
    fs::read(out.join("model.safetensors")).unwrap()
}

fn report(out: &Path) -> String {
    let text = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(!text.contains("NaN") && !text.contains("http"));
    text
}

#[test]
fn sfbd_leaves_rounds_and_a_report_and_goes_on_where_it_was() {
    let place = Place::new(&(TINY.to_string() + ROUNDS));
    let out = place.out("run");
    let shown = succeeds(&place.args("sfbd", &out, &["--clean-share", "0.1", "--sigma", "0.5"]));
    assert!(shown.contains("finished after 3 stages") && shown.contains("round 2"), "{shown}");
    let rounds = json(&out.join("metrics.json"));
    assert_eq!(rounds.as_array().unwrap().len(), 3);
    // 20 images of 64 pixels have no Fréchet distance.
    assert!(shown.contains("20 generated rows in 64 dimensions are too few"), "{shown}");
    let generated = &rounds[2]["generated"];
    assert!(generated["frechet_distance"].is_null() && generated["rank_deficient"].is_string(), "{generated}");
    let ceiling = |key: &str| generated["ceiling"][key].as_f64().unwrap();
    assert!(generated["kid_error"].as_f64().unwrap() > 0.0);
    assert!((ceiling("coverage") - ceiling("expected_coverage")).abs() < 0.1, "{generated}");
    assert!(rounds[1]["rms_error"].as_f64().unwrap() > 0.0 && rounds[0]["rms_error"].is_null());
    let page = report(&out);
    assert!(page.contains("KID by round") && page.contains("real images in place of generated ones"), "{page}");
    assert!(page.contains("after round 2") && page.contains("150 clean images and 1350 behind noise"), "{page}");
    assert!(page.matches("<img ").count() >= 3, "triptych, chart, samples");
    for k in 0..3 {
        let stage = out.join(format!("rounds/{k:02}"));
        assert!(stage.join("report.html").is_file() && stage.join("round.json").is_file(), "{k}");
    }

    // Out of time at once; resumed it comes to the same bits, also with one more round than at first.
    let again = place.out("again");
    let more = ["--clean-share", "0.1", "--sigma", "0.5", "--minutes", "0", "--rounds", "1"];
    assert!(succeeds(&place.args("sfbd", &again, &more)).contains("out of time after 0 stages"));
    let to = again.to_str().unwrap();
    succeeds(&["sfbd", "--resume", "--out", to]);
    succeeds(&["sfbd", "--resume", "--out", to, "--rounds", "2"]);
    assert!(model(&out) == model(&again), "resumed it is another model");
    let error = fails(2, &["sfbd", "--resume", "--out", to, "--sigma", "0.4"]);
    assert!(error.contains("noisy.sigma is 0.5 there and 0.4 here"), "{error}");

    let online = place.out("online");
    let shown = succeeds(&place.args("sfbd", &online, &["--online", "--clean-share", "0.1"]));
    assert!(shown.contains("finished"), "{shown}");
    report(&online);
}

#[test]
fn sfbd_takes_images_that_are_noisy_already() {
    let place = Place::new(&(TINY.to_string() + ROUNDS));
    let first = place.out("first");
    succeeds(&place.args("sfbd", &first, &["--rounds", "1", "--set", "sfbd.files=true"]));
    // What was denoised is a data set of f32 images; here it plays the noisy one, and its noise is not what is stated.
    let noisy = first.join("rounds/01/denoised.npz");
    let out = place.out("second");
    let more = ["--noisy", noisy.to_str().unwrap(), "--rounds", "0", "--sigma", "2"];
    let output = super::command(&place.args("sfbd", &out, &more)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning: noisy.sigma is 2"), "{output:?}");
    // A model file in place of the pre-training, with its own architecture.
    let file = first.join("model.safetensors");
    let third = place.out("third");
    let set = ["--set", "model.sigma_data=0.75", "--model", file.to_str().unwrap(), "--rounds", "1"];
    assert!(succeeds(&place.args("sfbd", &third, &set)).contains("finished after 2 stages"));
    let other = ["--set", "model.sigma_data=0.5", "--model", file.to_str().unwrap()];
    let error = fails(2, &place.args("sfbd", &place.out("fourth"), &other));
    assert!(error.contains("trained with sigma_data = 0.75"), "{error}");
}

#[test]
fn ambient_trains_on_what_it_is_told() {
    let place = Place::new(TINY);
    let mut models = Vec::new();
    for more in [
        &["--on", "both"][..],
        &["--on", "noisy", "--loss", "plain"],
        &["--on", "clean"],
        &["--on", "all-clean"],
        &["--on", "both", "--set", "ambient.consistency=0.1", "--set", "ambient.consistency_steps=2"],
    ] {
        let out = place.out(&format!("run{}", models.len()));
        let shown = succeeds(&place.args("ambient", &out, more));
        assert!(shown.contains("finished after 10 steps") && shown.contains("Fréchet"), "{shown}");
        assert!(json(&out.join("metrics.json"))["kid"].is_number());
        assert!(report(&out).contains("Distance"));
        assert!(!models.contains(&model(&out)), "{more:?} is like another");
        models.push(model(&out));
    }
    // Interrupted and resumed.
    let out = place.out("again");
    assert!(succeeds(&place.args("ambient", &out, &["--minutes", "0"])).contains("out of time"));
    succeeds(&["ambient", "--resume", "--out", out.to_str().unwrap()]);
    assert!(model(&out) == models[0]);
    let error = fails(2, &["ambient", "--resume", "--out", out.to_str().unwrap(), "--on", "clean"]);
    assert!(error.contains("ambient.images is \"both\" there"), "{error}");
}

#[test]
fn csc_measures_before_and_after() {
    let place = Place::new(TINY);
    let trained = place.out("trained");
    let tiny = place.out("train.toml");
    fs::write(&tiny, TINY.split("[judge]").next().unwrap().replace("images = 160", "images = 320")).unwrap();
    let train = ["train", "--config", tiny.to_str().unwrap(), "--out", trained.to_str().unwrap()];
    succeeds(&train);
    let file = trained.join("model.safetensors");
    let settings = TINY.split("[model]").last().unwrap().split("[optimizer]").last().unwrap();
    let place = Place::new(&format!("[csc]\nsteps = 4\nmeasured_steps = [2, 4]\n[optimizer]\n{settings}"));
    let mut models = Vec::new();
    for method in ["csc", "cdm", "plain"] {
        let out = place.out(method);
        let shown = succeeds(&place.args("csc", &out, &["--model", file.to_str().unwrap(), "--method", method]));
        assert!(shown.matches("before").count() == 2 && shown.matches("after ").count() >= 2, "{shown}");
        assert_eq!(json(&out.join("metrics.json")).as_array().unwrap().len(), 4);
        report(&out);
        assert!(!models.contains(&model(&out)));
        models.push(model(&out));
    }
    let out = place.out("again");
    let more = ["--model", file.to_str().unwrap(), "--minutes", "0"];
    assert!(succeeds(&place.args("csc", &out, &more)).contains("out of time"));
    // Slots, which other runs may change on the way, say which images are compared here.
    let error = fails(2, &["csc", "--resume", "--out", out.to_str().unwrap(), "--set", "train.slots=2"]);
    assert!(error.contains("train.slots is 1 there and 2 here"), "{error}");
    succeeds(&["csc", "--resume", "--out", out.to_str().unwrap()]);
    assert!(model(&out) == models[0], "resumed it is another model");
}

#[test]
fn wishes_that_make_no_sense_are_refused_before_anything_is_written() {
    let place = Place::new(&(TINY.to_string() + ROUNDS));
    let alone = Place::new(TINY);
    let out = place.out("nothing");
    let refused = |place: &Place, code: i32, command: &str, more: &[&str], says: &str| {
        let error = fails(code, &place.args(command, &out, more));
        assert!(error.contains(says), "{command} {more:?}: {error}");
        assert!(!out.exists(), "{command} {more:?} wrote something");
    };
    for (flags, says) in [
        (&["--sigma", "0"][..], "above 0"),
        (&["--sigma", "-1"], "above 0"),
        (&["--sigma", "0.001"], "sampling.sigma_min"),
        (&["--sigma", "200"], "sampling.sigma_max"),
        (&["--clean-share", "0"], "above 0, up to 1"),
        (&["--clean-share", "1.1"], "above 0, up to 1"),
        (&["--clean-share", "0.0001"], "no clean image"),
        (&["--clean-share", "1"], "no noisy images"),
        (&["--data", ""], "no clean images"),
        (&["--data", "/nowhere"], "no such file"),
        (&["--noisy", "synthetic:mixture"], "[1, 1, 2]"),
        (&["--denoiser", "magic"], "no solver"),
        (&["--set", "sfbd.colour=1"], "unknown key sfbd.colour"),
        (&["--set", "fbsd.rounds=1"], "unknown section [fbsd]"),
        (&["--set", "judge.images=3"], "judge.images = 3"),
        (&["--set", "judge.features=none.safetensors"], "none.safetensors"),
    ] {
        let flags = if flags == ["--data", ""] { &["--data", "", "--noisy", "digits"][..] } else { flags };
        refused(&place, if says == "none.safetensors" { 1 } else { 2 }, "sfbd", flags, says);
    }
    refused(&alone, 2, "ambient", &["--on", "none"], "both, noisy, clean, all-clean");
    refused(&alone, 2, "ambient", &["--sigma", "0"], "above 0");
    refused(&alone, 2, "ambient", &["--set", "augment.p=0.1"], "changes its noise");
    refused(&alone, 2, "ambient", &["--data", "", "--noisy", "digits", "--on", "all-clean"], "originals");
    refused(&alone, 2, "csc", &["--set", "model.sigma_data=0.75"], "no model to fine-tune");
    refused(&alone, 2, "csc", &["--method", "magic"], "csc, cdm, plain");
    refused(&alone, 2, "csc", &["--set", "csc.chain=40"], "csc.chain = 40");
    refused(&alone, 2, "csc", &["--method", "cdm", "--set", "csc.weight=2"], "the lambda of cdm is csc.cdm_weight");
    refused(&alone, 2, "csc", &["--set", "csc.cdm_weight=-1"], "csc.cdm_weight = -1");
    refused(&alone, 1, "csc", &["--model", "/nowhere/model.safetensors"], "/nowhere/model.safetensors");
    for command in ["sfbd", "ambient", "csc"] {
        let error = fails(2, &[command, "--resume", "--out", out.to_str().unwrap()]);
        assert!(error.contains("no run of veridical to resume"), "{error}");
        let error = fails(2, &[command, "--preset", "imagenet64-adm", "--out", out.to_str().unwrap()]);
        assert!(error.contains("[possible values: "), "{error}");
        assert!(succeeds(&[command, "--print-config"]).contains("[judge]"));
    }
    // A checkpoint of something else.
    let foreign = place.out("foreign");
    succeeds(&place.args("sfbd", &foreign, &["--rounds", "0"]));
    let rounds = foreign.join("rounds/00");
    fs::remove_file(rounds.join("round.json")).unwrap();
    let other = place.out("other");
    succeeds(&place.args("sfbd", &other, &["--rounds", "0", "--set", "model.model_channels=16"]));
    fs::remove_dir_all(rounds.join("checkpoints")).unwrap();
    fs::rename(other.join("rounds/00/checkpoints"), rounds.join("checkpoints")).unwrap();
    let error = fails(2, &["sfbd", "--resume", "--out", foreign.to_str().unwrap()]);
    assert!(error.contains("model.model_channels is 16 there and 8 here"), "{error}");
}
