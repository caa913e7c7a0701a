//! Consistent diffusion: what its loss is for a denoiser that has nothing to learn.

use veridical::diffusion::{EdmLoss, Loss, Model, ModelConfig};
use veridical::methods::Cdm;
use veridical::nn::MlpConfig;
use veridical::ops::random::Draws;
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Tensor, ops};

use super::losses::of;

/// The exact denoiser of N(0, a^2) is EDM's preconditioning with a network that says nothing. The expected product of
/// differences is 0 but for the error of the Euler steps, and that of EDM's churned steps is not: 0.0012, 0.045, 0.062
/// and 0.039 for each number at these levels and the full range, many times the allowance.
#[test]
fn the_consistency_loss_of_the_exact_denoiser_vanishes() {
    let (a, n, dims) = (0.5, 4096, 32);
    let model = Model::new(&ModelConfig::edm(MlpConfig::new(dims), a), 0, &Device::Cpu).unwrap();
    let zeros = Tensor::zeros([model.weights.layout().flat_len()], DType::F32, &Device::Cpu).unwrap();
    let model = model.with_flat_weights(zeros).unwrap();
    let key = RandomKey::new(1, Purpose::Custom);
    let z = ops::normal([n, dims], DType::F32, &Draws::new(key), &Device::Cpu).unwrap();
    let y: Vec<f32> = z.to_vec::<f32>().unwrap().iter().map(|z| a as f32 * z).collect();
    let y = Tensor::from_slice(&y, [n, dims], &Device::Cpu).unwrap();
    for (step, level) in [0.1f64, 0.3, 0.5, 0.9].into_iter().enumerate() {
        // One level for all samples, by a law as narrow as none.
        let loss = Loss::Edm(EdmLoss { p_mean: level.ln(), p_std: 1e-9 });
        let with = |weight| of(&Cdm { loss, weight, ..Cdm::default() }, &model, &y, 2, step as u32).0;
        let weight = 1e4;
        let term = (with(weight) - with(0.0)) / weight / dims as f64;
        // What a continuation says has at most this variance for each number, which is the noise of all its steps
        // without the drift, and the product of two of them has it for a standard deviation.
        let lower = level - 0.05;
        let c = a * a / (a * a + lower * lower);
        let spread = c * c * 2.0 * (level - lower) * level;
        let allowed = 5.0 * spread / ((n * dims) as f64).sqrt() + 1e-6;
        assert!(term.abs() < allowed, "level {level}: {term} for each number, expected 0 within {allowed}");
    }
}
