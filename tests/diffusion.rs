//! Samplers, preconditioning and loss against closed forms.

use veridical::diffusion::solvers::heun;
use veridical::diffusion::{Loss, Model, ModelConfig, Scaling, karras_sigmas};
use veridical::nn::Conditions;
use veridical::nn::{Context, MlpConfig, SongConfig};
use veridical::ops::random::{Address, Draws, SampleIds};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Result, Tape, Tensor, Var, ops};

const CPU: Device = Device::Cpu;

/// The exact denoiser of data N(mean, deviation^2).
fn gaussian(mean: f64, deviation: f64) -> impl FnMut(&Tensor, f64) -> Result<Tensor> {
    move |x, sigma| {
        let keep = deviation.powi(2) / (deviation.powi(2) + sigma.powi(2));
        let values: Vec<f64> = x.to_vec::<f64>()?.iter().map(|x| mean + keep * (x - mean)).collect();
        Tensor::from_slice(&values, x.shape(), &CPU)
    }
}

/// Where the probability-flow ODE takes `x` at `sigma` when the noise level falls to `next`.
fn exact(x: f64, mean: f64, deviation: f64, sigma: f64, next: f64) -> f64 {
    mean + ((deviation.powi(2) + next.powi(2)) / (deviation.powi(2) + sigma.powi(2))).sqrt() * (x - mean)
}

#[test]
fn heun_has_order_two_on_gaussian_data() {
    let (mean, deviation, start, end) = (0.3, 0.5, 3f64, 0.1);
    let x0 = [-4.0, 0.5, 2.0];
    let points: Vec<(f64, f64)> = [8usize, 16, 32, 64, 128]
        .map(|steps| {
            let sigmas: Vec<f64> = (0..=steps).map(|i| start * (end / start).powf(i as f64 / steps as f64)).collect();
            let x = Tensor::from_slice(&x0, [3], &CPU).unwrap();
            let y = heun(&mut gaussian(mean, deviation), &x, &sigmas).unwrap().to_vec::<f64>().unwrap();
            let error =
                x0.iter().zip(&y).map(|(&x, y)| (y - exact(x, mean, deviation, start, end)).abs()).fold(0.0, f64::max);
            ((steps as f64).ln(), error.ln())
        })
        .into();
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let slope = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>()
        / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>();
    assert!((slope + 2.0).abs() < 0.15, "errors fall like steps^{slope}");
}

#[test]
fn heun_ends_with_an_euler_step_and_counts_its_calls() {
    let sigmas = karras_sigmas(18, 0.002, 80.0, 7.0).unwrap();
    let mut calls = 0;
    let mut inner = gaussian(0.0, 0.5);
    let mut counted = |x: &Tensor, sigma: f64| {
        calls += 1;
        inner(x, sigma)
    };
    let x = Tensor::from_slice(&[80.0 * 0.7, -80.0 * 1.1], [2], &CPU).unwrap();
    let y = heun(&mut counted, &x, &sigmas).unwrap().to_vec::<f64>().unwrap();
    assert_eq!(calls, 35);
    // On this data the ODE is linear, dx/dsigma = a(sigma) x, and each step multiplies by a number.
    let a = |sigma: f64| sigma / (0.25 + sigma * sigma);
    let growth: f64 = sigmas
        .windows(2)
        .map(|pair| {
            let h = pair[1] - pair[0];
            let euler = 1.0 + h * a(pair[0]);
            if pair[1] == 0.0 { euler } else { 1.0 + h / 2.0 * (a(pair[0]) + a(pair[1]) * euler) }
        })
        .product();
    for (x, y) in x.to_vec::<f64>().unwrap().into_iter().zip(y) {
        approx::assert_relative_eq!(y, growth * x, max_relative = 1e-9);
    }
    // Eighteen steps are within a tenth of the exact flow.
    approx::assert_relative_eq!(growth * 80.0, exact(80.0, 0.0, 0.5, 80.0, 0.0), max_relative = 0.1);
}

