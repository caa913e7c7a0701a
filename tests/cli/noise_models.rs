//! Noise that is not Gaussian of one level, from the flags that say it to counts that come out.

use std::fs;
use std::path::Path;

use veridical::data::{Detector, Numbers, Standardise, Transform, Units, npy};
use veridical::diffusion::{Model, ModelConfig, Precond};
use veridical::methods::noisy::{NoiseModel, NoisySection, Sigma};
use veridical::nn::{DhariwalConfig, NetworkConfig};
use veridical::random::{Purpose, RandomKey, Sequence};
use veridical::train::RunConfig;
use veridical::{DType, Device};

use super::people::{Place, SMALL, array, disc};
use super::{command, fails, succeeds};

const GAIN: f64 = 2.0;
const OFFSET: f64 = 100.0;
const READ: f64 = 3.0;
const N: usize = 40;
const SHORT: [&str; 16] = [
    "--device",
    "cpu",
    "--images",
    "64",
    "--set",
    "sampling.measured=0",
    "--set",
    "judge.images=0",
    "--set",
    "sfbd.rounds=1",
    "--set",
    "sfbd.steps=4",
    "--set",
    "sampling.rows=1",
    "--set",
    "sampling.columns=2",
];
const DETECTOR: [&str; 8] = ["--noise-model", "counts", "--gain", "2", "--offset", "100", "--read-noise", "3"];

fn photons(i: usize) -> f64 {
    10.0 + 60.0 * disc((i / 144) as u32, (i / 12 % 12) as u32, (i % 12) as u32, [12, 12])
}

fn random() -> Sequence {
    Sequence::new(&RandomKey::new(4, Purpose::Custom).stream().unwrap(), 0)
}

/// The Poisson law by its distribution function.
fn poisson(mean: f64, random: &mut Sequence) -> f64 {
    let (u, mut count, mut share) = (random.uniform(), 0.0, (-mean).exp());
    let mut sum = share;
    while sum < u && count < 1000.0 {
        count += 1.0;
        share *= mean / count;
        sum += share;
    }
    count
}

/// Clean and noisy counts.
fn counts(place: &Place) -> [String; 2] {
    let (clean, noisy) = (place.at("clean.npy"), place.at("noisy.npy"));
    let mut random = random();
    let values: Vec<f64> =
        (0..N * 144).map(|i| OFFSET + GAIN * poisson(photons(i), &mut random) + READ * random.normal()).collect();
    array(&clean, &[N, 12, 12], |i| OFFSET + GAIN * photons(i));
    array(&noisy, &[N, 12, 12], |i| values[i]);
    [clean, noisy]
}

/// Standard error of a command that must succeed.
fn says(args: &[&str]) -> String {
    let output = command(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "veridical {args:?}: {text}");
    text
}

