//! Solvers that must agree, and that all others differ; grids and options that are refused.

use veridical::diffusion::karras_sigmas;
use veridical::diffusion::solvers::*;
use veridical::{Error, Tensor};

use super::problem::{CPU, Mixture, fresh, log_grid, normals, run};

fn path(solver: &dyn Solver) -> Vec<f64> {
    let data = Mixture::two_modes();
    let sigmas = karras_sigmas(12, 0.002, 80.0, 7.0).unwrap();
    let x = combine(&[(sigmas[0], &normals(6, 3))]).unwrap();
    let mut states = Vec::new();
    let mut denoise = |x: &Tensor, sigma: f64| data.denoise(x, sigma);
    solve(solver, &mut denoise, &x, &sigmas, &mut fresh(1), &mut |state| {
        states.extend(state.x.to_f64()?);
        Ok(())
    })
    .unwrap();
    states
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max)
}

#[test]
fn solvers_that_are_the_same_method_agree() {
    let churn = Churn { amount: 20.0, s_min: 0.05, s_max: 50.0, s_noise: 1.003 };
    let general = EdmGeneral::default();
    let pairs: [(&dyn Solver, &dyn Solver); 11] = [
        (&Euler::default(), &EdmGeneral { alpha: None, ..general }),
        (&Euler { churn }, &EdmGeneral { alpha: None, churn, ..general }),
        (&Heun::default(), &general),
        (&Heun { churn }, &EdmGeneral { churn, ..general }),
        (&Euler::default(), &Deis { order: 1 }),
        (&Euler::default(), &Lms { order: 1 }),
        (&Euler::default(), &Ipndm { order: 1 }),
        (&Euler::default(), &EulerAncestral { eta: 0.0, s_noise: 1.0 }),
        (&Dpm2::default(), &Dpm2Ancestral { eta: 0.0, s_noise: 1.0 }),
        (&DpmPp2M, &DpmPp2MSde { eta: 0.0, ..Default::default() }),
        (&DpmPp3M, &DpmPp3MSde { eta: 0.0, s_noise: 1.0 }),
    ];
    for (a, b) in pairs {
        let off = difference(&path(a), &path(b));
        assert!(off < 1e-11, "{a:?} and {b:?} differ by {off}");
    }
}

#[test]
fn solvers_that_are_different_methods_differ() {
    let paths: Vec<(&str, Vec<f64>)> = NAMES
        .iter()
        // The first is Heun by default, the second has steps of its own.
        .filter(|name| !["edm-general", "rk45"].contains(name))
        .map(|name| (*name, path(named(name, &Options::default()).unwrap().as_ref())))
        .collect();
    for (i, (a, path_a)) in paths.iter().enumerate() {
        for (b, path_b) in &paths[..i] {
            assert!(difference(path_a, path_b) > 1e-4, "{a} and {b} are the same");
        }
    }
}

#[test]
fn every_solver_starts_anywhere_and_ends_anywhere() {
    let data = Mixture::gaussian(0.3, 0.5);
    let x = normals(5, 2);
    for name in NAMES {
        let solver = named(name, &Options::default()).unwrap();
        for sigmas in [&[0.7, 0.4, 0.1][..], &[0.7, 0.0], &[1e-3, 0.0], &log_grid(9, 3.0, 0.5)] {
            let solution = run(solver.as_ref(), &data, &x, sigmas, &mut fresh(0));
            assert!(solution.x.to_f64().unwrap().iter().all(|x| x.is_finite()), "{name} on {sigmas:?}");
            assert!(solution.nfe >= 1);
        }
    }
}

#[test]
fn a_grid_that_does_not_fall_is_an_error() {
    let x = normals(1, 0);
    let data = Mixture::gaussian(0.0, 1.0);
    for name in NAMES {
        let solver = named(name, &Options::default()).unwrap();
        for sigmas in [&[1.0][..], &[], &[1.0, 1.0], &[1.0, 2.0], &[f64::NAN, 0.0], &[f64::INFINITY, 0.0], &[1.0, -0.5]]
        {
            let mut denoise = |x: &Tensor, sigma| data.denoise(x, sigma);
            let error = solve(solver.as_ref(), &mut denoise, &x, sigmas, &mut fresh(0), &mut |_| Ok(())).unwrap_err();
            assert!(error.to_string().contains("fall strictly"), "{name}: {error}");
        }
    }
}