#[test]
fn a_grid_that_does_not_fall_is_an_error() {
    let x = Tensor::from_slice(&[1.0], [1], &CPU).unwrap();
    for sigmas in [&[1.0][..], &[], &[1.0, 1.0], &[1.0, 2.0], &[f64::NAN, 0.0], &[f64::INFINITY, 0.0], &[1.0, -0.5]] {
        assert!(heun(&mut gaussian(0.0, 1.0), &x, sigmas).is_err(), "{sigmas:?}");
    }
}

fn small_unet() -> ModelConfig {
    let mut config = SongConfig::new(8, 1);
    config.label_dim = 10;
    config.model_channels = 16;
    config.channel_mult = vec![1, 2];
    config.num_blocks = 1;
    config.attn_resolutions = vec![4];
    ModelConfig::new(config)
}

fn noise(shape: &[usize], dtype: DType, first: u32) -> Tensor {
    let draws = Draws::from_sample(RandomKey::new(5, Purpose::Latents), first);
    ops::normal(shape, dtype, &draws, &CPU).unwrap()
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let model = Model::new(&small_unet(), 1, &CPU).unwrap();
    let sigmas = karras_sigmas(4, 0.01, 20.0, 7.0).unwrap();
    let labels =
        ops::embedding::one_hot(&Tensor::from_slice(&[3u32, 1, 4, 1], [4], &CPU).unwrap(), 10, DType::F32).unwrap();
    let sample = |first: usize, count: usize| -> Vec<f64> {
        let x = noise(&[count, 8, 8, 1], DType::F64, first as u32);
        let x = ops::scale(x, sigmas[0]).unwrap().into_value();
        let labels = labels.narrow(first, count).unwrap();
        let mut denoise = |x: &Tensor, sigma: f64| model.denoise(x, sigma, Some(&labels));
        heun(&mut denoise, &x, &sigmas).unwrap().to_vec().unwrap()
    };
    let together = sample(0, 4);
    let apart = [sample(0, 1), sample(1, 3)].concat();
    for (a, b) in together.iter().zip(&apart) {
        approx::assert_abs_diff_eq!(a, b, epsilon = 2e-5);
    }
}

#[test]
fn a_model_survives_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for config in [small_unet(), ModelConfig::edm(MlpConfig::new(2), 1.5)] {
        let model = Model::new(&config, 1, &CPU).unwrap();
        model.save(&path).unwrap();
        let read = Model::load(&path, &CPU).unwrap();
        assert_eq!(read.config(), &config);
        let shape = [&[3][..], &model.denoiser().sample_shape()].concat();
        let x = noise(&shape, DType::F32, 0);
        let run = |model: &Model| model.denoise(&x, 0.7, None).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(run(&model), run(&read));
    }
}

#[test]
fn configurations_that_make_no_network_are_errors() {
    let json = small_unet().to_json().unwrap();
    assert!(ModelConfig::from_json(&json).is_ok());
    for (from, to, says) in [
        ("\"model_channels\":16", "\"model_channels\":0", "model_channels"),
        ("\"model_channels\":16", "\"model_chanels\":16", "model_chanels"),
        ("\"channel_mult\":[1,2]", "\"channel_mult\":[1,2,2,2,2]", "halved"),
        ("\"attn_resolutions\":[4]", "\"attn_resolutions\":[5]", "attn_resolutions"),
        ("\"dropout\":0.1", "\"dropout\":1.0", "dropout"),
        ("\"precond\":\"edm\"", "\"precond\":\"xyz\"", "precond"),
        ("SongUNet", "TangUNet", "model_type"),
        ("\"sigma_data\":0.5", "\"sigma_data\":-1", "sigma_data"),
        ("{", "[", ""),
    ] {
        assert!(json.contains(from), "{from} is not in {json}");
        let config = ModelConfig::from_json(&json.replacen(from, to, 1)).and_then(|config| config.build().map(drop));
        let error = config.unwrap_err().to_string();
        assert!(error.contains(says), "{to}: {error}");
    }
    // Channels that fall into no groups of equal size.
    let mut config = SongConfig::new(8, 1);
    config.model_channels = 130;
    config.attn_resolutions = vec![8];
    let error = ModelConfig::new(config).build().unwrap_err().to_string();
    assert!(error.contains("130") && error.contains("groups"), "{error}");
}