#[test]
fn counts_are_learned_denoised_and_drawn_as_counts() {
    let place = Place::new();
    let [clean, noisy] = counts(&place);
    let out = place.at("sfbd");
    let data = ["sfbd", "--data", &clean, "--noisy", &noisy, "--out", &out];
    let said = says(&[&data[..], &DETECTOR, &SHORT, &SMALL].concat());
    let stabilised = "stabilised as counts (gain 2, offset 100, read-out noise 3)";
    for part in [stabilised, "noise has level 1", "sigma_data 0.5", "images of noise 1"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(!said.contains("warning"), "{said}");
    // The model knows its detector: no level is asked for.
    let (means, drawn) = (place.at("means.npy"), place.at("drawn.npz"));
    succeeds(&["denoise", "--model", &out, "--data", &noisy, "--output", &means, "--device", "cpu"]);
    let found = npy::read(&means).unwrap();
    assert_eq!(found.shape, [N, 12, 12]);
    // However little was learned: between no photons and more than there are.
    assert!(found.to_f64().iter().all(|x| (OFFSET..400.0).contains(x)));
    let draws = ["--draws", "2", "--steps", "3", "--device", "cpu"];
    succeeds(&[&["denoise", "--model", &out, "--data", &noisy, "--output", &drawn][..], &draws].concat());
    assert_eq!(npy::read_npz(&drawn).unwrap()["draws"].shape, [2, N, 12, 12]);
    let samples = place.at("samples.npz");
    let few = ["--steps", "2", "--seeds", "0-3", "--device", "cpu"];
    succeeds(&[&["sample", "--model", &out, "--output", &samples][..], &few].concat());
    assert!(npy::read_npz(&samples).unwrap()["images"].to_f64().iter().all(|x| *x >= OFFSET));
    let likelihood = ["likelihood", "--model", &out, "--data", &clean, "--first", "2", "--steps", "2"];
    succeeds(&[&likelihood[..], &["--device", "cpu"]].concat());
    // Ambient-Tweedie and SURE on the noisy counts alone, of a detector that is estimated.
    for (name, loss) in [("tweedie", "tweedie"), ("sure", "sure")] {
        let out = place.at(name);
        let data = ["ambient", "--noisy", &noisy, "--on", "noisy", "--loss", loss, "--out", &out];
        let model = ["--noise-model", "counts", "--offset", "100"];
        let short = ["--device", "cpu", "--images", "64", "--set", "sampling.measured=0", "--set", "judge.images=0"];
        let said = says(&[&data[..], &model, &short, &SMALL].concat());
        assert!(said.contains("estimated from how the variance grows with the mean: gain"), "{said}");
        assert_eq!(said.contains("by UNSURE, as far as"), loss == "sure", "{said}");
        assert!(fs::read_to_string(Path::new(&out).join("config.toml")).unwrap().contains("noise_model = \"counts\""));
    }
}

/// A model whose network is silent: D(x) = c_skip x.
fn silent(place: &Place, units: Units) -> String {
    let config = DhariwalConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..DhariwalConfig::new(4, 1)
    };
    let config = ModelConfig { network: NetworkConfig::from(config), precond: Precond::edm(0.5) };
    let path = place.at("silent.safetensors");
    let model = Model::new(&config, 1, &Device::Cpu).unwrap().with_units(&units).unwrap();
    assert_eq!(model.weights.flat().dtype(), DType::F32);
    model.save(&path).unwrap();
    path
}

#[test]
fn what_comes_out_is_the_exact_unbiased_inverse() {
    let place = Place::new();
    let (centre, scale) = (12.0, 6.0);
    let detector = Detector { gain: GAIN, offset: OFFSET, read_noise: 0.0 };
    let units = Units::new(Numbers::Float, vec![centre], vec![scale]).unwrap().after(Transform::counts(detector));
    let model = silent(&place, units);
    let (noisy, found) = (place.at("noisy.npy"), place.at("found.npy"));
    let photons = |i: usize| (3 * i % 47) as f64;
    array(&noisy, &[3, 4, 4], |i| OFFSET + GAIN * photons(i));
    succeeds(&["denoise", "--model", &model, "--data", &noisy, "--output", &found, "--device", "cpu"]);
    let sigma = 1.0 / scale;
    let c_skip = 0.25 / (0.25 + sigma * sigma);
    for (i, found) in npy::read(&found).unwrap().to_f64().into_iter().enumerate() {
        let seen = 2.0 * (photons(i) + 0.375).sqrt();
        let d = centre + c_skip * (seen - centre);
        // The closed form of Mäkitalo & Foi (2011), which they give to some hundredths of a photon.
        let root = 1.5f64.sqrt();
        let mean = d * d / 4.0 + root / (4.0 * d) - 11.0 / (8.0 * d * d) + 5.0 / 8.0 * root / d.powi(3) - 0.125;
        assert!((found - OFFSET - GAIN * mean).abs() < GAIN * 0.03, "{i}: {found}, expected {mean} photons");
    }
    let denoise = ["denoise", "--model", &model, "--data", &noisy, "--output", &found, "--device", "cpu"];
    let refused = |more: &[&str], what: &str| {
        let text = fails(2, &[&denoise[..], more].concat());
        assert!(text.contains(what), "{what:?} is not in {text}");
    };
    refused(&["--sigma", "1"], "their noise has level 1, so leave out --sigma");
    array(&noisy, &[3, 4, 4], |i| if i == 21 { 97.0 } else { 120.0 + i as f64 });
    refused(&[], "noisy.npy: image 1, row 1, column 1 (from 0) is 97");
    // Of logarithms the level is asked for, and half its square added.
    let units = Units::new(Numbers::Float, vec![1.0], vec![2.0]).unwrap().after(Transform::logarithm());
    let model = silent(&place, units);
    let denoise = ["denoise", "--model", &model, "--data", &noisy, "--output", &found, "--device", "cpu"];
    array(&noisy, &[3, 4, 4], |i| 1.0 + i as f64);
    assert!(fails(2, &denoise).contains("give the level of the multiplicative noise with --sigma"));
    succeeds(&[&denoise[..], &["--sigma", "0.5"]].concat());
    let c_skip = 0.25 / (0.25 + 0.25 * 0.25);
    for (i, found) in npy::read(&found).unwrap().to_f64().into_iter().enumerate() {
        let expected = (1.0 + c_skip * ((1.0 + i as f64).ln() + 0.125 - 1.0)).exp();
        approx::assert_relative_eq!(found, expected, max_relative = 1e-4);
    }
}

