//! Data whose denoiser is known: mixtures of isotropic Gaussians.

use veridical::diffusion::solvers::{FreshNoise, Noise, Solution, Solver, solve};
use veridical::ops::random::{Draws, SampleIds};
use veridical::random::{Purpose, RandomKey};
use veridical::{DType, Device, Result, Tensor, ops};

pub const CPU: Device = Device::Cpu;

#[derive(Debug, Clone)]
pub struct Mixture {
    pub weights: Vec<f64>,
    /// `[components, dim]`
    pub means: Vec<f64>,
    pub stds: Vec<f64>,
    pub dim: usize,
}

impl Mixture {
    /// One Gaussian on the line.
    pub fn gaussian(mean: f64, std: f64) -> Self {
        Mixture { weights: vec![1.0], means: vec![mean], stds: vec![std], dim: 1 }
    }

    /// Two modes on the line.
    pub fn two_modes() -> Self {
        Mixture { weights: vec![0.4, 0.6], means: vec![-0.7, 0.5], stds: vec![0.2, 0.15], dim: 1 }
    }

    /// Logarithm of each component's share of the density at `x`, the weight included.
    fn logs(&self, x: &[f64], sigma: f64) -> Vec<f64> {
        let component = |(k, (w, s)): (usize, (&f64, &f64))| {
            let v = s * s + sigma * sigma;
            let mean = &self.means[k * self.dim..(k + 1) * self.dim];
            let square: f64 = x.iter().zip(mean).map(|(x, m)| (x - m).powi(2)).sum();
            w.ln() - self.dim as f64 / 2.0 * (2.0 * std::f64::consts::PI * v).ln() - square / (2.0 * v)
        };
        self.weights.iter().zip(&self.stds).enumerate().map(component).collect()
    }

    pub fn log_density(&self, x: &[f64], sigma: f64) -> f64 {
        let logs = self.logs(x, sigma);
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        largest + logs.iter().map(|l| (l - largest).exp()).sum::<f64>().ln()
    }

    /// The exact posterior mean of one sample.
    pub fn denoised(&self, x: &[f64], sigma: f64) -> Vec<f64> {
        let logs = self.logs(x, sigma);
        let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logs.iter().map(|l| (l - largest).exp()).sum();
        let mut out = vec![0.0; self.dim];
        for (k, log) in logs.iter().enumerate() {
            let share = (log - largest).exp() / total;
            let (mean, s) = (&self.means[k * self.dim..(k + 1) * self.dim], self.stds[k]);
            let keep = s * s / (s * s + sigma * sigma);
            for ((out, x), m) in out.iter_mut().zip(x).zip(mean) {
                *out += share * (m + keep * (x - m));
            }
        }
        out
    }

    /// The denoiser of a batch, in the dtype and on the device of `x`.
    pub fn denoise(&self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let values: Vec<f64> = x.to_f64()?.chunks(self.dim).flat_map(|sample| self.denoised(sample, sigma)).collect();
        tensor(&values, x)
    }

    /// The cumulative distribution on the line behind noise.
    fn cdf(&self, x: f64, sigma: f64) -> f64 {
        let part = |k: usize| {
            let deviation = self.stds[k].hypot(sigma);
            self.weights[k] * 0.5 * libm::erfc(-(x - self.means[k]) / deviation / std::f64::consts::SQRT_2)
        };
        (0..self.weights.len()).map(part).sum()
    }

    /// Where the probability-flow ODE takes a point of the line from noise level `a` to `b`: to the same quantile.
    pub fn flow(&self, x: f64, a: f64, b: f64) -> f64 {
        let target = self.cdf(x, a);
        let (mut low, mut high) = (-1e3, 1e3);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if self.cdf(middle, b) < target { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }
}

/// `values` in the shape, dtype and on the device of `like`.
pub fn tensor(values: &[f64], like: &Tensor) -> Result<Tensor> {
    match like.dtype() {
        DType::F64 => Tensor::from_slice(values, like.shape(), &like.device()),
        _ => Tensor::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), like.shape(), &like.device()),
    }
}

/// Evenly in ln sigma, without a final 0.
pub fn log_grid(steps: usize, high: f64, low: f64) -> Vec<f64> {
    (0..=steps).map(|i| high * (low / high).powf(i as f64 / steps as f64)).collect()
}

/// Runs a solver on a mixture.
pub fn run(solver: &dyn Solver, data: &Mixture, x: &Tensor, sigmas: &[f64], noise: &mut dyn Noise) -> Solution {
    solve(solver, &mut |x: &Tensor, sigma| data.denoise(x, sigma), x, sigmas, noise, &mut |_| Ok(())).unwrap()
}

pub fn fresh(seed: u64) -> FreshNoise {
    FreshNoise::new(seed, SampleIds::From(0))
}

/// `n` standard normal points on the line, in f64.
pub fn normals(n: usize, seed: u64) -> Tensor {
    ops::normal([n, 1], DType::F64, &Draws::new(RandomKey::new(seed, Purpose::Latents)), &CPU).unwrap()
}

/// The slope of the regression of ln error on ln steps, negated: the order.
pub fn order(errors: &[(usize, f64)]) -> f64 {
    let points: Vec<(f64, f64)> = errors.iter().map(|(n, e)| ((*n as f64).ln(), e.ln())).collect();
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let (xy, xx): (f64, f64) =
        points.iter().fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - mx) * (p.1 - my), xx + (p.0 - mx).powi(2)));
    -xy / xx
}
