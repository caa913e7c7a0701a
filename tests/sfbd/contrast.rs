//! Contrastive sampling chains: the loss, its gradient through the chain, and the bound of
//! docs/methods/contrastive-chain.md on Gaussian data.

use std::sync::Arc;

use veridical::diffusion::solvers::{self, Heun};
use veridical::diffusion::{Loss, karras_sigmas};
use veridical::methods::ContrastiveChain;
use veridical::methods::contrastive_chain::{Coupling, Negatives, Similarity, Width, fitted_width, info_nce};
use veridical::nn::{Conditions, Context};
use veridical::ops::random::{Address, Draws};
use veridical::random::{Purpose, RandomKey};
use veridical::train::Batch;
use veridical::{DType, Device, Tape, Tensor, Var, ops};

use super::losses::{network, of, pictures};

fn chain(solver: &str, gradients: usize) -> ContrastiveChain {
    ContrastiveChain {
        loss: Loss::default(),
        solver: solvers::named(solver, &Default::default()).unwrap(),
        sigmas: karras_sigmas(7, 0.05, 3.0, 7.0).unwrap(),
        length: 2,
        to_zero: true,
        weight: 1.0,
        temperature: 1.0,
        gradients,
        similarity: Similarity::Pixels,
        width: Width::Fitted,
        negatives: Negatives::Data,
        coupling: Coupling::Shared,
    }
}

fn normals(n: usize, dims: usize, site: u32) -> Vec<f64> {
    let key = RandomKey::new(2, Purpose::Custom).at_site(site);
    ops::normal([n, dims], DType::F64, &Draws::new(key), &Device::Cpu).unwrap().to_f64().unwrap()
}

#[test]
fn info_nce_is_its_formula() {
    let (n, dims, width) = (7, 5, 0.7);
    let (a, b) = (normals(n, dims, 1), normals(n, dims, 2));
    let row = |m: &[f64], i: usize| m[i * dims..(i + 1) * dims].to_vec();
    let s = |i: usize, k: usize| {
        let d: f64 = row(&a, i).iter().zip(row(&b, k)).map(|(x, y)| (x - y) * (x - y)).sum();
        -d / (2.0 * width)
    };
    let expected: f64 =
        (0..n).map(|i| (((0..n).map(|k| s(i, k).exp()).sum::<f64>() / n as f64).ln() - s(i, i)) / n as f64).sum();
    let var = |m: &[f64]| Var::from(Tensor::from_slice(m, [n, dims], &Device::Cpu).unwrap());
    let got = info_nce(&var(&a), &var(&b), width).unwrap().value().item().unwrap();
    approx::assert_relative_eq!(got, expected, max_relative = 1e-10);
    let distance = (0..n * dims).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>() / n as f64;
    approx::assert_relative_eq!(fitted_width(&var(&a), &var(&b)).unwrap(), distance, max_relative = 1e-10);
    assert!(info_nce(&var(&a), &var(&b), 0.0).is_err());
    let one = Var::from(Tensor::from_slice(&a[..dims], [1, dims], &Device::Cpu).unwrap());
    assert!(info_nce(&one, &one, 1.0).is_err());
}

/// With all calls, the gradient through the chain is the derivative of the loss by the weights; with fewer it is a part
/// of it.
#[test]
fn gradients_through_the_whole_chain_are_those_of_differences() {
    let (model, y) = (network(), pictures(4));
    let indices = [0, 1, 2, 3];
    let batch = Batch { y: &y, indices: &indices, conditions: Conditions::default() };
    for solver in ["heun", "dpmpp-2m", "euler-ancestral"] {
        // The fitted width is a number, not a function of the weights: fix it for the differences.
        let of = |gradients: usize| ContrastiveChain {
            width: Width::Level,
            to_zero: false,
            temperature: 100.0,
            ..chain(solver, gradients)
        };
        let gradient = |gradients: usize| {
            let tape = Tape::new();
            let cx = Context::differentiable(&model.weights, &tape).at(Address::new(3, 5));
            let loss = of(gradients).contrast(&cx, model.denoiser(), &batch).unwrap();
            cx.flat_gradient(&mut loss.backward().unwrap()).unwrap().to_f64().unwrap()
        };
        let value = |flat: &[f64]| {
            let flat: Vec<f32> = flat.iter().map(|&w| w as f32).collect();
            let moved =
                model.with_flat_weights(Tensor::from_slice(&flat, [flat.len()], &Device::Cpu).unwrap()).unwrap();
            let cx = Context::inference(&moved.weights).at(Address::new(3, 5));
            of(1).contrast(&cx, model.denoiser(), &batch).unwrap().value().item().unwrap()
        };
        let (whole, last) = (gradient(100), gradient(1));
        let flat = model.weights.flat().to_f64().unwrap();
        // Along the gradient itself, where the derivative is its squared length.
        let length = whole.iter().map(|g| g * g).sum::<f64>().sqrt();
        let shifted = |by: f64| value(&flat.iter().zip(&whole).map(|(w, g)| w + by * g / length).collect::<Vec<_>>());
        let difference = (shifted(0.01) - shifted(-0.01)) / 0.02;
        approx::assert_relative_eq!(difference, length, max_relative = 0.03);
        assert!(whole != last && last.iter().any(|g| *g != 0.0), "{solver}");
    }
}

