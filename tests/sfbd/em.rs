//! A round of SFBD with the exact denoiser is a step of expectation maximisation (Richardson-Lucy), and the inequality
//! that follows from it.
//!
//! Laws are probabilities on a grid, in f64. With `r(y|x) = N(y; x, tau)`, `p_Y` the law of x under p behind noise, and
//! q the law of what is observed, `p'(x) = sum_y q(y) p(x) r(y|x) / p_Y(y)`. Jensen's inequality gives `KL(p*||p) -
//! KL(p*||p') >= KL(q||p_Y) >= 0`.

use veridical::diffusion::solvers::{Denoise, FreshNoise, solve};
use veridical::diffusion::{Grid, Sampler, sigmas_from};
use veridical::methods::denoiser;
use veridical::ops::random::{Draws, SampleIds};
use veridical::random::{Purpose, RandomKey};
use veridical::train::RunConfig;
use veridical::{DType, Device, Result, Tensor, ops};

/// A law on the points of an even grid on a line or in the plane, and the kernel of one axis.
#[derive(Clone)]
struct Lattice {
    axis: Vec<f64>,
    dims: usize,
}

impl Lattice {
    fn new(points: usize, reach: f64, dims: usize) -> Self {
        let step = 2.0 * reach / (points - 1) as f64;
        Lattice { axis: (0..points).map(|i| -reach + step * i as f64).collect(), dims }
    }

    fn len(&self) -> usize {
        self.axis.len().pow(self.dims as u32)
    }

    fn point(&self, i: usize) -> Vec<f64> {
        let n = self.axis.len();
        (0..self.dims).rev().map(|axis| self.axis[i / n.pow(axis as u32) % n]).collect()
    }

    fn law(&self, density: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let values: Vec<f64> = (0..self.len()).map(|i| density(&self.point(i)) + 1e-300).collect();
        let sum: f64 = values.iter().sum();
        values.into_iter().map(|v| v / sum).collect()
    }

    /// `r(y|x)` along one axis, `[x][y]`; each row sums to 1, so that it is a law on the grid.
    fn kernel(&self, sigma: f64) -> Vec<Vec<f64>> {
        let row = |x: &f64| {
            let values: Vec<f64> = self.axis.iter().map(|y| (-0.5 * ((y - x) / sigma).powi(2)).exp()).collect();
            let sum: f64 = values.iter().sum();
            values.into_iter().map(|v| v / sum).collect()
        };
        self.axis.iter().map(row).collect()
    }

    /// Applies `[x][y]` along every axis: `out(y) = sum_x f(x) k(y|x)`, or with `back` the other way round.
    fn along(&self, f: &[f64], kernel: &[Vec<f64>], back: bool) -> Vec<f64> {
        let n = self.axis.len();
        let mut values = f.to_vec();
        for axis in 0..self.dims {
            let stride = n.pow(axis as u32);
            let mut next = vec![0.0; values.len()];
            for (i, value) in values.iter().enumerate() {
                let at = i / stride % n;
                let base = i - at * stride;
                for to in 0..n {
                    let weight = if back { kernel[to][at] } else { kernel[at][to] };
                    next[base + to * stride] += value * weight;
                }
            }
            values = next;
        }
        values
    }

    fn em(&self, p: &[f64], q: &[f64], kernel: &[Vec<f64>]) -> Vec<f64> {
        let seen = self.along(p, kernel, false);
        let ratio: Vec<f64> = q.iter().zip(&seen).map(|(q, s)| q / s).collect();
        p.iter().zip(self.along(&ratio, kernel, true)).map(|(p, r)| p * r).collect()
    }
}

fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| if *p > 0.0 { p * (p / q).ln() } else { 0.0 }).sum()
}

fn bell(x: &[f64], mean: &[f64], s: f64) -> f64 {
    let d: f64 = x.iter().zip(mean).map(|(x, m)| (x - m).powi(2)).sum();
    (-0.5 * d / (s * s)).exp() / s.powi(x.len() as i32)
}

