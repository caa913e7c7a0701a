//! Deterministic solvers against the exact flow of the probability-flow ODE.

use veridical::Tensor;
use veridical::diffusion::solvers::*;

use super::problem::{CPU, Mixture, fresh, log_grid, order, run};

const STARTS: [f64; 5] = [-31.0, -9.0, 1.5, 12.0, 27.0];
const ENDS: (f64, f64) = (20.0, 0.02);

fn error(solver: &dyn Solver, data: &Mixture, steps: usize) -> f64 {
    let x = Tensor::from_slice(&STARTS, [STARTS.len(), 1], &CPU).unwrap();
    let y = run(solver, data, &x, &log_grid(steps, ENDS.0, ENDS.1), &mut fresh(0)).x.to_f64().unwrap();
    STARTS.iter().zip(y).map(|(x, y)| (y - data.flow(*x, ENDS.0, ENDS.1)).abs()).fold(0.0, f64::max)
}

#[test]
fn orders_on_two_modes() {
    let vp = Schedule::Vp { beta_d: 19.9, beta_min: 0.1 };
    let solvers: [(&dyn Solver, f64, f64); 17] = [
        (&Euler::default(), 0.9, 1.1),
        (&Heun::default(), 1.9, 2.1),
        (&Dpm2::default(), 1.9, 2.1),
        (&DpmPp2S::default(), 1.9, 2.1),
        (&DpmPp2M, 1.9, 2.1),
        // Its first step, of first order, limits it.
        (&DpmPp3M, 1.8, 2.2),
        // Here the slope hardly changes during the first steps, so that their low order does not show.
        (&Lms { order: 2 }, 1.9, 2.1),
        (&Lms { order: 4 }, 3.3, 4.2),
        (&Deis { order: 2 }, 1.9, 2.1),
        (&Deis { order: 3 }, 2.8, 3.2),
        // Weights for even levels make no more than second order of these.
        (&Ipndm { order: 4 }, 1.8, 2.2),
        // The corrector adds up to one order.
        (&UniPc { order: 2, b: BFunction::Bh1 }, 1.8, 3.1),
        (&UniPc { order: 2, b: BFunction::Bh2 }, 1.8, 3.1),
        (&UniPc { order: 3, b: BFunction::Bh1 }, 1.8, 3.1),
        (&UniPc { order: 3, b: BFunction::Bh2 }, 1.8, 3.1),
        (&EdmGeneral { alpha: Some(0.5), ..Default::default() }, 1.9, 2.1),
        (&EdmGeneral { schedule: vp, scaling: SampleScale::Vp, ..Default::default() }, 1.9, 2.1),
    ];
    let data = Mixture::two_modes();
    let mut failures = Vec::new();
    for (solver, low, high) in solvers {
        let errors: Vec<(usize, f64)> = [160, 320, 640].map(|n| (n, error(solver, &data, n))).into();
        let measured = order(&errors);
        println!("{solver:?}: order {measured:.2}, errors {errors:?}");
        if !(low..=high).contains(&measured) {
            failures.push(format!("{solver:?}: order {measured}, expected {low} to {high}; {errors:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_fine_grid_finds_the_closed_form_on_gaussian_data() {
    let data = Mixture::gaussian(0.3, 0.5);
    // x(b) = m + sqrt((s^2 + b^2) / (s^2 + a^2)) (x - m)
    let (a, b) = ENDS;
    let shrink = ((0.25 + b * b) / (0.25 + a * a)).sqrt();
    for name in NAMES.iter().filter(|name| !name.contains("sde") && !name.contains("ancestral")) {
        if ["euler-maruyama", "reverse-diffusion", "predictor-corrector"].contains(name) {
            continue;
        }
        let x = Tensor::from_slice(&STARTS, [STARTS.len(), 1], &CPU).unwrap();
        let solver = named(name, &Options::default()).unwrap();
        let y = run(solver.as_ref(), &data, &x, &log_grid(500, a, b), &mut fresh(0)).x.to_f64().unwrap();
        let tolerance = if *name == "euler" { 2e-2 } else { 2e-4 };
        for (x, y) in STARTS.iter().zip(y) {
            approx::assert_abs_diff_eq!(y, 0.3 + shrink * (x - 0.3), epsilon = tolerance);
        }
    }
}

#[test]
fn rk45_keeps_its_tolerance() {
    let data = Mixture::two_modes();
    let x = Tensor::from_slice(&STARTS, [STARTS.len(), 1], &CPU).unwrap();
    let exact: Vec<f64> = STARTS.iter().map(|x| data.flow(*x, ENDS.0, ENDS.1)).collect();
    let mut last = (f64::INFINITY, 0);
    for tolerance in [1e-4, 1e-6, 1e-8] {
        let solver = Rk45 { atol: tolerance, rtol: tolerance, ..Default::default() };
        let solution = run(&solver, &data, &x, &[ENDS.0, ENDS.1], &mut fresh(0));
        let y = solution.x.to_f64().unwrap();
        let error = y.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("tolerance {tolerance}: error {error:.1e} after {} calls", solution.nfe);
        assert!(error < 100.0 * tolerance && error < last.0 && solution.nfe > last.1);
        last = (error, solution.nfe);
    }
    assert!(last.1 < 3000, "{} calls", last.1);
}

#[test]
fn rk45_is_of_order_five() {
    // The error against the number of calls: halving the tolerance by 32 should double the calls.
    let data = Mixture::gaussian(0.3, 0.5);
    let x = Tensor::from_slice(&STARTS, [STARTS.len(), 1], &CPU).unwrap();
    let points: Vec<(usize, f64)> = [1e-6, 1e-8, 1e-10, 1e-12]
        .map(|tolerance| {
            let solver = Rk45 { atol: tolerance, rtol: tolerance, ..Default::default() };
            let solution = run(&solver, &data, &x, &[ENDS.0, ENDS.1], &mut fresh(0));
            let y = solution.x.to_f64().unwrap();
            let error = |(x, y): (&f64, &f64)| (y - data.flow(*x, ENDS.0, ENDS.1)).abs();
            (solution.nfe, STARTS.iter().zip(&y).map(error).fold(0.0, f64::max))
        })
        .into();
    let measured = order(&points);
    assert!((4.3..6.5).contains(&measured), "order {measured}: {points:?}");
}

#[test]
fn rk45_gives_up_at_its_limit() {
    let data = Mixture::two_modes();
    let x = Tensor::from_slice(&STARTS, [STARTS.len(), 1], &CPU).unwrap();
    let solver = Rk45 { max_steps: 5, ..Default::default() };
    let mut denoise = |x: &Tensor, sigma| data.denoise(x, sigma);
    let error = solve(&solver, &mut denoise, &x, &[80.0, 0.002, 0.0], &mut fresh(0), &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("5 steps"), "{error}");
    // Nor does a tolerance that no number of 64 bits can keep, whatever the limit.
    let solver = Rk45 { atol: 1e-300, rtol: 1e-300, max_steps: usize::MAX };
    let mut denoise = |x: &Tensor, sigma| data.denoise(x, sigma);
    let error = solve(&solver, &mut denoise, &x, &[80.0, 0.002, 0.0], &mut fresh(0), &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("tolerance"), "{error}");
    // A denoiser that breaks does not keep it busy.
    let mut denoise = |x: &Tensor, _: f64| combine(&[(f64::NAN, x)]);
    assert!(solve(&Rk45::default(), &mut denoise, &x, &[80.0, 0.002, 0.0], &mut fresh(0), &mut |_| Ok(())).is_err());
}
