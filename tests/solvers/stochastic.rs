//! Stochastic solvers: what they sample, and the SDE samplers against their published form in plain loops.

use veridical::diffusion::solvers::*;
use veridical::diffusion::{Grid, vp_sigmas};
use veridical::ops::random::SampleIds;
use veridical::{Result, Tensor};

use super::problem::{Mixture, fresh, normals, run};

fn moments(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (mean, (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
}

#[test]
fn stochastic_solvers_sample_the_data() {
    let data = Mixture::two_modes();
    let mean: f64 = 0.4 * -0.7 + 0.6 * 0.5;
    let second: f64 = 0.4 * (0.49 + 0.04) + 0.6 * (0.25 + 0.0225);
    let std = (second - mean * mean).sqrt();
    let n = 6000;
    let ve = Options { sde: Some(Sde::Ve), ..Default::default() };
    let churn = Options { churn: Some(Churn { amount: 30.0, ..Churn::default() }), ..Default::default() };
    let solvers = [
        ("heun", churn, 60),
        ("dpm2-ancestral", Options::default(), 60),
        ("euler-ancestral", Options::default(), 200),
        ("dpmpp-2s", Options { eta: Some(1.0), ..Default::default() }, 60),
        ("dpmpp-sde", Options::default(), 60),
        ("dpmpp-2m-sde", Options::default(), 60),
        ("dpmpp-3m-sde", Options::default(), 60),
        ("dpmpp-2m-sde", Options { eta: Some(0.5), ..Default::default() }, 60),
        ("euler-maruyama", Options::default(), 400),
        ("euler-maruyama", ve, 400),
        ("reverse-diffusion", Options::default(), 400),
        ("reverse-diffusion", ve, 400),
    ];
    for (name, options, steps) in solvers {
        let solver = named(name, &options).unwrap();
        let sigmas = Grid::default().sigmas(steps, 0.005, 40.0).unwrap();
        let x = combine(&[(sigmas[0], &normals(n, 4))]).unwrap();
        let mut noise: Box<dyn Noise> = match solver.path_use() {
            PathUse::Meant => Box::new(BrownianPath::new(9, SampleIds::From(0), 0.005, 40.0).unwrap()),
            _ => Box::new(fresh(9)),
        };
        let y = run(solver.as_ref(), &data, &x, &sigmas, noise.as_mut()).x.to_f64().unwrap();
        let (got_mean, got_std) = moments(&y);
        let left = y.iter().filter(|x| **x < -0.1).count() as f64 / n as f64;
        println!("{name} {options:?}: mean {got_mean:.3}, std {got_std:.3}, left {left:.3}");
        // Three standard errors, and what the steps leave.
        assert!((got_mean - mean).abs() < 0.03, "{name}: mean {got_mean}, expected {mean}");
        assert!((got_std - std).abs() < 0.02, "{name}: std {got_std}, expected {std}");
        assert!((left - 0.4).abs() < 0.03, "{name}: {left} of the mass in the left mode, expected 0.4");
    }
}

/// In few dimensions, where a step size that looks at the sample's own noise would show.
#[test]
fn the_corrector_keeps_gaussian_data() {
    let n = 12_000;
    for dim in [1, 2, 3] {
        let data = Mixture { weights: vec![1.0], means: vec![0.0; dim], stds: vec![0.5], dim };
        for sde in [Sde::VP, Sde::Ve] {
            let solver = PredictorCorrector { sde, ..PredictorCorrector::default() };
            let sigmas = Grid::default().sigmas(200, 0.005, 20.0).unwrap();
            let x = combine(&[(sigmas[0], &normals(n, 4).reshape([n / dim, dim]).unwrap())]).unwrap();
            let (mean, std) = moments(&run(&solver, &data, &x, &sigmas, &mut fresh(9)).x.to_f64().unwrap());
            println!("{dim} {sde:?}: mean {mean:.3}, std {std:.3}");
            assert!(mean.abs() < 0.02 && (std - 0.5).abs() < 0.015, "{dim} {sde:?}: mean {mean}, std {std}");
        }
    }
}

#[test]
fn the_corrector_keeps_the_distribution() {
    const DIM: usize = 32;
    let means = [[-0.15; DIM], [0.1; DIM]].concat();
    let data = Mixture { weights: vec![0.4, 0.6], means, stds: vec![0.2, 0.2], dim: DIM };
    let n = 1500;
    for sde in [Sde::VP, Sde::Ve] {
        let solver = PredictorCorrector { sde, snr: 0.16, corrector_steps: 1 };
        let sigmas = Grid::default().sigmas(200, 0.005, 20.0).unwrap();
        let start = normals(n * DIM, 4).reshape([n, DIM]).unwrap();
        let x = combine(&[(sigmas[0], &start)]).unwrap();
        let solution = run(&solver, &data, &x, &sigmas, &mut fresh(9));
        assert_eq!(solution.nfe, 2 * 200);
        let y = solution.x.to_f64().unwrap();
        // The mean over a sample's elements tells the mode, and the first element's spread the width.
        let centres: Vec<f64> = y.chunks(DIM).map(|x| x.iter().sum::<f64>() / DIM as f64).collect();
        let left = centres.iter().filter(|c| **c < -0.02).count() as f64 / n as f64;
        let rest: Vec<f64> =
            y.chunks(DIM).zip(&centres).map(|(x, c)| x[0] - if *c < -0.02 { -0.15 } else { 0.1 }).collect();
        let (mean, std) = moments(&rest);
        println!("{sde:?}: {left:.3} left, deviation {std:.3} around {mean:.3}");
        assert!((left - 0.4).abs() < 0.05 && mean.abs() < 0.03 && (std - 0.2).abs() < 0.02, "{left} {mean} {std}");
    }
}

/// Normal numbers in order, the same for both sides of a comparison.
struct Numbers {
    rows: Vec<f64>,
    at: usize,
}

impl Numbers {
    fn new() -> Self {
        Numbers { rows: normals(500, 77).to_f64().unwrap(), at: 0 }
    }

    fn next(&mut self) -> f64 {
        self.at += 1;
        self.rows[self.at - 1]
    }
}

impl Noise for Numbers {
    fn add(&mut self, x: &Tensor, deviation: f64, _: f64, _: f64) -> Result<Tensor> {
        combine(&[(1.0, x), (deviation * self.next(), &Tensor::full(1.0, x.shape(), x.dtype(), &x.device())?)])
    }
}

const START: f64 = 0.8;

fn solved(solver: &dyn Solver, data: &Mixture, sigmas: &[f64]) -> f64 {
    let x = Tensor::full(START * sigmas[0], [1, 1], veridical::DType::F64, &veridical::Device::Cpu).unwrap();
    run(solver, data, &x, sigmas, &mut Numbers::new()).x.item().unwrap()
}

/// Song et al.'s loops for the VP process on scaled samples, with score = (D(x / s) - x / s) / sigma^2 / s.
fn vp_loop(data: &Mixture, sigmas: &[f64], mut step: impl FnMut(usize, f64, &dyn Fn(f64) -> f64) -> f64) -> f64 {
    let scale = |sigma: f64| 1.0 / (1.0 + sigma * sigma).sqrt();
    let mut x = START * sigmas[0] * scale(sigmas[0]);
    for (i, &sigma) in sigmas[..sigmas.len() - 1].iter().enumerate() {
        let s = scale(sigma);
        let score = move |x: f64| (data.denoised(&[x / s], sigma)[0] - x / s) / (sigma * sigma) / s;
        x = step(i, x, &score);
    }
    x / scale(sigmas[sigmas.len() - 1])
}

#[test]
fn euler_maruyama_is_the_papers_on_its_grid() {
    let data = Mixture::two_modes();
    let n = 40;
    let mut sigmas = vp_sigmas(n, 19.9, 0.1, 1e-3).unwrap();
    sigmas.pop();
    let (t, dt) = (|i: usize| 1.0 + i as f64 / (n - 1) as f64 * (1e-3 - 1.0), (1.0 - 1e-3) / (n - 1) as f64);
    let mut z = Numbers::new();
    let expected = vp_loop(&data, &sigmas, |i, x, score| {
        let beta = 0.1 + 19.9 * t(i);
        x + (0.5 * beta * x + beta * score(x)) * dt + (beta * dt).sqrt() * z.next()
    });
    approx::assert_relative_eq!(solved(&EulerMaruyama::default(), &data, &sigmas), expected, max_relative = 1e-8);

    // VE: sigma(t) = 0.01 (50 / 0.01)^t, g^2 = 2 sigma^2 ln(50 / 0.01).
    let mut sigmas = Grid::Exponential.sigmas(n, 0.01, 50.0).unwrap();
    sigmas.pop();
    let mut z = Numbers::new();
    let mut x = START * sigmas[0];
    for &sigma in &sigmas[..n - 1] {
        let g2 = 2.0 * sigma * sigma * 5000f64.ln() / (n - 1) as f64;
        let score = (data.denoised(&[x], sigma)[0] - x) / (sigma * sigma);
        x += g2 * score + g2.sqrt() * z.next();
    }
    approx::assert_relative_eq!(solved(&EulerMaruyama { sde: Sde::Ve }, &data, &sigmas), x, max_relative = 1e-9);
}

#[test]
fn reverse_diffusion_is_the_papers_chain() {
    let data = Mixture::two_modes();
    // DDPM's betas give alpha_bar, which gives the levels.
    let n = 60;
    let betas: Vec<f64> = (0..n).map(|i| (0.1 + 19.9 * i as f64 / (n - 1) as f64) / n as f64).collect();
    let bars: Vec<f64> = betas
        .iter()
        .scan(1.0, |bar, beta| {
            *bar *= 1.0 - beta;
            Some(*bar)
        })
        .collect();
    let sigmas: Vec<f64> = bars.iter().rev().map(|bar| ((1.0 - bar) / bar).sqrt()).collect();
    let mut z = Numbers::new();
    let chain = vp_loop(&data, &sigmas, |i, x, score| {
        let beta = betas[n - 1 - i];
        (2.0 - (1.0 - beta).sqrt()) * x + beta * score(x) + beta.sqrt() * z.next()
    });
    approx::assert_relative_eq!(solved(&ReverseDiffusion::default(), &data, &sigmas), chain, max_relative = 1e-8);

    // With one Langevin step before each. The score of x = sqrt(bar) y + sqrt(1 - bar) n is about -n / sqrt(1 - bar),
    // so |z| / |score| is about sqrt(1 - bar).
    let mut z = Numbers::new();
    let chain = vp_loop(&data, &sigmas, |i, mut x, score| {
        let beta = betas[n - 1 - i];
        let (g, noise) = (score(x), z.next());
        let e = 2.0 * (1.0 - beta) * 0.16f64.powi(2) * (1.0 - bars[n - 1 - i]);
        x += e * g + (2.0 * e).sqrt() * noise;
        (2.0 - (1.0 - beta).sqrt()) * x + beta * score(x) + beta.sqrt() * z.next()
    });
    approx::assert_relative_eq!(solved(&PredictorCorrector::default(), &data, &sigmas), chain, max_relative = 1e-7);
}

#[test]
fn a_samples_noise_is_its_own() {
    let data = Mixture::two_modes();
    let sigmas = Grid::default().sigmas(8, 0.01, 20.0).unwrap();
    let start = combine(&[(20.0, &normals(5, 8))]).unwrap();
    let solve_from = |solver: &dyn Solver, first: usize, count: usize| {
        let x = start.narrow(first, count).unwrap();
        let mut noise = FreshNoise::new(3, SampleIds::From(first as u32));
        run(solver, &data, &x, &sigmas, &mut noise).x.to_f64().unwrap()
    };
    for name in ["heun", "dpmpp-sde", "euler-ancestral", "predictor-corrector"] {
        let churn = (name == "heun").then_some(Churn { amount: 10.0, ..Churn::default() });
        let solver = named(name, &Options { churn, ..Default::default() }).unwrap();
        let together = solve_from(solver.as_ref(), 0, 5);
        let apart = [solve_from(solver.as_ref(), 0, 2), solve_from(solver.as_ref(), 2, 3)].concat();
        assert_eq!(together, apart, "{name}");
    }
}