/// The inequality over many exact rounds, on the line and in the plane.
#[test]
fn exact_rounds_bring_the_law_nearer_and_the_observed_gaps_sum_to_less_than_the_first_gap() {
    let line = |x: &[f64]| 0.35 * bell(x, &[-0.8], 0.15) + 0.65 * bell(x, &[0.6], 0.2);
    let plane = |x: &[f64]| bell(x, &[-0.7, -0.5], 0.2) + 2.0 * bell(x, &[0.6, 0.4], 0.25);
    let wide = |x: &[f64]| bell(x, &vec![0.1; x.len()], 0.9);
    let cases: [(usize, Lattice, &dyn Fn(&[f64]) -> f64, f64); 2] =
        [(100, Lattice::new(121, 3.0, 1), &line, 0.3), (25, Lattice::new(31, 2.0, 2), &plane, 0.35)];
    for (rounds, lattice, truth, sigma) in cases {
        let (truth, kernel) = (lattice.law(truth), lattice.kernel(sigma));
        let q = lattice.along(&truth, &kernel, false);
        let mut p = lattice.law(wide);
        let first = kl(&truth, &p);
        let (mut gap, mut sum) = (first, 0.0);
        for round in 0..rounds {
            let observed = kl(&q, &lattice.along(&p, &kernel, false));
            let next = lattice.em(&p, &q, &kernel);
            let closer = kl(&truth, &next);
            assert!(gap - closer >= observed - 1e-9 && observed >= -1e-12, "round {round}: {gap} {closer} {observed}");
            sum += observed;
            (p, gap) = (next, closer);
        }
        assert!(sum <= first, "{sum} > {first}");
        assert!(gap < 0.5 * first, "{gap} of {first} after {rounds} rounds");
        // The truth is a fixed point.
        let stays = lattice.em(&truth, &q, &kernel);
        assert!(kl(&truth, &stays).abs() < 1e-12);
    }
}

/// The exact denoiser of a law on the grid, as the solvers ask for it: `E[x | x + sigma n = y]`.
fn exact<'a>(axis: &'a [f64], law: &'a [f64]) -> impl FnMut(&Tensor, f64) -> Result<Tensor> + 'a {
    move |y: &Tensor, sigma: f64| {
        let mean = |y: &f64| {
            let exponent = |x: &f64| -0.5 * ((y - x) / sigma).powi(2);
            let highest = axis.iter().zip(law).map(|(x, p)| exponent(x) + p.ln()).fold(f64::NEG_INFINITY, f64::max);
            let (sum, first) = axis.iter().zip(law).fold((0.0, 0.0), |(sum, first), (x, p)| {
                let w = (exponent(x) + p.ln() - highest).exp();
                (sum + w, first + w * x)
            });
            first / sum
        };
        let values: Vec<f64> = y.to_vec::<f64>()?.iter().map(mean).collect();
        Tensor::from_slice(&values, y.shape(), &Device::Cpu)
    }
}

fn normals(n: usize, purpose: Purpose) -> Vec<f64> {
    let draws = Draws::new(RandomKey::new(11, purpose));
    ops::normal([n, 1], DType::F64, &draws, &Device::Cpu).unwrap().to_f64().unwrap()
}

/// The 1-Wasserstein distance of points to a law on the grid.
fn distance(points: &mut [f64], axis: &[f64], law: &[f64]) -> f64 {
    points.sort_by(f64::total_cmp);
    let (mut at, mut sum, mut total) = (0usize, 0.0, 0.0);
    let n = points.len() as f64;
    for (i, pair) in axis.windows(2).enumerate() {
        sum += law[i];
        while at < points.len() && points[at] <= 0.5 * (pair[0] + pair[1]) {
            at += 1;
        }
        total += (at as f64 / n - sum).abs() * (pair[1] - pair[0]);
    }
    total
}

