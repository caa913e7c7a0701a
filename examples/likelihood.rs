//! The likelihood of a point: a network learns N(0, 0.5^2) in the plane, and the density it has learnt is held against
//! the true one.
//!
//! `cargo run --release --example likelihood`

use veridical::diffusion::likelihood::{Likelihood, Trace};
use veridical::diffusion::{Conditioned, Loss, Model, ModelConfig, bits_per_dim};
use veridical::nn::MlpConfig;
use veridical::ops::random::{Draws, SampleIds};
use veridical::random::{Purpose, RandomKey};
use veridical::train::{TrainOptions, Trainer};
use veridical::{DType, Device, Result, Tensor, ops};

const BATCH: usize = 256;

fn main() -> Result<()> {
    let device = Device::Cpu;
    let mut model = Model::new(&ModelConfig::new(MlpConfig::new(2)), 1, &device)?;
    let mut trainer = Trainer::new(model.weights.clone(), TrainOptions::adam(1e-3, 1))?;
    for step in 0..400 {
        let draws = Draws::from_sample(RandomKey::new(2, Purpose::Synthetic), step * BATCH as u32);
        let data = (0.5 * ops::normal([BATCH, 2], DType::F32, &draws, &device)?)?.into_value();
        trainer.step(BATCH, |cx| {
            let loss = Loss::default();
            loss.forward(cx, model.denoiser(), &data, Default::default())
        })?;
    }
    model.weights = trainer.weights().clone();

    let points = [[0f64, 0.0], [0.5, 0.0], [0.3, -0.6], [1.0, 1.0]];
    let x = Tensor::from_slice(points.as_flattened(), [points.len(), 2], &device)?;
    let likelihood = Likelihood { trace: Trace::Exact, ..Likelihood::default() };
    let mut denoise = Conditioned::new(&model, None, DType::F32)?;
    let found = likelihood.log_density(&mut denoise, &x, (0, &SampleIds::From(0)))?;
    println!("point            ln p   true ln p   bits/dim");
    for (point, nats) in points.iter().zip(&found.nats) {
        let truth = -(2.0 * std::f64::consts::PI * 0.25).ln() - (point[0].powi(2) + point[1].powi(2)) / 0.5;
        println!("{point:>11.1?}  {nats:>8.3}  {truth:>8.3}  {:>8.3}", bits_per_dim(*nats, 2, None));
        assert!((nats - truth).abs() < 0.3, "the network has learnt another density");
    }
    println!("{} denoiser calls", found.nfe);
    Ok(())
}