#[test]
fn options_that_make_no_sense_are_errors() {
    let none = Options::default();
    let refused = |name: &str, options: Options, says: &str| {
        let error = named(name, &options).unwrap_err();
        assert!(matches!(error, Error::Config(_)) && error.to_string().contains(says), "{name}: {error}");
    };
    refused("hune", none, "heun");
    refused("heun", Options { eta: Some(1.0), ..none }, "eta");
    refused("dpmpp-2m", Options { churn: Some(Churn::default()), ..none }, "churn");
    refused("euler-ancestral", Options { eta: Some(-1.0), ..none }, "eta");
    refused("heun", Options { churn: Some(Churn { amount: f64::NAN, ..Churn::default() }), ..none }, "S_churn");
    refused("rk45", Options { max_steps: Some(0), ..none }, "max_steps");
    let x = normals(1, 0);
    let refused = |solver: &dyn Solver, says: &str| {
        let mut denoise = |x: &Tensor, _: f64| Ok(x.clone());
        let error = solve(solver, &mut denoise, &x, &[1.0, 0.5, 0.0], &mut fresh(0), &mut |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains(says), "{solver:?}: {error}");
    };
    refused(&Lms { order: 0 }, "order");
    refused(&Deis { order: 99 }, "order");
    refused(&Ipndm { order: 5 }, "order");
    refused(&UniPc { order: 0, b: BFunction::Bh2 }, "order");
    refused(&EdmGeneral { alpha: Some(2.0), ..Default::default() }, "alpha");
    refused(&DpmPpSde { r: 0.0, ..Default::default() }, "r <= 1");
    refused(&Rk45 { atol: 0.0, ..Default::default() }, "atol");
}

#[test]
fn a_denoiser_that_changes_the_shape_is_an_error() {
    let x = normals(2, 0);
    let mut denoise = |_: &Tensor, _: f64| Tensor::from_slice(&[0.0], [1], &CPU);
    let error = solve(&Euler::default(), &mut denoise, &x, &[1.0, 0.0], &mut fresh(0), &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("denoiser"), "{error}");
}

#[test]
fn an_observer_can_stop_a_run() {
    let x = normals(2, 0);
    let mut calls = 0;
    let mut denoise = |x: &Tensor, _: f64| Ok(x.clone());
    let stopped = solve(&Euler::default(), &mut denoise, &x, &[3.0, 2.0, 1.0, 0.0], &mut fresh(0), &mut |state| {
        calls += 1;
        if state.step == 1 { Err(Error::Config("enough".into())) } else { Ok(()) }
    });
    assert!(stopped.is_err());
    assert_eq!(calls, 2);
}

/// A denoiser that knows whole noise levels only.
struct Whole(Vec<f64>);

impl Denoise for Whole {
    fn at(&mut self, x: &Tensor, sigma: f64) -> veridical::Result<Tensor> {
        self.0.push(sigma);
        Ok(x.clone())
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        sigma.round()
    }
}

#[test]
fn levels_are_rounded_to_those_that_the_denoiser_knows() {
    let churn = Churn { amount: 1.2, ..Churn::default() };
    for solver in [&Heun { churn } as &dyn Solver, &EdmGeneral { churn, ..Default::default() }] {
        let mut denoise = Whole(Vec::new());
        let grid = [9.8, 6.2, 3.3, 2.8, 1.1, 0.7, 0.0]; // 10, 6, 3, 1, 0: four steps, gamma 0.3
        solve(solver, &mut denoise, &normals(2, 0), &grid, &mut fresh(0), &mut |_| Ok(())).unwrap();
        assert_eq!(denoise.0, [13.0, 6.0, 8.0, 3.0, 4.0, 1.0, 1.0], "{solver:?}");
    }
}
