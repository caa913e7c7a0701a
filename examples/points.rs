//! Your own tensors in, new samples out: a score network learns a spiral in the plane.
//!
//! `cargo run --release --example points`

use veridical::diffusion::{Loss, Model, ModelConfig, Sampler};
use veridical::metrics::sliced_wasserstein;
use veridical::nn::Conditions;
use veridical::nn::MlpConfig;
use veridical::optim::HalfLife;
use veridical::train::{TrainOptions, Trainer};
use veridical::{Device, Result, Tensor, ops};

const POINTS: usize = 2000;
const BATCH: usize = 500;

fn main() -> Result<()> {
    let device = Device::Cpu;
    // Any f32 data of shape [n, ...] will do; sigma_data below is its standard deviation.
    let spiral: Vec<f32> = (0..POINTS)
        .flat_map(|i| {
            let angle = 9.0 * (i as f32 / POINTS as f32).sqrt();
            [angle * angle.cos() / 9.0, angle * angle.sin() / 9.0]
        })
        .collect();

    let config = ModelConfig::edm(MlpConfig::new(2), 0.5);
    let mut model = Model::new(&config, 1, &device)?;
    let average = Some(HalfLife { images: 50_000.0, ramp: Some(0.1) });
    let mut trainer = Trainer::new(model.weights.clone(), TrainOptions { average, ..TrainOptions::adam(3e-3, 1) })?;
    for step in 0..1500 {
        let rows: Vec<f32> = (0..BATCH).flat_map(|i| point(&spiral, (step * BATCH + i) * 7919 % POINTS)).collect();
        let clean = Tensor::from_slice(&rows, [BATCH, 2], &device)?;
        let tick = trainer.step(BATCH, |cx| {
            let loss = Loss::default();
            let sum = loss.forward(cx, model.denoiser(), &clean, Conditions::default())?;
            ops::scale(&sum, 0.5) // the mean over both coordinates
        })?;
        if tick.step % 300 == 0 {
            println!("step {:>4}  loss {:.3}", tick.step, tick.loss);
        }
    }

    model.weights = trainer.average()?;
    let samples = Sampler::default().sample(&model, 1, 0, POINTS)?.to_vec::<f32>()?;
    let distance = sliced_wasserstein(&samples, &spiral, 2, 128, 2.0, 0)?;
    println!("{POINTS} samples, sliced Wasserstein distance to the spiral {distance:.4}");
    draw(&samples);
    Ok(())
}

fn point(points: &[f32], i: usize) -> [f32; 2] {
    [points[2 * i], points[2 * i + 1]]
}

/// Prints the points as a picture of characters.
fn draw(points: &[f32]) {
    const SIZE: [usize; 2] = [64, 30];
    let mut picture = vec![vec![' '; SIZE[0]]; SIZE[1]];
    for p in points.chunks(2) {
        let at = |v: f32, size: usize| ((v * 0.45 + 0.5) * size as f32).clamp(0.0, size as f32 - 1.0) as usize;
        picture[SIZE[1] - 1 - at(p[1], SIZE[1])][at(p[0], SIZE[0])] = '·';
    }
    for row in picture {
        println!("{}", row.into_iter().collect::<String>().trim_end());
    }
}
