use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;
use veridical::diffusion::solvers::{self, Options};
use veridical::diffusion::{Grid, Model, ModelConfig, Request, Sampler, Start, one_hot};
use veridical::nn::{MlpConfig, NetworkConfig, SongConfig};
use veridical::ops::random::Draws;
use veridical::random::{Purpose, RandomKey};
use veridical::{Device, Tensor, ops};

use super::{fails, succeeds};

/// A model in a file, and a place for results.
pub struct Place {
    pub dir: TempDir,
    pub model: String,
    pub loaded: Model,
}

impl Place {
    /// Fresh weights plus `noise` times normal numbers: the last layer of a fresh network is nearly zero, and says
    /// nothing of classes.
    pub fn new(network: NetworkConfig, seed: u64, noise: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let fresh = Model::new(&ModelConfig::new(network), seed, &Device::Cpu).unwrap();
        let flat = fresh.weights.flat();
        let draws = Draws::new(RandomKey::new(seed, Purpose::Custom));
        let flat = ops::solver_update(flat, None, Some((noise.into(), &draws))).unwrap().into_value();
        let loaded = fresh.with_flat_weights(flat).unwrap();
        loaded.save(&path).unwrap();
        Place { model: path.to_str().unwrap().into(), loaded, dir }
    }

    /// Colour pictures of 8x8 pixels in three classes.
    pub fn pictures() -> Self {
        let config = SongConfig {
            label_dim: 3,
            label_dropout: 0.1,
            model_channels: 8,
            channel_mult: vec![1],
            num_blocks: 1,
            attn_resolutions: vec![],
            ..SongConfig::new(8, 3)
        };
        Place::new(NetworkConfig::from(config), 1, 0.05)
    }

    pub fn points(label_dim: usize) -> Self {
        Place::new(NetworkConfig::from(MlpConfig { label_dim, label_dropout: 0.1, ..MlpConfig::new(2) }), 2, 0.0)
    }

    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().into()
    }

    fn sample(&self, more: &[&str]) -> String {
        succeeds(&[&["sample", "--device", "cpu", "--model", &self.model], more].concat())
    }

    fn refuses(&self, code: i32, more: &[&str]) -> String {
        fails(code, &[&["sample", "--device", "cpu", "--model", &self.model], more].concat())
    }

    /// The samples that a command with these flags writes, in 4 steps.
    fn drawn(&self, more: &[&str]) -> (Vec<usize>, Vec<f32>) {
        self.drawn_in("4", more)
    }

    fn drawn_in(&self, steps: &str, more: &[&str]) -> (Vec<usize>, Vec<f32>) {
        let out = self.file("out.safetensors");
        self.sample(&[&["--steps", steps, "--output", &out], more].concat());
        read(Path::new(&out), "samples")
    }
}

pub fn write(path: &str, tensors: &[(&str, &[usize], &[f32])]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views: HashMap<&str, TensorView> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()))
        .collect();
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn read(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    (view.shape().into(), view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

fn near(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        approx::assert_abs_diff_eq!(*a, *b, epsilon = 1e-4);
    }
}

/// `[n, c, h, w]` values as `[n, h, w, c]`.
fn channels_last(values: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    let place = |i: usize| {
        let (ci, x, y, b) = (i % c, i / c % w, i / c / w % h, i / c / w / h);
        ((b * c + ci) * h + y) * w + x
    };
    (0..n * c * h * w).map(|i| values[place(i)]).collect()
}

#[test]
fn latents_become_the_samples_of_the_library() {
    let place = Place::pictures();
    let shape = [2, 3, 8, 8];
    let latents: Vec<f32> = (0..2 * 192).map(|i| ((i * 37 % 101) as f32 / 50.5 - 1.0) * 1.5).collect();
    let labels = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let file = place.file("latents.safetensors");
    write(&file, &[("latents", &shape, &latents), ("class_labels", &[2, 3], &labels)]);
    let (got_shape, got) = place.drawn(&["--latents", &file, "--solver", "heun"]);
    assert_eq!(got_shape, shape);

    let nhwc = Tensor::from_slice(&channels_last(&latents, shape), [2, 8, 8, 3], &Device::Cpu).unwrap();
    let request = Request {
        model: &place.loaded,
        reference: None,
        labels: Some(one_hot(&place.loaded, &[1, 2]).unwrap()),
        start: Start::Latents(nhwc),
        seed: 0,
        samples: vec![0, 1],
        trajectory: false,
    };
    let expected = Sampler { steps: 4, ..Sampler::default() }.draw(&request).unwrap().samples.to_vec::<f32>().unwrap();
    near(&channels_last(&got, shape), &expected);

    // --class wins over the file's labels, --no-class over both; a list of labels can come from another file.
    let other = place.file("labels.safetensors");
    write(&other, &[("class_labels", &[2, 3], &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0])]);
    let zero = place.drawn(&["--latents", &file, "--class", "0"]);
    assert_eq!(place.drawn(&["--latents", &file, "--class-labels", &other]), zero);
    assert_eq!(place.drawn(&["--latents", &file, "--class-labels"]).1, got);
    assert_ne!(place.drawn(&["--latents", &file, "--no-class"]), zero);
}