#[test]
fn multiplicative_noise_is_learned_by_logarithms() {
    let place = Place::new();
    let (clean, noisy, out) = (place.at("clean.npy"), place.at("noisy.npy"), place.at("run"));
    let mut random = random();
    let values: Vec<f64> = (0..N * 144).map(|i| photons(i) * (0.4 * random.normal() - 0.08).exp()).collect();
    array(&clean, &[N, 12, 12], photons);
    array(&noisy, &[N, 12, 12], |i| values[i]);
    let data = ["sfbd", "--data", &clean, "--noisy", &noisy, "--out", &out, "--noise-model", "multiplicative"];
    for sigma in ["auto", "0.4"] {
        let more = ["--sigma", sigma, "--overwrite"];
        let said = says(&[&data[..], &more, &SHORT, &SMALL].concat());
        assert!(said.contains("taken by their logarithm") && !said.contains("warning"), "{said}");
        assert!(sigma != "auto" || said.contains("sigma 0.4") || said.contains("sigma 0.39"), "{said}");
    }
    let found = place.at("found.npy");
    let denoise = ["denoise", "--model", &out, "--data", &noisy, "--output", &found, "--device", "cpu"];
    succeeds(&[&denoise[..], &["--sigma", "0.4"]].concat());
    assert!(npy::read(&found).unwrap().to_f64().iter().all(|x| *x > 0.0));
    array(&noisy, &[N, 12, 12], |i| if i == 300 { 0.0 } else { values[i] });
    let text = fails(2, &[&denoise[..], &["--sigma", "0.4"]].concat());
    assert!(text.contains("image 2, row 1, column 0 (from 0) is 0: multiplicative noise is of positive"), "{text}");
}

#[test]
fn logarithms_are_taken_of_the_numbers_of_files() {
    let place = Place::new();
    let (clean, noisy) = (place.at("clean.npy"), place.at("noisy.npy"));
    // Fifteen powers of ten: standardised and rounded to 32 bits the small ones would all be the same.
    let dim = |i: usize| 10f64.powi(3 - (i % 16) as i32) * photons(i);
    array(&clean, &[N, 12, 12], dim);
    array(&noisy, &[N, 12, 12], |i| 1.1 * dim(i));
    let mut run = RunConfig::default();
    run.data.path = clean;
    let law = NoiseModel::Multiplicative;
    let section = NoisySection { path: noisy, noise_model: law, sigma: Sigma::Number(0.1), ..NoisySection::default() };
    let data = section.open(&run, None).unwrap();
    let images = data.clean().unwrap();
    for (i, found) in images.units().all_to_user_f64(&images.pixels().unwrap(), 1).into_iter().enumerate() {
        approx::assert_relative_eq!(found, dim(i), max_relative = 1e-5);
    }
    run.data.standardise = Standardise::All;
    let error = section.open(&run, None).unwrap_err().to_string();
    assert!(error.contains("--standardise") && error.contains("leave it out"), "{error}");
}

#[test]
fn what_was_denoised_is_shown_whatever_its_kind() {
    let place = Place::new();
    let shapes: [(&str, &[usize]); 3] = [("signals.npy", &[N, 24]), ("points.npy", &[N, 2]), ("line.npy", &[N, 1])];
    for (name, shape) in shapes {
        let (data, out) = (place.at(name), place.at(&format!("run-{name}")));
        array(&data, shape, |i| (0.3 * i as f64).sin());
        let made = ["sfbd", "--data", &data, "--clean-share", "0.5", "--sigma", "0.3", "--out", &out];
        let narrow: &[&str] = if name == "signals.npy" { &SMALL } else { &[] };
        succeeds(&[&made[..], &SHORT, narrow].concat());
        let picture = image::open(Path::new(&out).join("samples/denoised.png")).unwrap();
        assert!(picture.width() > 500 && picture.height() > 300, "{name}: {} {}", picture.width(), picture.height());
        let page = fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
        assert!(page.contains("clean, noisy, and denoised in each round"), "{name}");
    }
}

