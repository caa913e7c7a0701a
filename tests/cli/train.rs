use std::fs;

use veridical::Device;
use veridical::diffusion::Model;
use veridical::train::RunConfig;

use super::training::{Place, TINY, assert_same, log, resume, steps_of};
use super::{command, fails, succeeds};

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
    let (distances, ticks): (Vec<_>, Vec<_>) = log(&out).into_iter().partition(|tick| tick["kid"].is_number());
    assert_eq!(distances.iter().map(|t| t["step"].as_u64().unwrap()).collect::<Vec<_>>(), [20, 40, 60]);
    assert!(distances.iter().all(|t| t["sliced_wasserstein"].as_f64().unwrap() > 0.0), "{distances:?}");
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
    assert_eq!(report.matches("<img ").count(), 3 + 6, "three pictures of samples, six charts");

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
    let snapshot = fs::read_dir(out.join("snapshots")).unwrap().next().unwrap().unwrap().path();
    for own in [&out.join("model.safetensors"), &snapshot] {
        let onto = ["ema", "--run", run, "--std", "0.1", "--output", own.to_str().unwrap()];
        assert!(fails(2, &onto).contains("is what --run is read from"));
    }

    assert!(fails(2, &place.first(&out, &[])).contains("--resume"));
    assert!(out.join("model.safetensors").exists());

    // A finished run that is gone on with has nothing to do, and does nothing twice.
    let before = (
        fs::read(out.join("log.jsonl")).unwrap(),
        fs::metadata(out.join("checkpoints/step-000000060/state.json")).unwrap(),
    );
    succeeds(&resume(&out, &[]));
    assert!(before.0 == fs::read(out.join("log.jsonl")).unwrap(), "the log has changed");
    let state = fs::metadata(out.join("checkpoints/step-000000060/state.json")).unwrap();
    assert_eq!(before.1.modified().unwrap(), state.modified().unwrap());
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
        ("loss.kind=\"vlb\"", "loss.kind = \"vlb\"; there are edm, vp, ve and iddpm"),
        ("train.batch=0", "train.batch = 0"),
        ("train.batch=\"many\"", "batch"),
        ("train.compute=\"f16\"", "f32 and bf16"),
        ("train.device=\"tpu\"", "`tpu` is no device"),
        ("optimizer.lr=-1", "optimizer.lr = -1"),
        ("optimizer.schedule=\"linear\"", "optimizer.schedule"),
        ("augment.p=2", "[0, 1]"),
        ("average.power=[0.7]", "average.power"),
        ("sampling.sigma_min=100", "sampling.sigma_min"),
        ("sampling.measured=1", "sampling.measured"),
        ("model.model_channels=65536", "cannot be had"),
        ("data.path=\"\"", "--data"),
        ("data.path=\"/no/such/place\"", "no such file"),
    ] {
        let out = place.out("run");
        let error = fails(2, &place.first(&out, &["--set", setting]));
        assert!(error.contains(says), "{setting}: {error}");
        assert!(!out.exists(), "{setting} left a directory");
    }
    fs::write(place.out("file"), "").unwrap();
    let error = fails(2, &place.first(&place.out("file"), &[]));
    assert!(error.contains("give a directory") && !error.contains("--resume"), "{error}");
    // Somebody else's folder: nothing is advised that would not help, or was done.
    let foreign = place.out("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.tex"), "years").unwrap();
    for (more, says) in [(&[][..], "choose another"), (&["--overwrite"], "--overwrite replaces the files of a run")] {
        let error = fails(2, &place.first(&foreign, more));
        assert!(error.contains(says) && error.contains("no run of veridical made it"), "{error}");
        assert!(!error.contains("--resume") && !error.contains("ask to"), "{error}");
    }
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
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
        for says in ["# Learning rate (above 0).\nlr = ", "[model]", "precond = \"edm\"", "dropout"] {
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
    assert!(out.join("report.html").is_file() && out.join("samples").is_dir());
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

#[test]
fn a_run_can_start_from_a_model() {
    let place = Place::new(TINY);
    let (first, second) = (place.out("first"), place.out("second"));
    succeeds(&place.first(&first, &["--steps", "5"]));
    let init = first.join("model.safetensors");
    let init = init.to_str().unwrap();
    // A rate that moves nothing shows where the weights came from; the average starts there as well.
    succeeds(&place.first(&second, &["--steps", "2", "--init", init, "--set", "optimizer.lr=1e-30"]));
    let weights =
        |path: std::path::PathBuf| Model::load(path, &Device::Cpu).unwrap().weights.flat().to_vec::<f32>().unwrap();
    let expected = weights(first.join("model.safetensors"));
    assert!(weights(second.join("model.safetensors")) == expected);
    assert!(weights(second.join("checkpoints/step-000000002/model.safetensors")) == expected);
    assert!(fails(1, &place.first(&place.out("third"), &["--init", "/no/such/model"])).contains("/no/such/model"));
    let error = fails(2, &place.first(&place.out("third"), &["--init", init, "--set", "model.model_channels=16"]));
    assert!(
        error.contains("another architecture") && error.contains("model_channels is 8 there and 16 here"),
        "{error}"
    );
}
