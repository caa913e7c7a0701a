//! What settings make impossible is found before the first step, and what no memory holds is an error.

use std::path::Path;

use veridical::data::{Images, npy};

use super::training::{Place, TINY, log};
use super::{command, fails, locate, succeeds};

/// Errors of settings, with no directory made.
fn refused(out: &Path, args: &[&str]) -> String {
    let error = fails(2, args);
    assert!(!out.exists(), "{args:?} made a directory");
    error
}

#[test]
fn settings_that_only_the_first_picture_would_find_impossible_are_refused_before_the_first_step() {
    let place = Place::new(TINY);
    let out = place.out("run");
    for (settings, says) in [
        (&["sampling.rho=1e-9"][..], "sigma_max = 80.0, rho = 1e-9"),
        (&["sampling.rho=1e308"], "[sampling]"),
        (&["sampling.sigma_max=1e300"], "sigma_max = 1"),
        (&["sampling.sigma_min=80"], "sigma_min = 80.0"),
        (&["sampling.steps=10000", "sampling.sigma_min=79.9999999999999"], "steps = 10000"),
        (&["train.images=1125899906842624", "train.batch=1"], "2^32"),
        (&["train.images=1125899906842624", "data.shuffle=\"epochs\"", "train.batch=1"], "2^32"),
        (&["model.sigma_data=1e-30"], "the loss of the first samples is"),
    ] {
        let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let error = refused(&out, &place.first(&out, &set));
        assert!(error.contains(says), "{settings:?}: {error}");
    }
}

/// Grey pictures of 8 by 8, without test images.
fn pictures(path: &Path, count: usize) {
    let pixels = (0..count * 64).map(|i| (i * 7 % 65) as f32 / 32.0 - 1.0).collect();
    npy::write_images(path, &Images::new(pixels, vec![0; count], [8, 8, 1], 1).unwrap()).unwrap();
}

#[test]
fn one_image_is_learned_without_distances_and_that_is_said() {
    let place = Place::new(TINY);
    let (out, data) = (place.out("run"), place.out("one.npz"));
    pictures(&data, 1);
    let more = ["--data", data.to_str().unwrap(), "--steps", "3", "--set", "sampling.measured=4"];
    let output = command(&place.first(&out, &more)).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("distances are left out"), "{said}");
    assert!(log(&out).iter().all(|tick| tick["kid"].is_null()) && out.join("report.html").exists());
}

#[test]
fn a_method_that_cannot_be_judged_or_cannot_denoise_is_refused_before_it_trains() {
    let place = Place::new(TINY);
    let (out, few) = (place.out("run"), place.out("few.npz"));
    pictures(&few, 8);
    let out_name = out.to_str().unwrap();
    let common = ["--config", place.config.to_str().unwrap(), "--out", out_name, "--device", "cpu"];
    let with = |command: &'static str, more: &[&'static str]| [&[command][..], &common, more].concat();
    for (command, settings, says) in [
        ("sfbd", &["noisy.clean_share=0.5", "train.batch=4", "judge.images=10"][..], "judge.images = 10"),
        ("ambient", &["noisy.clean_share=0.5", "judge.images=10", "augment.p=0"], "at least 6"),
        ("sfbd", &["judge.images=0", "sfbd.optimizer=\"kept\"", "sfbd.round_images=1125899906842624"], "2^32"),
        ("sfbd", &["judge.images=0", "sampling.rho=1e-9", "noisy.sigma=0.5", "noisy.clean_share=0.5"], "rho"),
    ] {
        let data = ["--data", few.to_str().unwrap()];
        let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let error = refused(&out, &[&with(command, &[])[..], &data, &set].concat());
        assert!(error.contains(says), "{command} {settings:?}: {error}");
    }
}

/// The process has so many kilobytes of addresses.
#[cfg(target_os = "linux")]
fn limited(kilobytes: u64, args: &str) -> String {
    let script = format!("ulimit -v {kilobytes}; exec \"$0\" {args}");
    let output = std::process::Command::new("sh").args(["-c", &script]).arg(locate::program()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args}: {said}");
    assert!(said.contains(" bytes)") && said.contains("GB"), "{args}: {said}");
    said
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_cannot_be_had_is_an_error_with_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.safetensors");
    let out = dir.path().join("run");
    let file = model.to_str().unwrap();
    let tiny = "--set model.model_channels=8 --set model.channel_mult=[1] --set model.attn_resolutions=[]";
    for (args, says) in [
        ("collapse --vocab 1000000000 --rounds 1 --repeats 1", "--vocab"),
        ("collapse --vocab 1000000000 --zipf 1 --rounds 1 --repeats 1", "--vocab"),
        ("collapse --vocab 20000000 --rounds 1 --repeats 8", "--vocab"),
        ("collapse --family gmm --components 65536 --dims 4096 --samples 70000", "--components"),
        ("collapse --family ngram --order 2 --vocab 11000 --samples 1000 --memory 100", "--vocab"),
        ("collapse --rounds 1000000 --repeats 50", "repeats"),
    ] {
        let error = limited(1_000_000, args);
        assert!(error.contains(says), "{args}: {error}");
    }
    let args = format!("train --data digits --device cpu --out {} {tiny} --steps 1", out.display());
    succeeds(&args.split(' ').collect::<Vec<_>>());
    std::fs::copy(out.join("model.safetensors"), &model).unwrap();
    let args = format!(
        "sample --model {file} --device cpu --seeds 0-99999 --steps 1000 --trajectory {file}.states.safetensors"
    );
    assert!(limited(3_000_000, &args).contains("--trajectory"));
}

#[test]
fn a_picture_that_would_be_too_large_is_refused_before_its_samples_are_drawn() {
    let place = Place::new(TINY);
    let out = place.out("run");
    succeeds(&place.first(&out, &["--steps", "1"]));
    let (model, png) = (out.join("model.safetensors"), place.out("all.png"));
    let args = ["sample", "--model", model.to_str().unwrap(), "--seeds", "0-99999", "--png", png.to_str().unwrap()];
    let error = fails(2, &args);
    assert!(error.contains("16384") && error.contains("--output"), "{error}");
}