#[test]
fn flags_that_do_not_go_together_are_refused_before_anything_is_written() {
    let place = Place::new();
    let [clean, noisy] = counts(&place);
    let out = place.at("refused");
    let refused = |more: &[&str], what: &str| {
        let output = command(&[&["sfbd", "--data", &clean, "--out", &out][..], more].concat()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(what), "{what:?} is not in {text}");
        assert!(!text.contains("panicked") && !Path::new(&out).exists(), "{text}");
    };
    let with = |more: &[&'static str]| -> Vec<String> {
        ["--noisy", &noisy].into_iter().chain(more.iter().copied()).map(String::from).collect()
    };
    let beside = |more: &[&'static str], what: &str| {
        let all = with(more);
        refused(&all.iter().map(String::as_str).collect::<Vec<_>>(), what);
    };
    beside(&["--noise-model", "counts", "--sigma", "3"], "--sigma: the noise of counts has the level that --gain");
    beside(&["--sigma", "3", "--gain", "2"], "noisy.gain = 2 is of counts");
    beside(&["--noise-model", "counts", "--gain", "-2"], "noisy.gain = -2.0, expected above 0, or auto");
    beside(&["--noise-model", "counts", "--read-noise", "-1"], "noisy.read_noise = -1.0, expected not below 0");
    beside(&["--noise-model", "counts", "--gain", "much"], "expected a number or auto");
    beside(
        &["--noise-model", "counts", "--gain", "2", "--offset", "250", "--read-noise", "3"],
        "below the offset 250 by more than read-out noise of 3 explains",
    );
    beside(&["--noise-model", "multiplicative"], "--noisy without --sigma");
    refused(&["--noise-model", "counts"], "noise that is made here is gaussian");
    refused(&["--noise-model", "poisson"], "counts");
    let ambient = ["ambient", "--data", &clean, "--noisy", &noisy, "--sigma", "9", "--out", &out, "--loss", "sure"];
    let text = fails(2, &[&ambient[..], &["--set", "ambient.consistency=1"]].concat());
    assert!(text.contains("ambient.consistency is a term of Ambient-Tweedie"), "{text}");
}

#[test]
fn bad_images_merge_at_levels_of_their_own() {
    let place = Place::new();
    let (clean, bad, out) = (place.at("clean.npy"), place.at("bad.npy"), place.at("run"));
    let bright = |i: usize| 2.0 * disc((i / 64) as u32, (i / 8 % 8) as u32, (i % 8) as u32, [8, 8]) - 1.0;
    // What is a mean over rows has lost its edges.
    let flat = |i: usize| (0..8).map(|x| bright(i / 8 * 8 + x)).sum::<f64>() / 8.0;
    array(&clean, &[N, 8, 8], bright);
    array(&bad, &[N, 8, 8], flat);
    let data = ["ambient", "--data", &clean, "--noisy", &bad, "--out", &out, "--overwrite"];
    let short = ["--device", "cpu", "--images", "64", "--set", "sampling.measured=0", "--set", "judge.images=0"];
    let levels = place.at("levels.txt");
    fs::write(&levels, (0..N).map(|i| if i == 0 { "inf\n" } else { "0.7\n" }).collect::<String>()).unwrap();
    for (sigma, said) in [
        ("auto", "merging levels, by a classifier of clean and bad images behind noise: "),
        ("0.5", "merging levels: 0.5 to 0.5, median 0.5"),
        (levels.as_str(), "1 of 40 images are told from clean ones at every level of noise, and left out"),
    ] {
        let text = says(&[&data[..], &["--merging-sigma", sigma], &short, &SMALL].concat());
        assert!(text.contains(said) && !text.contains("warning"), "{sigma}: {text}");
        assert!(fs::read_to_string(Path::new(&out).join("config.toml")).unwrap().contains("noise_model = \"merging\""));
    }
    let resumed = ["ambient", "--resume", "--out", &out, "--device", "cpu"];
    says(&resumed);
    let sfbd = ["sfbd", "--data", &clean, "--noisy", &bad, "--out", &out, "--overwrite", "--merging-sigma", "0.5"];
    assert!(says(&[&sfbd[..], &SHORT, &SMALL].concat()).contains("images of noise 0.5"));
    let alone = ["ambient", "--noisy", &bad, "--merging-sigma", "auto", "--out", &place.at("alone")];
    assert!(fails(2, &alone).contains("name some with --data"));
    let twice = ["ambient", "--noisy", &bad, "--merging-sigma", "1", "--sigma", "1"];
    assert!(fails(2, &twice).contains("cannot be used with"));
}
