//! The training step, the sampler and the classifier, through the public API.

use veridical::data::digits;
use veridical::diffusion::{Loss, Model, ModelConfig, Sampler};
use veridical::evaluate::{ClassifierTraining, ImageClassifier};
use veridical::metrics::classification;
use veridical::nn::Conditions;
use veridical::nn::{Layout, Linear, Module, SongConfig, Weights};
use veridical::optim::{Decay, HalfLife, Schedule};
use veridical::stop::Stop;
use veridical::train::{TrainOptions, Trainer};
use veridical::{DType, Device, Error, Result, Tensor, Var, ops};

fn line() -> (Linear, Weights) {
    let mut layout = Layout::new();
    let line = Linear::new(&mut layout.scope("line"), 2, 1, 1.0);
    (line, Weights::init(&layout.into(), 1, &Device::Cpu).unwrap())
}

fn squared_error(line: &Linear, cx: &veridical::nn::Context) -> Result<Var> {
    let x = Tensor::from_slice(&[1f32, 2., 3., -1.], [2, 2], &Device::Cpu)?;
    let y = Tensor::from_slice(&[2f32, -1.], [2, 1], &Device::Cpu)?;
    (line.forward(cx, &x.into())? - y)?.square()?.mean_all()
}

#[test]
fn a_step_counts_schedules_and_averages() {
    let (network, weights) = line();
    let average = HalfLife { images: 8.0, ramp: None };
    let schedule = Schedule { warm_up: 4, decay: Decay::Cosine { total: 20 } };
    let options = TrainOptions { average: Some(average), schedule, ..TrainOptions::adam(0.05, 0) };
    let mut trainer = Trainer::new(weights, options).unwrap();
    let mut expected = trainer.weights().flat().to_f64().unwrap();
    let mut losses = Vec::new();
    for step in 1..=10u64 {
        let tick = trainer.step(2, |cx| squared_error(&network, cx)).unwrap();
        assert_eq!((tick.step, tick.seen, trainer.steps()), (step, 2 * step, step));
        let factor =
            if 2 * step < 4 { 0.5 } else { 0.5 + 0.5 * (std::f64::consts::PI * (2 * step - 4) as f64 / 16.0).cos() };
        approx::assert_relative_eq!(tick.learning_rate, 0.05 * factor, epsilon = 1e-12);
        assert!(tick.gradient_norm > 0.0);
        losses.push(tick.loss);
        // A batch of 2 of a half-life of 8 images.
        let beta = 0.5f64.powf(0.25);
        for (average, now) in expected.iter_mut().zip(trainer.weights().flat().to_f64().unwrap()) {
            *average = beta * *average + (1.0 - beta) * now;
        }
        for (got, expected) in trainer.average().unwrap().flat().to_f64().unwrap().iter().zip(&expected) {
            approx::assert_abs_diff_eq!(*got, *expected, epsilon = 1e-6);
        }
    }
    assert!(losses[9] < losses[0], "{losses:?}");
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_weights_alone() {
    let (network, weights) = line();
    let mut trainer = Trainer::new(weights, TrainOptions::adam(0.1, 0)).unwrap();
    trainer.step(2, |cx| squared_error(&network, cx)).unwrap();
    let before = trainer.weights().flat().to_vec::<f32>().unwrap();
    let log = trainer.step(2, |cx| ops::log(&ops::scale(&squared_error(&network, cx)?, -1.0)?)).unwrap_err();
    // The loss is 0, and its gradient 1/0.
    let root = trainer.step(2, |cx| ops::sqrt(&ops::scale(&squared_error(&network, cx)?, 0.0)?)).unwrap_err();
    for (error, what) in [(log, "loss of step 2"), (root, "gradient of step 2")] {
        assert!(matches!(error, Error::NonFinite { .. }) && error.to_string().contains(what), "{error}");
    }
    assert_eq!(trainer.weights().flat().to_vec::<f32>().unwrap(), before);
    assert_eq!(trainer.steps(), 1);
    trainer.step(2, |cx| squared_error(&network, cx)).unwrap();
}

fn tiny(classes: usize) -> Model {
    let network = SongConfig {
        label_dim: classes,
        model_channels: 8,
        channel_mult: vec![1, 1],
        num_blocks: 1,
        attn_resolutions: vec![2],
        ..SongConfig::new(4, 1)
    };
    Model::new(&ModelConfig::new(network), 3, &Device::Cpu).unwrap()
}

/// A score network trained for a few steps, so that class and noise level matter to what it draws.
fn trained(classes: usize) -> Model {
    let mut model = tiny(classes);
    let mut trainer = Trainer::new(model.weights.clone(), TrainOptions::adam(1e-2, 3)).unwrap();
    let pixels: Vec<f32> = (0..8 * 16).map(|i| if (i / 16 + i) % 2 == 0 { 0.8 } else { -0.8 }).collect();
    let y = Tensor::from_slice(&pixels, [8, 4, 4, 1], &Device::Cpu).unwrap();
    let index = Tensor::from_slice(&[0u32, 1, 0, 1, 0, 1, 0, 1], [8], &Device::Cpu).unwrap();
    let labels = (classes > 0).then(|| Var::from(ops::one_hot(&index, classes, DType::F32).unwrap()));
    for _ in 0..30 {
        let step = trainer.step(8, |cx| {
            let conditions = Conditions { class_labels: labels.as_ref(), augment_labels: None };
            Loss::default().forward(cx, model.denoiser(), &y, conditions)
        });
        step.unwrap();
    }
    model.weights = trainer.weights().clone();
    model
}

#[test]
fn a_sample_is_the_same_alone_and_among_others() {
    let model = trained(2);
    let sampler = Sampler { steps: 5, ..Sampler::default() };
    let classes = [0, 1, 1, 0, 1];
    let all = sampler.sample_classes(&model, 9, 0, &classes).unwrap().to_vec::<f32>().unwrap();
    for (i, class) in classes.iter().enumerate() {
        let one = sampler.sample_classes(&model, 9, i as u32, &[*class]).unwrap().to_vec::<f32>().unwrap();
        for (a, b) in one.iter().zip(&all[16 * i..16 * (i + 1)]) {
            approx::assert_abs_diff_eq!(a, b, epsilon = 1e-5);
        }
    }
    let differs = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-3);
    assert!(differs(&all[..16], &all[16..32]), "two samples are alike");
    let other = sampler.sample_classes(&model, 9, 0, &[1]).unwrap().to_vec::<f32>().unwrap();
    assert!(differs(&all[..16], &other), "the class makes no difference");

    let free = trained(0);
    assert_eq!(sampler.sample(&free, 1, 0, 3).unwrap().shape()[..], [3, 4, 4, 1]);
    assert_eq!(sampler.sample(&free, 1, 0, 0).unwrap().shape()[..], [0, 4, 4, 1]);
}