#[test]
fn a_sample_depends_on_its_seed_alone() {
    let place = Place::pictures();
    let (shape, all) = place.drawn(&["--seeds", "0-4", "--churn", "10", "--batch", "2"]);
    assert_eq!(shape, [5, 3, 8, 8]);
    let (_, some) = place.drawn(&["--seeds", "3,1", "--churn", "10"]);
    near(&some, &[&all[3 * 192..4 * 192], &all[192..2 * 192]].concat());
    let again = place.drawn(&["--seeds", "0-4", "--churn", "10", "--batch", "2"]);
    assert_eq!(again.1, all);
}

#[test]
fn every_solver_has_its_name() {
    let place = Place::points(0);
    let mut seen: Vec<Vec<f32>> = Vec::new();
    for name in solvers::NAMES {
        let (shape, samples) = place.drawn_in("7", &["--seeds", "0-2", "--solver", name]);
        assert_eq!(shape, [3, 2]);
        if name != "edm-general" {
            assert!(seen.iter().all(|other| *other != samples), "{name} draws what another solver draws");
        }
        seen.push(samples);
    }
    let help = succeeds(&["sample", "--help"]);
    assert!(solvers::NAMES.iter().all(|name| help.contains(name)), "{help}");
}

#[test]
fn flags_reach_the_solver() {
    let place = Place::points(0);
    let expected = |name: &str, options: &Options| {
        let sampler = Sampler { solver: solvers::named(name, options).unwrap(), steps: 4, ..Sampler::default() };
        sampler.sample(&place.loaded, 0, 0, 3).unwrap().to_vec::<f32>().unwrap()
    };
    let seeds = ["--seeds", "0-2"];
    let with = |more: &[&str]| place.drawn(&[&seeds[..], more].concat()).1;
    let churn = solvers::Churn { amount: 2.0, s_min: 0.1, s_max: 30.0, s_noise: 1.01 };
    let flags = ["--churn", "2", "--s-min", "0.1", "--s-max", "30", "--s-noise", "1.01"];
    near(&with(&flags), &expected("heun", &Options { churn: Some(churn), ..Default::default() }));
    let noisy = Options { eta: Some(0.4), s_noise: Some(1.1), ..Default::default() };
    near(
        &with(&["--solver", "euler-ancestral", "--eta", "0.4", "--s-noise", "1.1"]),
        &expected("euler-ancestral", &noisy),
    );
    let order = Options { order: Some(2), ..Default::default() };
    near(&with(&["--solver", "lms", "--order", "2"]), &expected("lms", &order));
    // EDM's generalised sampler with Euler steps, and Euler's method.
    near(&with(&["--solver", "edm-general", "--alpha", "0"]), &expected("euler", &Options::default()));
    for grid in ["exponential", "polyexponential", "linear", "vp", "ve", "iddpm"] {
        assert_ne!(with(&["--grid", grid]), with(&[]), "{grid}");
    }
    let levels = place.file("levels.safetensors");
    place.sample(&["--seeds", "0-2", "--grid", "20,5,1,0.2,0", "--output", &levels]);
    let given = Grid::Given(vec![20.0, 5.0, 1.0, 0.2, 0.0]);
    let sampler = Sampler { grid: given, ..Sampler::default() };
    let expected = sampler.sample(&place.loaded, 0, 0, 3).unwrap().to_vec::<f32>().unwrap();
    near(&read(Path::new(&levels), "samples").1, &expected);
    assert_ne!(with(&["--rho", "5"]), with(&[]));
    assert_ne!(with(&["--sigma-max", "40"]), with(&["--sigma-min", "0.02"]));
    assert!(with(&["--compute", "bf16"]).iter().all(|x| x.is_finite()));
    assert_eq!(with(&["--solver", "dpmpp-sde", "--brownian"]), with(&["--solver", "dpmpp-sde"]));
    assert_ne!(with(&["--solver", "dpmpp-sde", "--no-brownian"]), with(&["--solver", "dpmpp-sde"]));
}

