//! How far a model of the mixture in the plane is from it when a coarse solver draws its samples, by two
//! Kullback-Leibler distances.
//!
//! `cargo run --release --example coarse_solver -- MODEL.safetensors...` (models that `veridical train --preset points
//! --data synthetic:mixture` and `veridical csc --preset points` made); without files it shows them for the mixture's
//! own best denoiser.
//!
//! * KL(model || data), exact up to sampling: the deployed solver is a map `x(z)` of the noise, so
//!   `ln q(x(z)) = ln N(z) - ln |det dx/dz|` with the Jacobian by central differences, and the mixture's density is
//!   known.
//! * KL(data || model), over square cells with a side of 0.1: exact masses of the mixture against shares of samples.
//!   Its floor is what samples of the mixture itself show.

use std::f64::consts::TAU;

use veridical::data::synthetic::{Density, Mixture};
use veridical::diffusion::solvers::{self, FreshNoise, solve};
use veridical::diffusion::{Conditioned, Model, karras_sigmas};
use veridical::ops::random::{Draws, SampleIds};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Error, Result, Tensor, ops};

const STEPS: [usize; 6] = [3, 5, 7, 9, 13, 18];
const SIGMA_MAX: f64 = 80.0;
const POINTS: usize = 2000;
const SAMPLES: usize = 20_000;
const CELLS: usize = 32;
const REACH: f64 = 1.6;

fn main() -> Result<()> {
    let Density::Mixture(mixture) = Density::named("mixture")? else {
        return Err(Error::Config("the mixture is none".into()));
    };
    println!("{:<40} {:>5} {:>4} {:>17} {:>17}", "", "steps", "NFE", "KL(model || data)", "KL(data || model)");
    let floor = binned(&mixture, &Density::named("mixture")?.sample(1, 0, SAMPLES)?);
    println!("{:<40} {:>5} {:>4} {:>17} {floor:>17.4}", "samples of the mixture", "", "", "");
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        let mut best = |x: &Tensor, sigma: f64| {
            let rows = x.to_vec::<f64>()?;
            let values: Vec<f64> = rows.chunks(2).flat_map(|row| mixture.denoised(row, sigma)).collect();
            Tensor::from_slice(&values, x.shape(), &Device::Cpu)
        };
        for steps in STEPS {
            report("the best denoiser", steps, &mixture, &mut best)?;
        }
    }
    for file in &files {
        let model = Model::load(file, &Device::Cpu)?;
        let mut denoise = Conditioned::new(&model, None, DType::F32)?;
        for steps in STEPS {
            report(file, steps, &mixture, &mut denoise)?;
        }
    }
    Ok(())
}

fn report(name: &str, steps: usize, mixture: &Mixture, denoise: &mut dyn solvers::Denoise) -> Result<()> {
    let mut map = |z: &[f64]| -> Result<Vec<f64>> {
        let sigmas = karras_sigmas(steps, 0.002, SIGMA_MAX, 7.0)?;
        let scaled: Vec<f64> = z.iter().map(|z| SIGMA_MAX * z).collect();
        let start = Tensor::from_slice(&scaled, [z.len() / 2, 2], &Device::Cpu)?;
        let mut noise = FreshNoise::new(0, SampleIds::From(0));
        solve(&solvers::Heun::default(), denoise, &start, &sigmas, &mut noise, &mut |_| Ok(()))?.x.to_vec()
    };
    let z = noise(POINTS, 1)?;
    let moved = |axis: usize, by: f64| -> Vec<f64> {
        z.iter().enumerate().map(|(i, z)| if i % 2 == axis { z + by } else { *z }).collect()
    };
    const H: f64 = 1e-3;
    let ends = map(&z)?;
    let mut columns = Vec::new();
    for axis in 0..2 {
        let (up, down) = (map(&moved(axis, H))?, map(&moved(axis, -H))?);
        columns.push(up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * H)).collect::<Vec<_>>());
    }
    let mut reverse = 0.0;
    for (i, (z, x)) in z.chunks(2).zip(ends.chunks(2)).enumerate() {
        let (a, b) = (&columns[0][2 * i..2 * i + 2], &columns[1][2 * i..2 * i + 2]);
        let volume = (a[0] * b[1] - a[1] * b[0]).abs().max(1e-12);
        let model = -TAU.ln() - 0.5 * (z[0] * z[0] + z[1] * z[1]) - volume.ln();
        reverse += (model - mixture.log_density(x, 0.0)) / POINTS as f64;
    }
    let forward = binned(mixture, &map(&noise(SAMPLES, 2)?)?);
    println!("{name:<40} {steps:>5} {:>4} {reverse:>17.4} {forward:>17.4}", 2 * steps - 1);
    Ok(())
}

fn noise(count: usize, site: u32) -> Result<Vec<f64>> {
    let key = RandomKey::new(3, Purpose::Latents).at_site(site);
    ops::normal([count, 2], DType::F64, &Draws::new(key), &Device::Cpu)?.to_f64()
}

/// KL over cells, and what lies outside of them as one cell more. Half a sample is added to every cell, so that none is
/// empty.
fn binned(mixture: &Mixture, points: &[f64]) -> f64 {
    let side = 2.0 * REACH / CELLS as f64;
    let mut shares = vec![0.5; CELLS * CELLS + 1];
    for point in points.chunks(2) {
        let cell = |v: f64| (v + REACH) / side;
        let inside = |v: f64| (0.0..CELLS as f64).contains(&v);
        let (x, y) = (cell(point[0]), cell(point[1]));
        let at = if inside(x) && inside(y) { y as usize * CELLS + x as usize } else { CELLS * CELLS };
        shares[at] += 1.0;
    }
    let total: f64 = shares.iter().sum();
    const FINE: usize = 8;
    let mut masses = vec![0.0; CELLS * CELLS + 1];
    for (cell, mass) in masses[..CELLS * CELLS].iter_mut().enumerate() {
        for i in 0..FINE * FINE {
            let place = |cell: usize, i: usize| -REACH + side * (cell as f64 + (i as f64 + 0.5) / FINE as f64);
            let point = [place(cell % CELLS, i % FINE), place(cell / CELLS, i / FINE)];
            *mass += mixture.log_density(&point, 0.0).exp() * (side / FINE as f64).powi(2);
        }
    }
    masses[CELLS * CELLS] = (1.0 - masses.iter().sum::<f64>()).max(0.0);
    masses.iter().zip(&shares).map(|(p, q)| if *p > 0.0 { p * (p * total / q).ln() } else { 0.0 }).sum()
}