#[test]
fn what_cannot_be_sampled_is_an_error() {
    let (with, without, sampler) = (tiny(2), tiny(0), Sampler { steps: 2, ..Sampler::default() });
    let says = |result: Result<Tensor>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    says(sampler.sample(&with, 0, 0, 1), "sample_classes");
    says(sampler.sample_classes(&with, 0, 0, &[0, 2]), "class 2; the model has 2");
    says(sampler.sample_classes(&without, 0, 0, &[0]), "the model has 0");
    says(Sampler { steps: 0, ..sampler.clone() }.sample(&without, 0, 0, 1), "steps");
    says(Sampler { sigma_min: 90.0, ..sampler.clone() }.sample(&without, 0, 0, 1), "sigma_min");
    let len = without.weights.flat().len();
    let broken = without.with_flat_weights(Tensor::full(f64::NAN, [len], DType::F32, &Device::Cpu).unwrap()).unwrap();
    says(sampler.sample(&broken, 0, 7, 2), "sample 7 is not finite");
}

#[test]
fn the_classifier_reads_digits_it_has_not_seen() {
    let data = digits::load().unwrap();
    let training = ClassifierTraining { epochs: 4, ..Default::default() };
    let judge = ImageClassifier::train(&data.train, &training, &Device::Cpu).unwrap();
    let logits = judge.logits(&data.held_out.pixels().unwrap()).unwrap();
    let accuracy = classification(&logits, 10, data.held_out.labels(), 15).unwrap().accuracy;
    assert!(accuracy > 0.93, "{accuracy}");
    assert!(judge.logits(&[0.0; 65]).is_err());

    let stop = Stop::new();
    stop.request();
    {
        let _heeding = stop.enter();
        let stopped = ImageClassifier::train(&data.train, &training, &Device::Cpu);
        assert!(matches!(stopped, Err(Error::Stopped)));
    }
    let none = ClassifierTraining { channels: vec![], ..training };
    assert!(ImageClassifier::train(&data.train, &none, &Device::Cpu).is_err());
}
