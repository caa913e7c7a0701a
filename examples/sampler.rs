//! A sampler inside a program: a model file in, samples of chosen classes out, with guidance, any solver, and a look at
//! the way.
//!
//! `cargo run --release --example sampler`

use veridical::diffusion::{Guidance, Model, ModelConfig, Request, Sampler, Start, one_hot, solvers};
use veridical::nn::SongConfig;
use veridical::{Device, Result};

fn main() -> Result<()> {
    let device = Device::best();
    // Your program has a trained model; here a fresh one stands in, of 8x8 grey pictures in ten classes.
    let file = std::env::temp_dir().join(format!("veridical-example-{}.safetensors", std::process::id()));
    let config = SongConfig {
        label_dim: 10,
        model_channels: 16,
        channel_mult: vec![1],
        num_blocks: 1,
        attn_resolutions: vec![],
        ..SongConfig::new(8, 1)
    };
    Model::new(&ModelConfig::new(config), 0, &device)?.save(&file)?;
    let model = Model::load(&file, &device)?;
    let _ = std::fs::remove_file(&file);

    let sampler = Sampler {
        solver: solvers::named("dpmpp-2m", &solvers::Options::default())?,
        steps: 12,
        guidance: Some(Guidance::new(1.5)),
        ..Sampler::default()
    };
    let request = Request {
        model: &model,
        reference: None, // classifier-free guidance; a second model here makes it autoguidance
        labels: Some(one_hot(&model, &[3, 1, 4, 1])?),
        start: Start::Noise,
        seed: 7,
        samples: vec![0, 1, 2, 3],
        trajectory: true,
    };
    let drawn = sampler.draw(&request)?;
    println!("{} after {} denoiser calls", drawn.samples.shape(), drawn.nfe);
    for (sigma, x) in drawn.trajectory.iter().step_by(4) {
        let values = x.to_vec::<f32>()?;
        let mean_square = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        println!("sigma {sigma:>8.4}  root mean square {:.4}", mean_square.sqrt());
    }

    // A sample is a function of its seed and number: drawn alone it is the same picture.
    let alone = sampler.draw(&request.part(2, 1)?)?.samples.to_vec::<f32>()?;
    let among = drawn.samples.narrow(2, 1)?.to_vec::<f32>()?;
    let difference = alone.iter().zip(&among).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    println!("sample 2 alone and among others: largest difference {difference:.1e}");
    assert!(difference < 1e-4);
    Ok(())
}
