//! One Brownian path at several step counts.

use veridical::diffusion::solvers::*;
use veridical::ops::random::SampleIds;
use veridical::{DType, Tensor};

use super::problem::{CPU, Mixture, log_grid, normals, order, run};

const LOW: f64 = 0.05;
const HIGH: f64 = 20.0;

fn path(seed: u64) -> BrownianPath {
    BrownianPath::new(seed, SampleIds::From(0), LOW, HIGH).unwrap()
}

/// The increment from one level to another.
fn increment(path: &mut BrownianPath, n: usize, from: f64, to: f64) -> Vec<f64> {
    let zero = Tensor::zeros([n, 1], DType::F64, &CPU).unwrap();
    path.add(&zero, (to / from).ln().abs().sqrt(), from, to).unwrap().to_f64().unwrap()
}

#[test]
fn increments_add_up_and_can_be_asked_for_in_any_order() {
    let levels = [20f64, 7.3, 7.29, 1.0, 0.05];
    let mut forward = path(1);
    let parts: Vec<Vec<f64>> = levels.windows(2).map(|p| increment(&mut forward, 3, p[0], p[1])).collect();
    let whole = increment(&mut path(1), 3, 20.0, 0.05);
    for i in 0..3 {
        let sum: f64 = parts.iter().map(|part| part[i]).sum();
        approx::assert_abs_diff_eq!(sum, whole[i], epsilon = 1e-12);
    }
    let mut backward = path(1);
    for (pair, part) in levels.windows(2).zip(&parts).rev() {
        assert_eq!(&increment(&mut backward, 3, pair[0], pair[1]), part);
        let back = increment(&mut backward, 3, pair[1], pair[0]);
        assert!(back.iter().zip(part).all(|(a, b)| (a + b).abs() < 1e-12));
    }
}

#[test]
fn increments_are_independent_normal_numbers() {
    let n = 20_000;
    let levels = [19f64, 11.0, 10.9, 2.0, 0.06];
    let mut path = path(2);
    let steps: Vec<Vec<f64>> = levels
        .windows(2)
        .map(|p| {
            let width = (p[0] / p[1]).ln().sqrt();
            increment(&mut path, n, p[0], p[1]).iter().map(|x| x / width).collect()
        })
        .collect();
    let mean = |x: &[f64]| x.iter().sum::<f64>() / n as f64;
    for (i, a) in steps.iter().enumerate() {
        assert!(mean(a).abs() < 0.03, "mean {}", mean(a));
        for (j, b) in steps.iter().enumerate().take(i + 1) {
            let product = mean(&a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>());
            let expected = f64::from(u8::from(i == j));
            assert!((product - expected).abs() < 0.04, "covariance of {i} and {j}: {product}");
        }
        let fourth = mean(&a.iter().map(|a| a.powi(4)).collect::<Vec<_>>());
        assert!((fourth - 3.0).abs() < 0.3, "fourth moment {fourth}");
    }
}

/// Strong convergence: with more steps the samples themselves come to rest.
#[test]
fn the_same_path_gives_the_same_samples_at_different_step_counts() {
    let data = Mixture::two_modes();
    let n = 200;
    let x = combine(&[(HIGH, &normals(n, 6))]).unwrap();
    let end = |solver: &dyn Solver, steps: usize, noise: &mut dyn Noise| {
        run(solver, &data, &x, &log_grid(steps, HIGH, LOW), noise).x.to_f64().unwrap()
    };
    let distance =
        |a: &[f64], b: &[f64]| (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / n as f64).sqrt();
    for name in ["euler-ancestral", "dpmpp-2m-sde", "dpmpp-3m-sde", "dpmpp-sde", "reverse-diffusion"] {
        let solver = named(name, &Options::default()).unwrap();
        let fine = end(solver.as_ref(), 2048, &mut path(5));
        let errors: Vec<(usize, f64)> =
            [32, 64, 128, 256].map(|steps| (steps, distance(&end(solver.as_ref(), steps, &mut path(5)), &fine))).into();
        let measured = order(&errors);
        println!("{name}: strong order {measured:.2}, {errors:?}");
        assert!(measured > 0.6, "{name}: order {measured}, {errors:?}");
        let other = distance(&end(solver.as_ref(), 256, &mut path(6)), &fine);
        assert!(other > 10.0 * errors[3].1, "{name}: another path is no further away, {other}");
    }
}

#[test]
fn what_the_path_does_not_cover_is_an_error() {
    let x = normals(1, 0);
    assert!(BrownianPath::new(0, SampleIds::From(0), 0.0, 1.0).is_err());
    assert!(BrownianPath::new(0, SampleIds::From(0), 2.0, 1.0).is_err());
    let error = path(0).add(&x, 1.0, 40.0, 1.0).unwrap_err().to_string();
    assert!(error.contains("40") && error.contains("wider"), "{error}");
    assert!(path(0).add(&x, 1.0, 1.0, 0.0).is_err());
    let error = path(0).add(&x, 1.0, 5.0, 5.0).unwrap_err().to_string();
    assert!(error.contains("between two levels"), "{error}");
    assert_eq!(path(0).add(&x, 0.0, 5.0, 5.0).unwrap().to_f64().unwrap(), x.to_f64().unwrap());
    assert_eq!(path(0).add(&x, 0.0, 20.0, 1.0).unwrap().to_f64().unwrap(), x.to_f64().unwrap());
}

#[cfg(feature = "emulator")]
#[test]
fn the_path_is_the_same_on_the_emulator() {
    let device = veridical::Device::emulator().unwrap();
    let zero = Tensor::zeros([2, 5], DType::F32, &CPU).unwrap();
    let cpu = path(3).add(&zero, 1.0, 9.0, 2.0).unwrap().to_f64().unwrap();
    let emulated = path(3).add(&zero.to_device(&device).unwrap(), 1.0, 9.0, 2.0).unwrap().to_f64().unwrap();
    for (a, b) in cpu.iter().zip(emulated) {
        approx::assert_abs_diff_eq!(*a, b, epsilon = 1e-6);
    }
}
