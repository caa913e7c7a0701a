//! Stein's unbiased risk estimate on Gaussian data, of which the best denoiser and its error are known.

use serde::{Deserialize, Serialize};
use veridical::autograd::Var;
use veridical::data::Images;
use veridical::diffusion::{Loss, Model, ModelConfig};
use veridical::methods::noisy::NoiseLevels;
use veridical::methods::{Sure, unsure_sigma};
use veridical::nn::{Architecture, Conditions, Context, Linear, Module, Scope, ScoreNetwork};
use veridical::ops::random::Address;
use veridical::optim::{Decay, Schedule};
use veridical::random::{Normal, Purpose, RandomKey, Samples, fill};
use veridical::train::{TrainOptions, Trainer};
use veridical::{Device, Result, Tensor};

use super::losses::{network, of, pictures};

/// A matrix: with one noise level the denoiser is linear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Matrix {
    dims: usize,
}

#[derive(Debug)]
struct MatrixNetwork(Linear);

impl Architecture for Matrix {
    const MODEL_TYPE: &'static str = "Matrix";
    type Network = MatrixNetwork;

    fn build(&self, scope: &mut Scope, outputs: usize) -> Result<MatrixNetwork> {
        Ok(MatrixNetwork(Linear::new(&mut scope.at("matrix"), self.dims, outputs, 1.0)))
    }

    fn sample_shape(&self) -> Vec<usize> {
        vec![self.dims]
    }
}

impl ScoreNetwork for MatrixNetwork {
    fn forward(&self, cx: &Context, x: &Var, _: &Var, _: Conditions) -> Result<Var> {
        self.0.forward(cx, x)
    }
}

/// The covariance of the clean data is L L^T.
const L: [[f64; 2]; 2] = [[1.0, 0.0], [0.6, 0.5]];
const SIGMA: f64 = 0.7;
const N: usize = 20_000;

/// Clean points, and the same with noise.
fn points() -> [Vec<f32>; 2] {
    let mut z = vec![0f32; 4 * N];
    let stream = RandomKey::new(11, Purpose::Custom).stream().unwrap();
    fill(Normal, &stream, Samples::From(0), 4 * N, &mut z).unwrap();
    let (mut clean, mut noisy) = (Vec::new(), Vec::new());
    for z in z.chunks_exact(4) {
        for (row, e) in L.iter().zip(&z[2..]) {
            let x = row[0] * f64::from(z[0]) + row[1] * f64::from(z[1]);
            clean.push(x as f32);
            noisy.push((x + SIGMA * f64::from(*e)) as f32);
        }
    }
    [clean, noisy]
}

fn covariance() -> [[f64; 2]; 2] {
    std::array::from_fn(|i| std::array::from_fn(|j| L[i][0] * L[j][0] + L[i][1] * L[j][1]))
}

/// `C (C + sigma^2)^-1`.
fn wiener() -> [[f64; 2]; 2] {
    let c = covariance();
    let (a, b, d) = (c[0][0] + SIGMA * SIGMA, c[0][1], c[1][1] + SIGMA * SIGMA);
    let det = a * d - b * b;
    let inverse = [[d / det, -b / det], [-b / det, a / det]];
    std::array::from_fn(|i| std::array::from_fn(|j| c[i][0] * inverse[0][j] + c[i][1] * inverse[1][j]))
}

fn model() -> Model {
    Model::new(&ModelConfig::edm(Matrix { dims: 2 }, 0.5), 1, &Device::Cpu).unwrap()
}

/// The matrix that a model is at the noise's level: what it makes of the unit vectors, less what it makes of nothing.
fn filter(model: &Model) -> [[f64; 2]; 2] {
    let x = Tensor::from_slice(&[0f32, 0.0, 1.0, 0.0, 0.0, 1.0], [3, 2], &Device::Cpu).unwrap();
    let d = model.denoise(&x, SIGMA, None).unwrap().to_vec::<f32>().unwrap();
    std::array::from_fn(|i| std::array::from_fn(|j| f64::from(d[2 * (j + 1) + i] - d[i])))
}

/// With the level of the noise and no other; its weight is 1 over its square.
fn sure(levels: &[f64]) -> Sure {
    Sure { loss: Loss::Ve { sigma_min: SIGMA, sigma_max: SIGMA }, levels: levels.into(), step: 0.01 }
}