/// The real denoising code with the exact denoiser: the stochastic one makes the EM step, the deterministic one does
/// not.
#[test]
fn the_stochastic_denoiser_makes_the_em_step_and_the_deterministic_one_another() {
    let lattice = Lattice::new(401, 3.0, 1);
    let truth = lattice.law(|x| 0.35 * bell(x, &[-0.8], 0.15) + 0.65 * bell(x, &[0.6], 0.2));
    let start = lattice.law(|x| bell(x, &[0.1], 0.7));
    let sigma = 0.5;
    let kernel = lattice.kernel(sigma);
    let q = lattice.along(&truth, &kernel, false);
    let step = lattice.em(&start, &q, &kernel);

    // What is observed: points of the truth behind noise.
    let n = 6000;
    let (pick, noise) = (normals(n, Purpose::Synthetic), normals(n, Purpose::Corruption));
    let lots = ops::uniform([n, 1], DType::F64, &Draws::new(RandomKey::new(3, Purpose::Synthetic)), &Device::Cpu);
    let observed: Vec<f64> = lots
        .unwrap()
        .to_f64()
        .unwrap()
        .iter()
        .zip(pick.iter().zip(&noise))
        .map(|(u, (z, e))| if *u < 0.35 { -0.8 + 0.15 * z } else { 0.6 + 0.2 * z } + sigma * e)
        .collect();
    let observed = Tensor::from_slice(&observed, [n, 1], &Device::Cpu).unwrap();
    let denoised = |name: &str, law: &[f64]| {
        let denoising = denoiser(name, 120, &RunConfig::default().sampling).unwrap();
        let at = (5, SampleIds::From(0));
        run(&denoising, &mut exact(&lattice.axis, law), &observed, sigma, at)
    };
    let floor = 0.02; // what so many points of the very law would show
    let (mut sde, mut ode) = (denoised("sde", &start), denoised("ode", &start));
    let (from_sde, from_ode) = (distance(&mut sde, &lattice.axis, &step), distance(&mut ode, &lattice.axis, &step));
    assert!(from_sde < floor, "sde {from_sde}");
    assert!(from_ode > 2.0 * floor, "ode {from_ode}");
    // Both leave the truth alone.
    for name in ["sde", "ode", "euler-ancestral"] {
        let mut still = denoised(name, &truth);
        let moved = distance(&mut still, &lattice.axis, &truth);
        assert!(moved < floor, "{name} {moved}");
    }
    // And both are nearer to the truth than the start was.
    let before = {
        let mut cumulative = 0.0;
        let gap = |(p, q): (&f64, &f64)| {
            cumulative += p - q;
            f64::abs(cumulative) * (lattice.axis[1] - lattice.axis[0])
        };
        start.iter().zip(&truth).map(gap).sum::<f64>()
    };
    assert!(distance(&mut sde, &lattice.axis, &truth) < before && distance(&mut ode, &lattice.axis, &truth) < before);
}

/// The levels of a denoiser's grid from those of the noise on.
fn sigmas(denoiser: &Sampler, sigma: f64) -> Result<Vec<f64>> {
    sigmas_from(&denoiser.grid.sigmas(denoiser.steps, denoiser.sigma_min, denoiser.sigma_max)?, sigma)
}

/// What a denoiser makes of `y`, with any network in the place of a model's.
fn run(
    denoiser: &Sampler,
    exact: &mut dyn Denoise,
    y: &Tensor,
    sigma: f64,
    (seed, samples): (u64, SampleIds),
) -> Vec<f64> {
    let (levels, mut noise) = (sigmas(denoiser, sigma).unwrap(), FreshNoise::new(seed, samples));
    let end = solve(denoiser.solver.as_ref(), exact, y, &levels, &mut noise, &mut |_| Ok(())).unwrap();
    end.x.to_f64().unwrap()
}