#[test]
fn without_weight_it_is_a_plain_fine_tuning_and_options_matter() {
    let (model, y) = (network(), pictures(6));
    let with = |edit: &dyn Fn(&mut ContrastiveChain)| {
        let mut chain = chain("heun", 2);
        edit(&mut chain);
        chain.check().unwrap();
        of(&chain, &model, &y, 3, 1)
    };
    let plain = of(&Loss::default(), &model, &y, 3, 1);
    assert!(with(&|c| c.weight = 0.0) == plain);
    let all = [
        with(&|_| {}),
        with(&|c| c.temperature = 2.0),
        with(&|c| c.weight = 2.0),
        with(&|c| c.negatives = Negatives::Chain),
        with(&|c| c.negatives = Negatives::Both),
        with(&|c| c.coupling = Coupling::Forward),
        with(&|c| c.length = 3),
        with(&|c| c.gradients = 1),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(a.1 != plain.1 && all[..i].iter().all(|b| a.1 != b.1), "option {i} makes no difference");
    }
    for bad in [
        ContrastiveChain { length: 0, ..chain("heun", 1) },
        ContrastiveChain { length: 9, ..chain("heun", 1) },
        ContrastiveChain { gradients: 0, ..chain("heun", 1) },
        ContrastiveChain { temperature: 0.0, ..chain("heun", 1) },
        ContrastiveChain { width: Width::Level, ..chain("heun", 1) },
        ContrastiveChain { solver: solvers::named("rk45", &Default::default()).unwrap(), ..chain("heun", 1) },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
    assert!(ContrastiveChain { solver: Arc::new(Heun::default()), ..chain("euler", 1) }.check().is_ok());
}

/// The terms of the bound for data from N(0, a^2) and a chain whose steps are linear, all in closed form.
struct Gaussian {
    /// Variances at the two levels.
    high: f64,
    low: f64,
    /// Covariance of the two states.
    both: f64,
    /// The chain's state is `c x_s`, its kernel's variance v.
    c: f64,
    v: f64,
}

impl Gaussian {
    fn of(a2: f64, s: f64, j: f64, shared: bool, v: f64) -> Self {
        let denoise = &mut |x: &Tensor, sigma: f64| -> veridical::Result<Tensor> {
            Ok(ops::scale(x, a2 / (a2 + sigma * sigma))?.into_value())
        };
        let one = Tensor::full(1.0, [1, 1], DType::F64, &Device::Cpu).unwrap();
        let c = solvers::heun(denoise, &one, &[s, j]).unwrap().item().unwrap();
        let both = if shared { a2 + s * j } else { a2 + j * j };
        Gaussian { high: a2 + s * s, low: a2 + j * j, both, c, v }
    }

    /// `E KL(p(x_j | x_s) || k(x_j | x_s))`.
    fn step(&self) -> f64 {
        let (b, w) = (self.both / self.high, self.low - self.both * self.both / self.high);
        0.5 * ((self.v / w).ln() + (w + (b - self.c).powi(2) * self.high) / self.v - 1.0)
    }

    fn information(&self) -> f64 {
        -0.5 * (1.0 - self.both * self.both / (self.high * self.low)).ln()
    }
}

fn gap(p: f64, q: f64) -> f64 {
    0.5 * (p / q - 1.0 - (p / q).ln())
}

/// Every step of the derivation on Gaussian data: the chain rule's bound, and a step's term as contrastive gap plus
/// coverage, with the library's InfoNCE on samples.
#[test]
fn the_bounds_terms_are_what_they_are_said_to_be_on_gaussian_data() {
    let a2: f64 = 0.3;
    for shared in [true, false] {
        // 1. KL(p_0 || q_0) <= KL(p_S || q_S) + sum of steps, for the law of the chain with its kernels.
        let grid = [3.0, 1.2, 0.5, 0.2, 0.05];
        let (mut q, mut bound) = (grid[0] * grid[0], gap(a2 + grid[0] * grid[0], grid[0] * grid[0]));
        for pair in grid.windows(2) {
            let step = Gaussian::of(a2, pair[0], pair[1], shared, 0.1 * pair[1] * pair[1] + 0.01);
            q = step.c * step.c * q + step.v;
            bound += step.step();
            assert!(step.step() >= 0.0);
            assert!(gap(step.low, q) <= bound + 1e-12, "{} > {bound}", gap(step.low, q));
        }
        // 2. and 3. A step's term from samples: N - 1 negatives of the marginal.
        let at = Gaussian::of(a2, 1.2, 0.5, shared, 0.15);
        let (n, batches) = (400, 40);
        let (mut nce, mut coverage) = (0.0, 0.0);
        for batch in 0..batches {
            let (z, e) = (normals(n, 1, 10 + 2 * batch), normals(n, 1, 11 + 2 * batch));
            let high: Vec<f64> = z.iter().map(|z| at.high.sqrt() * z).collect();
            let w = at.low - at.both * at.both / at.high;
            let low: Vec<f64> = high.iter().zip(&e).map(|(x, e)| at.both / at.high * x + w.sqrt() * e).collect();
            let rows = |x: Vec<f64>| Var::from(Tensor::from_slice(&x, [n, 1], &Device::Cpu).unwrap());
            let mu: Vec<f64> = high.iter().map(|x| at.c * x).collect();
            let k = |x: f64, mu: f64| (-(x - mu).powi(2) / (2.0 * at.v)).exp() / (std::f64::consts::TAU * at.v).sqrt();
            coverage -= mu.iter().map(|mu| (low.iter().map(|x| k(*x, *mu)).sum::<f64>() / n as f64).ln()).sum::<f64>()
                / n as f64;
            nce += info_nce(&rows(mu), &rows(low), at.v).unwrap().value().item().unwrap();
        }
        let (nce, coverage) = (nce / f64::from(batches), coverage / f64::from(batches));
        let entropy = 0.5 * (std::f64::consts::TAU * std::f64::consts::E * at.low).ln();
        assert!(nce >= -at.information(), "{nce} < {}", -at.information());
        let term = (nce + at.information()) + (coverage - entropy);
        approx::assert_abs_diff_eq!(term, at.step(), epsilon = 0.03);
        // 4. The positive alone: the coverage is at most its squared error, up to the kernel's constant and ln N.
        let squared = at.low - 2.0 * at.c * at.both + at.c * at.c * at.high;
        let positive = squared / (2.0 * at.v) + 0.5 * (std::f64::consts::TAU * at.v).ln();
        assert!(coverage <= (n as f64).ln() + positive, "{coverage} > ln {n} + {positive}");
    }
}

/// With the true conditional for a kernel, InfoNCE is minus the mutual information if the negatives are other starts,
/// and stays above it by a known gap if they are other ends.
#[test]
fn the_true_conditional_meets_the_bound_by_other_starts_only() {
    let (n, batches) = (400, 40);
    for shared in [true, false] {
        let at = Gaussian::of(0.3, 1.2, 0.5, shared, 0.15);
        let (slope, v) = (at.both / at.high, at.low - at.both * at.both / at.high);
        let (mut by_ends, mut by_starts) = (0.0, 0.0);
        for batch in 0..batches {
            let (z, e) = (normals(n, 1, 200 + 2 * batch), normals(n, 1, 201 + 2 * batch));
            let mean: Vec<f64> = z.iter().map(|z| slope * at.high.sqrt() * z).collect();
            let low: Vec<f64> = mean.iter().zip(&e).map(|(mean, e)| mean + v.sqrt() * e).collect();
            let rows = |x: &[f64]| Var::from(Tensor::from_slice(x, [n, 1], &Device::Cpu).unwrap());
            by_ends += info_nce(&rows(&mean), &rows(&low), v).unwrap().value().item().unwrap() / f64::from(batches);
            by_starts += info_nce(&rows(&low), &rows(&mean), v).unwrap().value().item().unwrap() / f64::from(batches);
        }
        // E ln N(m; 0, low + v) - E ln N(x_j; 0, low), where the mean m has the variance r low and v = (1 - r) low.
        let r = 1.0 - v / at.low;
        let gap = 0.5 * (1.0 - (2.0 - r).ln() - r / (2.0 - r));
        if !shared {
            approx::assert_abs_diff_eq!(gap, 0.146, epsilon = 0.001);
        }
        approx::assert_abs_diff_eq!(by_starts + at.information(), 0.0, epsilon = 0.03);
        approx::assert_abs_diff_eq!(by_ends + at.information(), gap, epsilon = 0.03);
    }
}
