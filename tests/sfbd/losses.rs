//! The losses on noisy images, and the fine-tuning losses.

use veridical::data::{Images, digits};
use veridical::diffusion::{Loss, LossKind, Model, ModelConfig};
use veridical::methods::ambient::{AmbientTweedie, Consistency};
use veridical::methods::{Cdm, NoisyData, fine_tune};
use veridical::nn::{Conditions, Context, SongConfig};
use veridical::ops::random::{Address, Draws};
use veridical::random::{Purpose, RandomKey};
use veridical::train::{Batch, Objective, RunConfig};
use veridical::{DType, Device, Tape, Tensor, ops};

const SEED: u64 = 9;
const STEP: u32 = 4;

pub fn network() -> Model {
    let network = SongConfig {
        model_channels: 8,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        dropout: 0.1,
        ..SongConfig::new(8, 1)
    };
    let model = Model::new(&ModelConfig::edm(network, 0.75), 3, &Device::Cpu).unwrap();
    // A network as it is made says almost nothing; one with larger weights shows differences.
    let values: Vec<f32> = model
        .weights
        .flat()
        .to_vec::<f32>()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(i, w)| w + 0.03 * (i as f32).sin())
        .collect();
    let flat = Tensor::from_slice(&values, [values.len()], &Device::Cpu).unwrap();
    model.with_flat_weights(flat).unwrap()
}

pub fn pictures(n: usize) -> Tensor {
    let (pixels, _) = digits::load().unwrap().train.gather(&(0..n as u32).collect::<Vec<_>>()).unwrap();
    Tensor::from_slice(&pixels, [n, 8, 8, 1], &Device::Cpu).unwrap()
}

/// Loss and gradient of an objective on a batch.
pub fn of(objective: &dyn Objective, model: &Model, y: &Tensor, seed: u64, step: u32) -> (f64, Vec<f32>) {
    let tape = Tape::new();
    let cx = Context::training(&model.weights, &tape, Address::new(seed, step));
    let indices: Vec<u32> = (0..y.shape()[0] as u32).collect();
    let conditions = Conditions::default();
    let batch = Batch { y, indices: &indices, conditions };
    let loss = objective.loss(&cx, model.denoiser(), &batch).unwrap();
    let value = loss.value().item().unwrap();
    let gradient = cx.flat_gradient(&mut loss.backward().unwrap()).unwrap();
    (value, gradient.to_vec::<f32>().unwrap())
}

fn ambient(levels: &[f64], consistency: Option<Consistency>) -> AmbientTweedie {
    AmbientTweedie { loss: Loss::default(), levels: levels.into(), consistency }
}

#[test]
fn at_zero_noise_ambient_tweedie_is_the_edm_loss_bit_for_bit() {
    let (model, y) = (network(), pictures(6));
    for loss in [Loss::default(), Loss::of(LossKind::Ve), Loss::of(LossKind::Vp)] {
        for step in 0..5 {
            let plain = of(&loss, &model, &y, SEED, step);
            let ambient = of(&AmbientTweedie { loss, ..ambient(&[0.0; 6], None) }, &model, &y, SEED, step);
            assert_eq!(plain.0.to_bits(), ambient.0.to_bits(), "{loss:?} at step {step}");
            assert!(plain.1 == ambient.1, "{loss:?}: the gradients differ");
        }
    }
}

/// The formula, in plain arithmetic on what the network says.
#[test]
fn mixed_levels_are_the_papers_formula() {
    let (model, y) = (network(), pictures(4));
    let levels = [0.0, 0.3, 0.59, 2.0];
    let loss = Loss::default();
    let no_dropout = {
        let tape = Tape::new();
        let cx = Context::differentiable(&model.weights, &tape).at(Address::new(SEED, STEP));
        let task = ambient(&levels, None);
        let loss = task.forward(&cx, model.denoiser(), &y, &levels, Conditions::default()).unwrap();
        loss.value().item().unwrap()
    };
    let drawn = loss.sigmas(4, &Address::new(SEED, STEP)).unwrap();
    let sigmas: Vec<f64> = drawn.iter().zip(levels).map(|(a, b)| a.max(b)).collect();
    assert!(sigmas.iter().zip(&drawn).any(|(a, b)| a != b), "no level was raised: {drawn:?}");
    let key = RandomKey::new(SEED, Purpose::TrainingNoise).at_step(STEP);
    let noise = ops::normal([4, 64], DType::F64, &Draws::new(key), &Device::Cpu).unwrap().to_f64().unwrap();
    let clean = y.to_f64().unwrap();
    let x: Vec<f64> = (0..256)
        .map(|i| clean[i] + (sigmas[i / 64].powi(2) - levels[i / 64].powi(2)).max(0.0).sqrt() * noise[i])
        .collect();
    let input: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    let input = Tensor::from_slice(&input, [4, 8, 8, 1], &Device::Cpu).unwrap();
    let denoised = model.denoise_each(&input, &sigmas, Conditions::default()).unwrap().to_f64().unwrap();
    let mut expected = 0.0;
    for i in 0..256 {
        let (sigma, s): (f64, f64) = (sigmas[i / 64], levels[i / 64]);
        let r = (s / sigma).powi(2);
        let prediction = (1.0 - r) * denoised[i] + r * x[i];
        let weight = (sigma.powi(2) + 0.75f64.powi(2)) / (sigma * 0.75).powi(2);
        expected += weight * (prediction - clean[i]).powi(2) / 4.0;
    }
    approx::assert_relative_eq!(no_dropout, expected, max_relative = 1e-4);
}

