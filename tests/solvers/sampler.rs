//! Samples from models: guidance, starts, batches.

use std::cell::Cell;

use veridical::diffusion::solvers::{Churn, Denoise, Options, Rk45, combine, named};
use veridical::diffusion::{
    Drawn, Grid, Guidance, Guided, Model, ModelConfig, Request, Sampler, Start, one_hot, random_classes,
};
use veridical::nn::MlpConfig;
use veridical::ops::random::Draws;
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Error, Result, Tensor, ops};

use super::problem::{CPU, Mixture, normals};

fn model(label_dim: usize, seed: u64) -> Model {
    let config = ModelConfig::new(MlpConfig { label_dim, ..MlpConfig::new(2) });
    let model = Model::new(&config, seed, &CPU).unwrap();
    let louder = ops::scale(model.weights.flat(), 2.0).unwrap().into_value();
    model.with_flat_weights(louder).unwrap()
}

fn request(model: &Model, samples: Vec<u32>) -> Request<'_> {
    let labels = (model.denoiser().label_dim() > 0).then(|| one_hot(model, &vec![1; samples.len()]).unwrap());
    Request { model, reference: None, labels, start: Start::Noise, seed: 5, samples, trajectory: false }
}

fn values(drawn: &Drawn) -> Vec<f32> {
    drawn.samples.to_vec().unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn guidance_is_the_formula_where_it_acts() {
    let (near, far) = (Mixture::gaussian(0.5, 0.2), Mixture::gaussian(-0.5, 0.6));
    let asked = Cell::new(0);
    let x = normals(6, 1);
    for (guidance, acts) in [
        (Guidance::new(2.5), true),
        (Guidance::new(1.0), false),
        (Guidance { weight: 2.5, interval: Some((0.1, 0.7)) }, true),
        (Guidance { weight: 2.5, interval: Some((0.7, 2.0)) }, false),
        (Guidance { weight: 2.5, interval: Some((0.1, 0.5)) }, false),
    ] {
        asked.set(0);
        let mut guided = Guided {
            main: |x: &Tensor, sigma: f64| near.denoise(x, sigma),
            reference: |x: &Tensor, sigma: f64| {
                asked.set(asked.get() + 1);
                far.denoise(x, sigma)
            },
            guidance,
        };
        let got = guided.at(&x, 0.7).unwrap().to_f64().unwrap();
        assert_eq!(asked.get(), usize::from(acts), "{guidance:?}");
        for (x, got) in x.to_f64().unwrap().iter().zip(got) {
            let (main, reference) = (near.denoised(&[*x], 0.7)[0], far.denoised(&[*x], 0.7)[0]);
            let expected = if acts { reference + 2.5 * (main - reference) } else { main };
            approx::assert_abs_diff_eq!(got, expected, epsilon = 1e-12);
        }
    }
    assert!(Guidance::new(f64::NAN).check().is_err());
    assert!(Guidance { weight: 2.0, interval: Some((3.0, 1.0)) }.check().is_err());
}

#[test]
fn models_guide_models() {
    let (main, other) = (model(3, 1), model(3, 2));
    let plain = Sampler { steps: 6, ..Sampler::default() };
    let draw = |guidance: Option<Guidance>, reference: Option<&Model>| -> Result<Vec<f32>> {
        let request = Request { reference, ..request(&main, vec![0, 1, 2]) };
        Sampler { guidance, ..plain.clone() }.draw(&request).map(|drawn| values(&drawn))
    };
    let alone = draw(None, None).unwrap();
    assert_eq!(draw(Some(Guidance::new(1.0)), None).unwrap(), alone);
    assert!(largest_difference(&draw(Some(Guidance::new(3.0)), Some(&main)).unwrap(), &alone) < 1e-4);
    let free = draw(Some(Guidance::new(3.0)), None).unwrap();
    let auto = draw(Some(Guidance::new(3.0)), Some(&other)).unwrap();
    assert!(largest_difference(&free, &alone) > 1e-3 && largest_difference(&auto, &free) > 1e-3);
    // A reference without classes guides all classes.
    draw(Some(Guidance::new(2.0)), Some(&model(0, 1))).unwrap();
    let error = draw(Some(Guidance::new(f64::INFINITY)), None).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let guided = Sampler { guidance: Some(Guidance::new(2.0)), ..plain.clone() };
    let classless = model(0, 1);
    let error = guided.draw(&request(&classless, vec![0])).unwrap_err().to_string();
    assert!(error.contains("second model"), "{error}");
}

#[test]
fn a_sample_depends_on_its_number_alone() {
    let model = model(0, 3);
    let churned = Options {
        churn: Some(veridical::diffusion::solvers::Churn { amount: 5.0, ..Default::default() }),
        ..Default::default()
    };
    for (name, options, brownian) in [
        ("heun", churned, None),
        ("dpmpp-2m-sde", Options::default(), Some(false)),
        ("dpmpp-sde", Options::default(), None),
        ("rk45", Options::default(), None),
    ] {
        let sampler = Sampler { solver: named(name, &options).unwrap(), steps: 5, brownian, ..Sampler::default() };
        let draw = |samples: &[u32]| values(&sampler.draw(&request(&model, samples.to_vec())).unwrap());
        let together = draw(&[7, 0, 3]);
        let apart = [draw(&[7]), draw(&[0, 3])].concat();
        assert!(largest_difference(&together, &apart) < 1e-4, "{name}: {together:?} {apart:?}");
        assert!(largest_difference(&draw(&[1]), &draw(&[2])) > 1e-2, "{name}");
    }
}

#[test]
fn every_start_starts_where_it_says() {
    let model = model(0, 3);
    let sampler = Sampler { steps: 9, ..Sampler::default() };
    let first_state = |start: Start| {
        let request = Request { start, trajectory: true, ..request(&model, vec![0, 1, 2]) };
        let drawn = sampler.draw(&request).unwrap();
        let last = drawn.trajectory.last().unwrap().1.to_vec::<f32>().unwrap();
        assert_eq!(last, values(&drawn));
        let sigmas: Vec<f64> = drawn.trajectory.iter().map(|(sigma, _)| *sigma).collect();
        (drawn.trajectory[0].1.to_vec::<f32>().unwrap(), sigmas, drawn.nfe)
    };
    let draws = Draws::new(RandomKey::new(5, Purpose::Latents));
    let latents = ops::normal([3, 2], DType::F32, &draws, &CPU).unwrap();
    let z = latents.to_vec::<f32>().unwrap();

    let (noise, sigmas, nfe) = first_state(Start::Noise);
    assert_eq!((sigmas.len(), sigmas[9], nfe), (10, 0.0, 17));
    assert!(noise.iter().zip(&z).all(|(x, z)| (x - 80.0 * z).abs() < 1e-4));
    assert_eq!(first_state(Start::Latents(latents.clone())).0, noise);

    let images = Tensor::from_slice(&[0.1f32, 0.2, -0.3, 0.4, 0.5, -0.6], [3, 2], &CPU).unwrap();
    let clean = images.to_vec::<f32>().unwrap();
    let (noisy, sigmas, _) = first_state(Start::Image { images: images.clone(), sigma: 0.6 });
    assert!(sigmas[0] == 0.6 && sigmas[1] < 0.6 && sigmas.len() < 10);
    for ((x, y), z) in noisy.iter().zip(&clean).zip(&z) {
        approx::assert_abs_diff_eq!(*x, y + 0.6 * z, epsilon = 1e-6);
    }
    let (start, sigmas, _) = first_state(Start::Noisy { images: images.clone(), sigma: 0.6 });
    assert_eq!((start, sigmas[0]), (clean, 0.6));

    let refused = |start: Start, says: &str| {
        let error = sampler.draw(&Request { start, ..request(&model, vec![0, 1, 2]) }).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(Start::Latents(images.narrow(0, 2).unwrap()), "latents");
    refused(Start::Image { images: images.clone(), sigma: -1.0 }, "start at -1: ");
    refused(Start::Noisy { images: images.reshape([2, 3]).unwrap(), sigma: 1.0 }, "noisy images");
}

#[test]
fn a_noisy_image_is_denoised_to_the_data() {
    // On Gaussian data the exact flow is known; the solver that starts in the middle must follow it.
    let data = Mixture::gaussian(0.3, 0.5);
    let sigmas = veridical::diffusion::sigmas_from(&Grid::default().sigmas(60, 0.002, 80.0).unwrap(), 0.59).unwrap();
    let y = veridical::diffusion::solvers::heun(&mut |x: &Tensor, s: f64| data.denoise(x, s), &normals(4, 2), &sigmas);
    for (x, y) in normals(4, 2).to_f64().unwrap().iter().zip(y.unwrap().to_f64().unwrap()) {
        approx::assert_abs_diff_eq!(y, data.flow(*x, 0.59, 0.0), epsilon = 3e-3);
    }
}

#[test]
fn requests_that_do_not_fit_are_errors() {
    let (with, without) = (model(3, 1), model(0, 1));
    let sampler = Sampler { steps: 2, ..Sampler::default() };
    let labels = one_hot(&with, &[0, 1]).unwrap();
    let says = |request: Request, text: &str| {
        let error = sampler.draw(&request).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(Request { labels: Some(labels.clone()), ..request(&without, vec![0, 1]) }, "no class labels");
    says(Request { labels: Some(labels), ..request(&with, vec![0]) }, "class labels");
    let guided = Sampler { guidance: Some(Guidance::new(3.0)), ..sampler.clone() };
    let half = Tensor::from_slice(&[0f32, 1.0, 0.0, 0.0, 0.0, 0.0], [2, 3], &CPU).unwrap();
    for (labels, which) in [(None, "sample 8"), (Some(half), "sample 9")] {
        let error = guided.draw(&Request { labels, ..request(&with, vec![8, 9]) }).unwrap_err().to_string();
        assert!(error.contains("does nothing") && error.contains(which), "{error}");
    }
    for wrong in
        [Sampler { sigma_min: f64::NAN, ..sampler.clone() }, Sampler { sigma_max: f64::NAN, ..sampler.clone() }]
    {
        assert!(wrong.sigmas(&without, None).unwrap_err().to_string().contains("NaN"));
    }
    assert!(one_hot(&with, &[3]).is_err());
    assert!(request(&with, vec![0, 1]).part(1, 2).is_err());
    let solver = std::sync::Arc::new(Rk45::default());
    let adaptive = Sampler { solver, ..sampler.clone() };
    let both = adaptive.draw(&Request { trajectory: true, ..request(&without, vec![0, 1]) }).unwrap_err().to_string();
    assert!(both.contains("alone"), "{both}");
    // Alone, an adaptive solver has a trajectory.
    assert!(adaptive.draw(&Request { trajectory: true, ..request(&without, vec![0]) }).unwrap().trajectory.len() > 3);
}

#[test]
fn random_classes_are_even_and_their_own() {
    let ids: Vec<u32> = (0..3000).collect();
    let classes = random_classes(1, &ids, 3).unwrap();
    for class in 0..3 {
        let count = classes.iter().filter(|c| **c == class).count();
        assert!((900..1100).contains(&count), "{count} of class {class}");
    }
    assert_eq!(random_classes(1, &ids[17..20], 3).unwrap(), classes[17..20]);
}

#[test]
fn a_brownian_path_is_refused_where_the_noise_must_be_fresh() {
    let model = model(0, 3);
    let churn = Some(Churn { amount: 5.0, ..Churn::default() });
    let draw = |name: &str, options: Options| {
        let solver = named(name, &options).unwrap();
        let sampler = Sampler { solver, steps: 4, brownian: Some(true), ..Sampler::default() };
        sampler.draw(&request(&model, vec![0, 1]))
    };
    for name in ["euler", "heun", "dpm2", "edm-general"] {
        let error = draw(name, Options { churn, ..Options::default() }).unwrap_err().to_string();
        assert!(error.contains("fresh noise"), "{name}: {error}");
        draw(name, Options::default()).unwrap();
    }
    let error = draw("predictor-corrector", Options::default()).unwrap_err().to_string();
    assert!(error.contains("PredictorCorrector") && error.contains("fresh noise"), "{error}");
    draw("predictor-corrector", Options { corrector_steps: Some(0), ..Options::default() }).unwrap();
}

#[test]
fn the_solver_decides_about_the_path_unless_told() {
    let model = model(0, 3);
    let draw = |name: &str, brownian: Option<bool>| {
        let solver = named(name, &Options::default()).unwrap();
        let sampler = Sampler { solver, steps: 6, brownian, ..Sampler::default() };
        values(&sampler.draw(&request(&model, vec![0, 1])).unwrap())
    };
    for name in ["dpmpp-sde", "dpmpp-2m-sde", "dpmpp-3m-sde"] {
        assert_eq!(draw(name, None), draw(name, Some(true)), "{name}");
        assert_ne!(draw(name, None), draw(name, Some(false)), "{name}");
    }
    for name in ["euler-ancestral", "reverse-diffusion"] {
        assert_eq!(draw(name, None), draw(name, Some(false)), "{name}");
        assert_ne!(draw(name, None), draw(name, Some(true)), "{name}");
    }
}

#[test]
fn a_brownian_path_makes_step_counts_comparable() {
    let model = model(0, 3);
    let draw = |steps: usize, brownian: bool| {
        let sampler = Sampler {
            solver: named("dpmpp-2m-sde", &Options::default()).unwrap(),
            grid: Grid::Exponential,
            steps,
            sigma_min: 0.05,
            sigma_max: 5.0,
            brownian: Some(brownian),
            ..Sampler::default()
        };
        sampler.draw(&request(&model, (0..8).collect())).unwrap().samples
    };
    let distance = |a: &Tensor, b: &Tensor| {
        combine(&[(1.0, a), (-1.0, b)]).unwrap().to_f64().unwrap().iter().map(|d| d * d).sum::<f64>().sqrt()
    };
    let same = distance(&draw(60, true), &draw(120, true));
    let other = distance(&draw(60, false), &draw(120, false));
    assert!(same < 0.25 * other, "{same} on one path, {other} on two");
}