#[test]
fn pictures_and_ways_are_written() {
    let place = Place::pictures();
    let (png, way) = (place.file("grid.png"), place.file("way.safetensors"));
    let shown = place.sample(&["--seeds", "0-4", "--steps", "3", "--batch", "2", "--png", &png, "--trajectory", &way]);
    assert!(shown.contains("5 samples") && shown.contains("5 denoiser calls"), "{shown}");
    let picture = image::open(&png).unwrap();
    assert!(picture.width() > 100 && picture.height() > 100);
    let (shape, states) = read(Path::new(&way), "x");
    assert_eq!(shape, [4, 5, 3, 8, 8]);
    let out = place.file("same.safetensors");
    place.sample(&["--seeds", "0-4", "--steps", "3", "--batch", "2", "--output", &out]);
    assert_eq!(states[3 * 960..], read(Path::new(&out), "samples").1);
    let bytes = std::fs::read(&way).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let sigmas: Vec<f32> =
        file.tensor("sigmas").unwrap().data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    assert_eq!((sigmas.len(), sigmas[3]), (4, 0.0));
    approx::assert_relative_eq!(sigmas[0], 80.0, max_relative = 1e-6);
}

#[test]
fn images_can_be_started_from() {
    let place = Place::pictures();
    let images = place.file("images.safetensors");
    let values: Vec<f32> = (0..2 * 192).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    write(&images, &[("x", &[2, 3, 8, 8], &values)]);
    let from = |sigma: &str, more: &[&str]| {
        place.drawn(&[&["--class", "1", "--start-image", &images, "--start-sigma", sigma], more].concat()).1
    };
    // Hardly any noise: hardly any change.
    let close = from("0.01", &[]);
    assert!(close.iter().zip(&values).all(|(a, b)| (a - b).abs() < 0.2));
    let far = from("5", &[]);
    assert!(far.iter().zip(&values).any(|(a, b)| (a - b).abs() > 0.5));
    assert_ne!(from("0.5", &["--start-noisy"]), from("0.5", &[]));
    let many = place.drawn(&["--start-image", &images, "--start-sigma", "1", "--seeds", "4,9"]);
    assert_eq!(many.0, [2, 3, 8, 8]);

    let png: PathBuf = place.dir.path().join("start.png");
    image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([32 * x as u8, 32 * y as u8, 128])).save(&png).unwrap();
    let png = png.to_str().unwrap();
    let (shape, got) = place.drawn(&["--start-image", png, "--start-sigma", "0.01", "--seeds", "0-2"]);
    assert_eq!(shape, [3, 3, 8, 8]);
    // Channel 0 grows with x, channel 1 with y.
    assert!((got[7] - (224.0 / 127.5 - 1.0)).abs() < 0.2 && (got[64 + 56] - (224.0 / 127.5 - 1.0)).abs() < 0.2);

    assert!(
        place
            .refuses(2, &["--start-image", &images, "--start-sigma", "1", "--seeds", "0-4", "--output", "x"])
            .contains("2 images")
    );
    assert!(place.refuses(2, &["--start-image", &images, "--output", "x"]).contains("--start-sigma"));
    assert!(place.refuses(2, &["--start-image", &images, "--start-sigma=-1", "--output", "x"]).contains("above 0"));
}