#[test]
fn the_consistency_term_adds_what_its_weight_says_and_carries_gradients_or_not() {
    let (model, y) = (network(), pictures(4));
    let term = |weight, through_chain| Some(Consistency { weight, steps: 3, copies: 2, through_chain });
    let levels = [0.4; 4];
    let plain = of(&ambient(&levels, None), &model, &y, SEED, STEP);
    let one = of(&ambient(&levels, term(1.0, true)), &model, &y, SEED, STEP);
    let two = of(&ambient(&levels, term(2.0, true)), &model, &y, SEED, STEP);
    assert!(one.0 > plain.0);
    approx::assert_relative_eq!(two.0 - plain.0, 2.0 * (one.0 - plain.0), max_relative = 1e-3);
    let cut = of(&ambient(&levels, term(1.0, false)), &model, &y, SEED, STEP);
    assert!(cut.1 != one.1 && cut.1 != plain.1, "the chain's gradient makes a difference");
    // Without dropout in the chain its value is another draw of the same term.
    assert!(cut.0 > plain.0);
}

#[test]
fn cdm_is_the_loss_and_a_product_of_differences() {
    let (model, y) = (network(), pictures(5));
    let cdm = |weight| Cdm { weight, ..Cdm::default() };
    let plain = of(&Loss::default(), &model, &y, SEED, STEP);
    let zero = of(&cdm(0.0), &model, &y, SEED, STEP);
    approx::assert_relative_eq!(zero.0, plain.0, max_relative = 1e-6);
    let (one, two) = (of(&cdm(1.0), &model, &y, SEED, STEP), of(&cdm(2.0), &model, &y, SEED, STEP));
    approx::assert_relative_eq!(two.0 - plain.0, 2.0 * (one.0 - plain.0), max_relative = 1e-2, epsilon = 1e-6);
    assert!(one.1 != plain.1);
}

#[test]
fn wrong_levels_are_errors() {
    let (model, y) = (network(), pictures(2));
    let cx = Context::inference(&model.weights).at(Address::new(SEED, STEP));
    for levels in [&[0.1][..], &[0.1, -1.0], &[0.1, f64::NAN]] {
        let task = ambient(levels, None);
        assert!(task.forward(&cx, model.denoiser(), &y, levels, Conditions::default()).is_err());
    }
    let nowhere = Context::inference(&model.weights);
    let error = ambient(&[0.1, 0.2], None).forward(&nowhere, model.denoiser(), &y, &[0.1, 0.2], Conditions::default());
    assert!(error.unwrap_err().to_string().contains("address"));
}

#[test]
fn a_model_that_does_not_fit_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    network().save(&path).unwrap();
    let data = veridical::data::open("digits").unwrap();
    let says = |settings: &[&str], data: &Images, what: &str| {
        let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
        let mut run = RunConfig::build(None, None, &settings).unwrap();
        run.train.device = "cpu".into();
        let error = fine_tune::pretrained(&path, &run, data).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    says(&["model.sigma_data=0.5"], &data.train, "trained with sigma_data = 0.75, but model.sigma_data is 0.5");
    let other = Images::new(vec![0.0; 16], vec![0], [4, 4, 1], 1).unwrap();
    says(&["model.sigma_data=0.75"], &other, "[4, 4, 1]");
    let wide = Images::new((0..128).map(|i| if i % 2 == 0 { 4.0 } else { -4.0 }).collect(), vec![0, 0], [8, 8, 1], 1);
    assert!(fine_tune::warning(&network(), &wide.unwrap()).unwrap().contains("standard deviation 0.75"));
    assert!(fine_tune::warning(&network(), &data.train).is_none());
    let _ = NoisyData::simulated(data, 0.5, 0.3, 0).unwrap();
}