#[test]
fn the_estimate_is_the_error_beside_the_clean_data() {
    let model = model();
    let [clean, noisy] = points();
    let y = Tensor::from_slice(&noisy, [N, 2], &Device::Cpu).unwrap();
    let found = of(&sure(&vec![SIGMA; N]), &model, &y, 3, 0).0 * SIGMA * SIGMA;
    // tr (A - I) C (A - I)^T + sigma^2 tr A A^T, and the square of what it makes of nothing.
    let (a, c) = (filter(&model), covariance());
    let zero = model.denoise(&Tensor::from_slice(&[0f32; 2], [1, 2], &Device::Cpu).unwrap(), SIGMA, None).unwrap();
    let mut expected: f64 = zero.to_vec::<f32>().unwrap().iter().map(|d| f64::from(*d).powi(2)).sum();
    for (i, row) in a.iter().enumerate() {
        let off: [f64; 2] = std::array::from_fn(|j| row[j] - f64::from(u8::from(i == j)));
        let product = |row: &[f64; 2]| row[0] * off[0] + row[1] * off[1];
        expected += SIGMA * SIGMA * (row[0] * row[0] + row[1] * row[1]);
        expected += off[0] * product(&c[0]) + off[1] * product(&c[1]);
    }
    assert!((found / expected - 1.0).abs() < 0.04, "{found}, expected {expected}");
    // And what can be measured beside the clean points themselves.
    let denoised = model.denoise(&y, SIGMA, None).unwrap().to_vec::<f32>().unwrap();
    let squares: f64 = denoised.iter().zip(&clean).map(|(d, x)| f64::from(d - x).powi(2)).sum();
    assert!((squares / N as f64 / expected - 1.0).abs() < 0.02, "{}", squares / N as f64);
}

/// A linear denoiser trained by SURE at a stated level.
fn trained(noisy: &[f32], stated: f64) -> Model {
    let mut model = model();
    let y = Tensor::from_slice(noisy, [N, 2], &Device::Cpu).unwrap();
    let loss = Loss::Ve { sigma_min: stated, sigma_max: stated };
    let (objective, levels) = (Sure { loss, ..sure(&[stated]) }, vec![stated; N]);
    // Slower towards the end: each step has directions of its own.
    let schedule = Schedule { warm_up: 0, decay: Decay::Cosine { total: 300 * N as u64 } };
    let options = TrainOptions { schedule, ..TrainOptions::adam(0.03, 1) };
    let mut trainer = Trainer::new(model.weights.clone(), options).unwrap();
    for _ in 0..300 {
        let (denoiser, conditions) = (model.denoiser(), Conditions::default());
        trainer.step(N, |cx| objective.forward(cx, denoiser, &y, &levels, conditions)).unwrap();
    }
    model.weights = trainer.weights().clone();
    model
}

#[test]
fn its_minimum_is_the_wiener_filter() {
    let [_, noisy] = points();
    let (found, expected) = (filter(&trained(&noisy, SIGMA)), wiener());
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 0.03, "{found}, expected {expected}");
    }
}

/// UNSURE's multiplier is d over the trace of the inverse of the noisy data's covariance.
#[test]
fn the_level_is_found_whatever_level_was_stated() {
    let [_, noisy] = points();
    let c = covariance();
    let (a, b, d) = (c[0][0] + SIGMA * SIGMA, c[0][1], c[1][1] + SIGMA * SIGMA);
    let expected = (2.0 * (a * d - b * b) / (a + d)).sqrt();
    let images = Images::new(noisy.clone(), vec![0; N], [1, 1, 2], 1).unwrap();
    let all: Vec<u32> = (0..N as u32).collect();
    for stated in [SIGMA, 0.5] {
        let found = unsure_sigma(&trained(&noisy, stated), &images, &all, &NoiseLevels::One(stated)).unwrap();
        assert!((found / expected - 1.0).abs() < 0.03 && found > SIGMA, "{stated}: {found}, expected {expected}");
    }
}

#[test]
fn clean_images_have_the_plain_loss_bit_for_bit_and_each_its_share() {
    let (model, y) = (network(), pictures(6));
    for step in 0..3 {
        let with = |levels: [f64; 6]| Sure { loss: Loss::default(), levels: levels.into(), step: 0.01 };
        let plain = of(&Loss::default(), &model, &y, 9, step);
        let clean = of(&with([0.0; 6]), &model, &y, 9, step);
        assert_eq!((plain.0.to_bits(), &plain.1), (clean.0.to_bits(), &clean.1));
        let mixed = of(&with([0.0, 0.3, 0.0, 0.59, 0.0, 2.0]), &model, &y, 9, step);
        assert!(mixed.0 != plain.0 && mixed.1 != plain.1 && mixed.0.is_finite());
    }
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let (model, y) = (network(), pictures(2));
    let cx = Context::inference(&model.weights).at(Address::new(1, 1));
    let says = |objective: Sure, levels: &[f64], what: &str| {
        let error = objective.forward(&cx, model.denoiser(), &y, levels, Conditions::default());
        assert!(error.unwrap_err().to_string().contains(what), "{what}");
    };
    says(sure(&[0.1]), &[0.1], "a noise level not below 0 for each of 2 samples");
    says(sure(&[0.1; 2]), &[0.1, f64::NAN], "a noise level");
    says(Sure { step: 0.0, ..sure(&[0.1; 2]) }, &[0.1, 0.1], "a step above 0");
}
