//! What a training step of the players' classifiers takes: KDGAN's student and teacher and Triple-GAN's classifier on
//! MNIST, by cross-entropy and Adam, as lines of JSON. `benches/peers/torch_classifiers.py` times the same in PyTorch,
//! and `scripts/bench-cpu players` both in turns.
//!
//! `cargo run --release --example classifier_cost -- BATCH`

use std::time::{Duration, Instant};

use veridical::nn::{InputRange, Layout, LeNet, LeNetConfig, Module, Perceptron, PerceptronConfig, Stack, StackConfig};
use veridical::nn::{Scope, Weights};
use veridical::train::{TrainOptions, Trainer};
use veridical::{Device, Error, Result, Tensor, ops, threads};

const SIZE: [usize; 3] = [28, 28, 1];
const CLASSES: usize = 10;
/// Time that goes into a network.
const BUDGET: Duration = Duration::from_secs(2);

/// Builds a network in a scope.
type Build = fn(&mut Scope) -> Result<Box<dyn Module>>;

fn student(scope: &mut Scope) -> Result<Box<dyn Module>> {
    let (hidden, range) = (vec![800, 800], InputRange::default());
    let config = PerceptronConfig { inputs: SIZE.iter().product(), hidden, classes: CLASSES, dropout: 0.12, range };
    Ok(Box::new(Perceptron::new(scope, &config)?))
}

fn teacher(scope: &mut Scope) -> Result<Box<dyn Module>> {
    let config = LeNetConfig {
        size: SIZE,
        channels: vec![20, 20],
        kernel: 5,
        padding: 0,
        hidden: 500,
        classes: CLASSES,
        dropout: 0.5,
        range: InputRange::default(),
    };
    Ok(Box::new(LeNet::new(scope, &config)?))
}

fn classifier(scope: &mut Scope) -> Result<Box<dyn Module>> {
    let layers = ["32x5v", "pool", "64x3", "64x3v", "pool", "128x3", "128x3"].map(String::from).to_vec();
    let config = StackConfig { size: SIZE, layers, classes: CLASSES, dropout: 0.5, noise: 0.0, slope: 0.0 };
    Ok(Box::new(Stack::new(scope, &config)?))
}

/// The median of a step's milliseconds.
fn milliseconds(build: Build, batch: usize) -> Result<f64> {
    let mut layout = Layout::new();
    let network = build(&mut layout.scope("network"))?;
    let mut trainer = Trainer::new(Weights::init(&layout.into(), 0, &Device::Cpu)?, TrainOptions::adam(1e-3, 0))?;
    let values = batch * SIZE.iter().product::<usize>();
    let pixels = (0..values).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
    let images = Tensor::from_vec(pixels, [&[batch][..], &SIZE].concat(), &Device::Cpu)?;
    let labels = Tensor::from_vec((0..batch).map(|i| (i % CLASSES) as u32).collect(), [batch], &Device::Cpu)?;
    let mut step = || -> Result<f64> {
        let start = Instant::now();
        trainer.step(batch, |cx| ops::cross_entropy(&network.forward(cx, &(&images).into())?, &labels))?;
        Ok(1e3 * start.elapsed().as_secs_f64())
    };
    for _ in 0..3 {
        step()?;
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < BUDGET {
        times.push(step()?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn main() -> Result<()> {
    for note in threads::start_here()? {
        eprintln!("{note}");
    }
    let batch = match std::env::args().nth(1) {
        None => 100,
        Some(text) => text.parse().map_err(|error| Error::Config(format!("BATCH is a number of images: {error}")))?,
    };
    let networks: [(&str, Build); 3] =
        [("kdgan-student", student), ("kdgan-teacher", teacher), ("triple-gan-classifier", classifier)];
    for (name, build) in networks {
        println!("{{\"network\": \"{name}\", \"batch\": {batch}, \"ms\": {:.4}}}", milliseconds(build, batch)?);
    }
    Ok(())
}
