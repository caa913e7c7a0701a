//! A solver of your own: the midpoint rule in ln sigma for the probability-flow ODE, with its order measured on data
//! whose flow is known.
//!
//! `cargo run --release --example own_solver`

use veridical::diffusion::Grid;
use veridical::diffusion::solvers::{FreshNoise, Run, Solver, combine, solve};
use veridical::ops::random::SampleIds;
use veridical::{Device, Result, Tensor};

/// dx/du = x - D(x; e^u) with u = ln sigma: half an Euler step, then a whole one with the slope found there.
#[derive(Debug)]
struct Midpoint;

impl Solver for Midpoint {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        // `steps` walks the grid and shows the observer each state; `denoise` counts the calls.
        run.steps(x, sigmas, |run, _, x, a, b| {
            let denoised = run.denoise(x, a)?;
            if b == 0.0 {
                return Ok(denoised);
            }
            let h = (b / a).ln();
            let middle = combine(&[(1.0 + h / 2.0, x), (-h / 2.0, &denoised)])?;
            let there = run.denoise(&middle, (a * b).sqrt())?;
            combine(&[(1.0, x), (h, &middle), (-h, &there)])
        })
    }
}

fn main() -> Result<()> {
    // Data from N(0, 0.5^2): D(x; sigma) = x / (1 + 4 sigma^2), and the flow only scales.
    let mut denoise = |x: &Tensor, sigma: f64| combine(&[(1.0 / (1.0 + 4.0 * sigma * sigma), x)]);
    let x = Tensor::from_slice(&[-2.0, 0.5, 3.0], [3, 1], &Device::Cpu)?;
    let (high, low): (f64, f64) = (3.0, 0.05);
    let exact = ((0.25 + low * low) / (0.25 + high * high)).sqrt();
    let mut errors = Vec::new();
    for steps in [20, 40, 80, 160] {
        let mut sigmas = Grid::Exponential.sigmas(steps + 1, low, high)?;
        sigmas.pop(); // the final 0
        let mut noise = FreshNoise::new(0, SampleIds::From(0)); // not used by this solver
        let solution = solve(&Midpoint, &mut denoise, &x, &sigmas, &mut noise, &mut |_| Ok(()))?;
        let error =
            solution.x.to_f64()?.iter().zip(x.to_f64()?).map(|(y, x)| (y - exact * x).abs()).fold(0.0, f64::max);
        println!("{steps:>4} steps, {:>4} denoiser calls: error {error:.2e}", solution.nfe);
        errors.push(error);
    }
    let order = (errors[2] / errors[3]).log2();
    println!("order {order:.2}");
    assert!((order - 2.0).abs() < 0.1);
    Ok(())
}