/// For Gaussian laws both rounds are known: with prior variance s^2, noise tau and observed variance v, posterior
/// sampling gives `(s^2 / (s^2 + tau))^2 v + s^2 tau / (s^2 + tau)`, the probability flow `v s^2 / (s^2 + tau)`.
#[test]
fn on_gaussian_laws_the_two_denoisers_have_their_closed_forms() {
    let (s2, tau, v): (f64, f64, f64) = (0.5, 0.36, 2.0);
    let n = 40_000;
    let observed: Vec<f64> = normals(n, Purpose::Synthetic).iter().map(|z| v.sqrt() * z).collect();
    let observed = Tensor::from_slice(&observed, [n, 1], &Device::Cpu).unwrap();
    let mut exact = |y: &Tensor, sigma: f64| {
        let shrink = s2 / (s2 + sigma * sigma);
        Ok(ops::scale(y, shrink)?.into_value())
    };
    let expected = |name: &str| match name {
        "ode" => v * s2 / (s2 + tau),
        _ => (s2 / (s2 + tau)).powi(2) * v + s2 * tau / (s2 + tau),
    };
    assert!((expected("ode") - expected("sde")).abs() > 0.2);
    for name in ["ode", "sde"] {
        let denoising = denoiser(name, 200, &RunConfig::default().sampling).unwrap();
        let at = (7, SampleIds::From(0));
        let x = run(&denoising, &mut exact, &observed, tau.sqrt(), at);
        let variance = x.iter().map(|x| x * x).sum::<f64>() / n as f64;
        approx::assert_relative_eq!(variance, expected(name), max_relative = 0.03);
    }
    // Just above a level of a coarse grid, where the step to that level would be a thousandth of the next.
    for above in [1.001, 1.01, 1.1, 1.2] {
        let level = Grid::default().sigmas(18, 0.002, 80.0).unwrap()[11];
        let tau = (above * level).powi(2);
        let denoising = denoiser("sde", 18, &RunConfig::default().sampling).unwrap();
        let x = run(&denoising, &mut exact, &observed, tau.sqrt(), (7, SampleIds::From(0)));
        let variance = x.iter().map(|x| x * x).sum::<f64>() / n as f64;
        let expected = (s2 / (s2 + tau)).powi(2) * v + s2 * tau / (s2 + tau);
        approx::assert_relative_eq!(variance, expected, max_relative = 0.1); // these are few steps
    }
}

#[test]
fn the_starting_level_is_put_in_as_it_is() {
    let levels_from = |sigma| sigmas(&denoiser("ode", 40, &RunConfig::default().sampling).unwrap(), sigma);
    let whole = Grid::default().sigmas(40, 0.002, 80.0).unwrap();
    let levels = levels_from(0.59).unwrap();
    assert_eq!(levels[0], 0.59);
    assert!(levels[1..].iter().all(|level| whole.contains(level)) && levels.len() == 15 + 1);
    // A level of the grid itself makes no step of length 0: 1.3824 is the grid's 23rd level, rounded.
    let at = levels_from(whole[22]).unwrap();
    assert_eq!(at, whole[22..]);
    // Nor one that is much shorter than the next.
    let short = levels_from(whole[22] * 1.01).unwrap();
    assert_eq!((short[0], &short[1..]), (whole[22] * 1.01, &whole[23..]));
    let long = levels_from(0.8 * whole[21] + 0.2 * whole[22]).unwrap();
    assert_eq!(long[1..], whole[22..]);
    // The last step, to 0, is none to compare with.
    let last = levels_from(0.00201).unwrap();
    assert_eq!(last, [0.00201, whole[39], 0.0]);
    assert!(levels_from(0.0).is_err());
    assert!(
        denoiser("rk45", 40, &RunConfig::default().sampling).is_err()
            && denoiser("magic", 40, &RunConfig::default().sampling).is_err()
    );
}