#[test]
fn guidance_changes_the_samples() {
    let place = Place::points(3);
    let other = Place::points(0);
    let plain = place.drawn(&["--seeds", "0-3", "--class", "1"]);
    let with = |more: &[&str]| place.drawn(&[&["--seeds", "0-3", "--class", "1", "--guidance"], more].concat());
    assert_eq!(with(&["1"]), plain);
    let free = with(&["3"]);
    let auto = with(&["3", "--guidance-model", &other.model]);
    assert!(free != plain && auto != plain && auto != free);
    assert_eq!(with(&["3", "--guidance-interval", "100,200"]), plain);
    assert!(other.refuses(2, &["--guidance", "2", "--output", "x"]).contains("--guidance-model"));
    assert!(place.refuses(2, &["--guidance", "2", "--guidance-interval", "3,1", "--output", "x"]).contains("interval"));
    // Whoever never saw a sample without its class cannot say what one would be.
    let told = MlpConfig { label_dim: 3, ..MlpConfig::new(2) };
    let told = Place::new(NetworkConfig::from(told), 2, 0.0);
    for flags in [&["--guidance", "2"][..], &["--no-class"]] {
        assert!(told.refuses(2, &[flags, &["--output", "x"]].concat()).contains("model.label_dropout = 0"));
    }
    told.drawn(&["--seeds", "0-1", "--class", "1", "--guidance", "2", "--guidance-model", &other.model]);
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    let place = Place::pictures();
    let points = Place::points(0);
    let says = |code: i32, more: &[&str], text: &str| {
        let stderr = place.refuses(code, more);
        assert!(stderr.contains(text), "{more:?}: {stderr}");
    };
    says(2, &[], "--output");
    says(2, &["--output", "x", "--solver", "hune"], "heun");
    says(2, &["--output", "x", "--seeds", "5-1"], "falls");
    says(2, &["--output", "x", "--steps", "0"], "steps");
    says(2, &["--output", "x", "--eta", "1"], "heun has no --eta");
    says(2, &["--output", "x", "--tolerance", "1e-4"], "heun has no --tolerance");
    says(2, &["--output", "x", "--unipc-b", "bh1"], "heun has no --unipc-b");
    says(2, &["--output", "x", "--solver", "dpmpp-2m", "--s-max", "1"], "dpmpp-2m has no --s-max");
    says(2, &["--output", "x", "--sigma-min", "nan"], "above 0");
    says(2, &["--output", "x", "--rho", "1e308"], "with rho");
    says(2, &["--output", "x", "--rho", "0.001"], "nearer to 7");
    says(2, &["--output", "x", "--grid", "80,1,0", "--steps", "50"], "--steps");
    says(2, &["--output", "x", "--brownian", "--no-brownian"], "--no-brownian");
    says(2, &["--output", "x", "--brownian", "--churn", "5"], "fresh noise");
    says(2, &["--output", "x", "--churn=-1"], "S_churn");
    says(2, &["--output", "x", "--class", "3"], "3 classes");
    says(2, &["--output", "x", "--sigma-min", "90"], "sigma_min");
    says(2, &["--output", "x", "--grid", "1,2,3"], "fall");
    says(2, &["--output", "x", "--grid", "dense"], "karras");
    says(2, &["--output", "x", "--grid", "vp", "--rho", "5"], "--rho");
    says(2, &["--output", "x", "--class-labels"], "class_labels");
    says(1, &["--output", "x", "--latents", "none.safetensors"], "none.safetensors");
    assert!(points.refuses(2, &["--png", "x.png"]).contains("not pictures"));
    assert!(points.refuses(2, &["--class", "0", "--output", "x"]).contains("no classes"));
    let rk45 = points.refuses(2, &["--solver", "rk45", "--seeds", "0-9", "--trajectory", "x"]);
    assert!(rk45.contains("alone"), "{rk45}");

    let latents = place.file("latents.safetensors");
    let refused = |tensors: &[(&str, &[usize], &[f32])], text: &str| {
        write(&latents, tensors);
        let stderr = place.refuses(1, &["--output", "x", "--latents", &latents]);
        assert!(stderr.contains(text), "{stderr}");
    };
    refused(&[("noise", &[1, 3, 8, 8], &[0.0; 192])], "no tensor latents");
    refused(&[("latents", &[1, 8, 8, 3], &[0.0; 192])], "[1, 8, 8, 3]");
    refused(&[("latents", &[0, 3, 8, 8], &[])], "no samples");
    refused(&[("latents", &[1, 3, 8, 8], &[f32::NAN; 192])], "finite");
    refused(&[("latents", &[1, 3, 8, 8], &[0.0; 192]), ("class_labels", &[1, 2], &[0.0; 2])], "[1, 3]");
    write(&latents, &[("latents", &[1, 3, 8, 8], &[0.0; 192])]);
    let error = place.refuses(2, &["--output", "x", "--latents", &latents, "--guidance", "3"]);
    assert!(error.contains("which has no class"), "{error}");
    let whole = std::fs::read(&latents).unwrap();
    for sixteenth in 0..16 {
        std::fs::write(&latents, &whole[..whole.len() * sixteenth / 16]).unwrap();
        assert!(place.refuses(1, &["--output", "x", "--latents", &latents]).contains("latents.safetensors"));
    }
    assert!(!Path::new("x").exists() && !Path::new("x.png").exists());
}
