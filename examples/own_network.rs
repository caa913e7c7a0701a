//! A score network of your own: trained, saved, loaded, sampled, measured, and used in SFBD, as the built-in ones are.
//!
//! `cargo run --release --example own_network`

use serde::{Deserialize, Serialize};
use veridical::data::{DataSet, Images};
use veridical::diffusion::likelihood::{Likelihood, Trace};
use veridical::diffusion::{Conditioned, Loss, Model, ModelConfig, Sampler, bits_per_dim};
use veridical::methods::{NoisyData, Sfbd, presets};
use veridical::nn::{self, Architecture, Conditions, Context, Linear, Module, Scope, ScoreNetwork};
use veridical::ops::random::SampleIds;
use veridical::random::{Normal, Purpose, RandomKey, Samples, fill};
use veridical::train::{Existing, Observer, RunDir, RunOptions, Started, Tick, TrainOptions, Trainer};
use veridical::{DType, Device, Result, Tensor, Var, ops};

/// The options, which model files and settings hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waves {
    dims: usize,
    hidden: usize,
}

/// Two layers, each scaled by a gate that depends on the noise level.
#[derive(Debug)]
struct WavesNetwork([Linear; 3], [Linear; 2]);

impl Architecture for Waves {
    const MODEL_TYPE: &'static str = "Waves";
    type Network = WavesNetwork;

    fn build(&self, scope: &mut Scope, outputs: usize) -> Result<WavesNetwork> {
        let mut layer = |name: &str, from, to| Linear::new(&mut scope.at(name), from, to, 1.0);
        let (dims, hidden) = (self.dims, self.hidden);
        let layers = [layer("in", dims, hidden), layer("middle", hidden, hidden), layer("out", hidden, outputs)];
        Ok(WavesNetwork(layers, [layer("gate0", 16, hidden), layer("gate1", 16, hidden)]))
    }

    fn sample_shape(&self) -> Vec<usize> {
        vec![self.dims]
    }
}

impl ScoreNetwork for WavesNetwork {
    fn forward(&self, cx: &Context, x: &Var, noise: &Var, _: Conditions) -> Result<Var> {
        let WavesNetwork([first, middle, last], gates) = self;
        let level = ops::positional_embedding((noise * 100.0)?, 16, 1e4, true)?;
        let mut h = ops::cast(x, cx.compute())?;
        for (layer, gate) in [first, middle].into_iter().zip(gates) {
            let gate = gate.forward(cx, &ops::cast(&level, cx.compute())?)?;
            h = (layer.forward(cx, &h)?.silu()? * gate)?;
        }
        last.forward(cx, &h)
    }
}

/// Points of N(0, 0.5^2) in the plane.
fn points(count: usize, seed: u64) -> Result<Vec<f32>> {
    let mut values = vec![0f32; 2 * count];
    fill(Normal, &RandomKey::new(seed, Purpose::Synthetic).stream()?, Samples::From(0), 2, &mut values)?;
    Ok(values.into_iter().map(|z| 0.5 * z).collect())
}

/// What a run tells while it is under way.
struct Progress;

impl Observer for Progress {
    fn started(&mut self, run: &Started) {
        println!("SFBD, {} parameters, {} steps", run.parameters, run.steps);
    }

    fn ticked(&mut self, tick: &Tick, images_per_second: f64, _: u64) {
        if tick.step.is_multiple_of(20) {
            println!("step {:>3}  loss {:.3}  {images_per_second:.0} points a second", tick.step, tick.loss);
        }
    }

    fn note(&mut self, text: &str) {
        println!("{text}");
    }
}

fn main() -> Result<()> {
    nn::register::<Waves>()?; // files and settings that say model_type = "Waves" are understood from here on
    let config = ModelConfig::edm(Waves { dims: 2, hidden: 64 }, 0.5);
    let mut model = Model::new(&config, 1, &Device::Cpu)?;

    let mut trainer = Trainer::new(model.weights.clone(), TrainOptions::adam(3e-3, 1))?;
    for step in 0..400 {
        let data = Tensor::from_slice(&points(256, step)?, [256, 2], &Device::Cpu)?;
        let tick =
            trainer.step(256, |cx| Loss::default().forward(cx, model.denoiser(), &data, Conditions::default()))?;
        if tick.step % 100 == 0 {
            println!("step {:>3}  loss {:.3}", tick.step, tick.loss);
        }
    }
    model.weights = trainer.average()?;

    let file = std::env::temp_dir().join("veridical-own-network.safetensors");
    model.save(&file)?;
    let model = Model::load(&file, &Device::Cpu)?;
    let samples = Sampler::default().sample(&model, 7, 0, 1000)?.to_vec::<f32>()?;
    let spread = (samples.iter().map(|x| f64::from(x * x)).sum::<f64>() / samples.len() as f64).sqrt();
    println!("1000 samples by Heun's method, standard deviation {spread:.3} (of the data: 0.5)");

    let x = Tensor::from_slice(&[0.3f64, -0.6], [1, 2], &Device::Cpu)?;
    let likelihood = Likelihood { trace: Trace::Exact, ..Likelihood::default() };
    let mut denoise = Conditioned::new(&model, None, DType::F32)?;
    let nats = likelihood.log_density(&mut denoise, &x, (0, &SampleIds::From(0)))?.nats[0];
    println!("a point's density: {:.3} bits a dimension", bits_per_dim(nats, 2, None));

    // SFBD: 300 clean points and 700 behind noise of level 0.3.
    let images = Images::new(points(1000, 9)?, vec![0; 1000], [1, 1, 2], 1)?;
    let data = NoisyData::simulated(DataSet::new("points", images), 0.3, 0.3, 0)?;
    let changes =
        ["train.images=20000", "train.sample_every=0", "sfbd.rounds=1", "sfbd.round_images=20000", "judge.images=500"];
    let mut settings = presets::sfbd("points")?.build(None, &changes.map(String::from))?;
    settings.run = settings.run.with_architecture(&config)?;
    let place = RunDir::create(std::env::temp_dir().join("veridical-own-network"), Existing::Overwrite)?;
    let outcome = Sfbd::new(&settings, &data)?.run(&place, RunOptions::default(), &mut Progress)?;
    for round in &outcome.rounds {
        let distance = round.generated.as_ref().and_then(|found| found.frechet_distance).unwrap_or(f64::NAN);
        println!("SFBD, round {}: Fréchet distance {distance:.4}", round.round);
    }
    Ok(())
}
