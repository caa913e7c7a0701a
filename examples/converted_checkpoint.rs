//! Load a model file, such as a published checkpoint after `scripts/edm_pickle_to_safetensors.py`, and let it denoise.
//!
//! `cargo run --release --example converted_checkpoint -- edm-cifar10-32x32-uncond-vp.safetensors`
//!
//! Without a file it makes a small one first, with fresh weights.

use std::path::PathBuf;

use veridical::diffusion::{Model, ModelConfig};
use veridical::nn::SongConfig;
use veridical::ops::random::Draws;
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Result, ops};

fn main() -> Result<()> {
    let device = Device::best();
    let (_temporary, path) = match std::env::args_os().nth(1) {
        Some(path) => (None, PathBuf::from(path)),
        None => {
            let dir = std::env::temp_dir().join(format!("veridical-example-{}", std::process::id()));
            std::fs::create_dir_all(&dir).map_err(|error| veridical::Error::io(&dir, error))?;
            let path = dir.join("small.safetensors");
            let network = SongConfig { model_channels: 16, num_blocks: 1, ..SongConfig::ddpmpp(16, 3) };
            Model::new(&ModelConfig::new(network), 0, &device)?.save(&path)?;
            (Some(Temporary(dir)), path)
        }
    };

    // A file that lacks a tensor, has one too many or one of another shape is an error that names it.
    let model = Model::load(&path, &device)?;
    let denoiser = model.denoiser();
    let (sigma_min, sigma_max) = denoiser.sigma_range();
    println!("{}", path.display());
    println!("architecture     {}", model.config().to_json()?);
    println!("parameters       {}", model.weights.layout().parameter_count());
    println!("classes          {}", denoiser.label_dim());
    println!("noise levels     {sigma_min} to {sigma_max}");

    // Pure noise at a few levels: how much of it does the model believe?
    let shape = [&[4][..], &denoiser.sample_shape()].concat();
    let noise = ops::normal(shape, DType::F32, &Draws::new(RandomKey::new(0, Purpose::Latents)), &device)?;
    for sigma in [0.05, 0.5, 5.0, 50.0].map(|sigma: f64| sigma.clamp(sigma_min.max(1e-3), sigma_max)) {
        let sigma = denoiser.round_sigma(sigma);
        let x = ops::scale(&noise, sigma)?.into_value();
        let denoised = model.denoise(&x, sigma, None)?.to_vec::<f32>()?;
        let power = denoised.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / denoised.len() as f64;
        println!("sigma {sigma:>8.4}   root mean square of D(sigma n; sigma) {:.4}", power.sqrt());
    }
    Ok(())
}

/// A folder that goes when the program ends.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