#[test]
fn images_and_labels_of_another_shape_are_errors() {
    let model = Model::new(&small_unet(), 1, &CPU).unwrap();
    assert!(model.denoise(&noise(&[2, 4, 4, 1], DType::F32, 0), 1.0, None).is_err());
    assert!(model.denoise(&noise(&[2, 8, 8, 1], DType::F32, 0), 0.0, None).is_err());
    let labels = Tensor::zeros([2, 9], DType::F32, &CPU).unwrap();
    assert!(model.denoise(&noise(&[2, 8, 8, 1], DType::F32, 0), 1.0, Some(&labels)).is_err());
}

/// At its start the network says nearly nothing, so that D(x) = c_skip x and the loss has a closed form.
#[test]
fn the_loss_of_a_silent_network_is_what_the_formula_says() {
    let config = ModelConfig::new(MlpConfig { layers: 0, ..MlpConfig::new(2) });
    let mut model = Model::new(&config, 1, &CPU).unwrap();
    let silent = Tensor::zeros(model.weights.flat().shape(), DType::F32, &CPU).unwrap();
    model.weights = model.weights.with_flat(silent).unwrap();
    let y = [0.3f32, -0.8, 0.1, 0.9];
    let n = [0.5f32, 1.5, -0.7, 0.2];
    let sigmas = [0.2, 3.0];
    let x: Vec<f32> = (0..4).map(|i| y[i] + sigmas[i / 2] as f32 * n[i]).collect();
    let expected: f64 = (0..2)
        .map(|b| {
            let s = Scaling::edm(sigmas[b], 0.5);
            let weight = (sigmas[b].powi(2) + 0.25) / (sigmas[b] * 0.5).powi(2);
            let square = |i: usize| (s.c_skip * f64::from(x[i]) - f64::from(y[i])).powi(2);
            weight * (square(2 * b) + square(2 * b + 1)) / 2.0
        })
        .sum();
    let cx = Context::inference(&model.weights);
    let tensor = |values: &[f32]| Tensor::from_slice(values, [2, 2], &CPU).unwrap();
    let loss = Loss::default()
        .at(&cx, model.denoiser(), &tensor(&y), &Var::constant(tensor(&x)), &sigmas, Conditions::default())
        .unwrap();
    approx::assert_relative_eq!(loss.value().item().unwrap(), expected, max_relative = 1e-5);
}

#[test]
fn noise_levels_are_log_normal_and_belong_to_their_samples() {
    let loss = Loss::default();
    let sigmas = loss.sigmas(20_000, &Address::new(3, 0)).unwrap();
    let logs: Vec<f64> = sigmas.iter().map(|sigma| sigma.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let deviation = (logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt();
    assert!((mean + 1.2).abs() < 0.04 && (deviation - 1.2).abs() < 0.03, "{mean} {deviation}");
    let later = |step| Address { samples: SampleIds::From(100), ..Address::new(3, step) };
    assert_eq!(loss.sigmas(3, &later(0)).unwrap(), sigmas[100..103]);
    assert_ne!(loss.sigmas(3, &later(1)).unwrap(), sigmas[100..103]);
}

/// Gradients of a whole network, checkpointed block by block and plain, agree bit for bit.
#[test]
fn checkpointed_training_has_the_same_gradients() {
    let model = Model::new(&small_unet(), 1, &CPU).unwrap();
    let y = noise(&[2, 8, 8, 1], DType::F32, 9);
    let gradient = |checkpointed: bool| {
        let tape = Tape::new();
        let cx = Context::training(&model.weights, &tape, Address::new(1, 0));
        let denoiser = model.denoiser().clone();
        let count = model.weights.layout().entries().len();
        let x = tape.leaf(y.clone());
        let run = move |cx: &Context, x: &Var| denoiser.denoise(cx, x, &[0.4, 2.0], Conditions::default());
        let out = match checkpointed {
            true => cx.checkpoint(0..count, &[&x], move |cx, inputs| run(cx, &inputs[0])).unwrap(),
            false => run(&cx, &x).unwrap(),
        };
        let entries = tape.len();
        let loss = ops::sum(ops::square(&out).unwrap(), &[0, 1, 2, 3]).unwrap();
        let mut gradients = loss.backward().unwrap();
        let dx = gradients.take(&x).unwrap().to_vec::<f32>().unwrap();
        (dx, cx.flat_gradient(&mut gradients).unwrap().to_vec::<f32>().unwrap(), entries)
    };
    let (plain, saved) = (gradient(false), gradient(true));
    assert!(plain.0 == saved.0 && plain.1 == saved.1);
    assert!(plain.1.iter().any(|g| *g != 0.0));
    assert!(saved.2 < plain.2, "{} entries against {}", saved.2, plain.2);
}

#[test]
fn every_parameter_gets_a_gradient() {
    let model = Model::new(&small_unet(), 1, &CPU).unwrap();
    let tape = Tape::new();
    let cx = Context::training(&model.weights, &tape, Address::new(1, 0));
    let labels = Var::constant(Tensor::from_slice(&[1f32; 20], [2, 10], &CPU).unwrap());
    let conditions = Conditions { class_labels: Some(&labels), augment_labels: None };
    let y = noise(&[2, 8, 8, 1], DType::F32, 9);
    let loss = Loss::default().forward(&cx, model.denoiser(), &y, conditions).unwrap();
    let gradient = cx.flat_gradient(&mut loss.backward().unwrap()).unwrap();
    let gradient = model.weights.with_flat(gradient).unwrap();
    for entry in model.weights.layout().entries().iter().filter(|entry| entry.trainable) {
        let values = gradient.view(entry).unwrap().to_vec::<f32>().unwrap();
        assert!(values.iter().all(|g| g.is_finite()), "{}", entry.name);
        assert!(values.iter().any(|g| *g != 0.0), "{} has no gradient", entry.name);
    }
}

#[test]
fn micro_batches_add_up() {
    let config = ModelConfig::new(MlpConfig { hidden: 16, ..MlpConfig::new(2) });
    let model = Model::new(&config, 1, &CPU).unwrap();
    let y = noise(&[6, 2], DType::F32, 0);
    let gradients = |rows: &[(usize, usize)]| {
        let mut flat = Tensor::zeros(model.weights.flat().shape(), DType::F32, &CPU).unwrap();
        for &(first, count) in rows {
            let tape = Tape::new();
            let address = Address { samples: SampleIds::From(first as u32), ..Address::new(1, 0) };
            let cx = Context::differentiable(&model.weights, &tape).at(address);
            let part = y.narrow(first, count).unwrap();
            let loss = Loss::default().forward(&cx, model.denoiser(), &part, Conditions::default()).unwrap();
            let share = ops::scale(&loss, count as f64 / 6.0).unwrap();
            cx.accumulate_gradient(&mut share.backward().unwrap(), &mut flat).unwrap();
        }
        flat.to_vec::<f32>().unwrap()
    };
    let (whole, parts) = (gradients(&[(0, 6)]), gradients(&[(0, 2), (2, 3), (5, 1)]));
    let scale = whole.iter().fold(0f32, |max, g| max.max(g.abs()));
    assert!(scale > 0.0);
    for (whole, part) in whole.iter().zip(&parts) {
        approx::assert_abs_diff_eq!(whole, part, epsilon = 1e-5 * scale);
    }
}
