//! `solvers.safetensors`: every case and every grid, computed by NVlabs/edm, k-diffusion and diffusers in f64.
//!
//! `tests/golden` has the shorter cases.

use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};
use veridical::diffusion::Grid;
use veridical::diffusion::sigmas::{iddpm_levels, vp_betas, vp_sigmas};
use veridical::diffusion::solvers::{
    BFunction, Churn, Correction, Deis, Dpm2, Dpm2Ancestral, DpmPp2M, DpmPp2MSde, DpmPp2S, DpmPp3MSde, DpmPpSde,
    EdmGeneral, Euler, EulerAncestral, Heun, Ipndm, Lms, Noise, SampleScale, Schedule, Solver, State, UniPc,
    ancestral_step, lms_coefficients, solve,
};
use veridical::{DType, Device, Result, Tensor};

use super::problem::{CPU, Mixture, tensor};
use super::{hardware, locate};

struct Fixture {
    bytes: Vec<u8>,
    cases: Map<String, Value>,
}

fn fixture() -> Option<Fixture> {
    let path = locate::fixtures().join("solvers.safetensors");
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: no {}", path.display());
        return None;
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    Some(Fixture { bytes, cases })
}

/// The shape and values of a tensor, or none.
fn stored(file: &SafeTensors, name: &str) -> Option<(Vec<usize>, Vec<f64>)> {
    let view = file.tensor(name).ok()?;
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        Dtype::F32 => data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
        other => panic!("{name}: {other:?}"),
    };
    Some((view.shape().to_vec(), values))
}

fn values(file: &SafeTensors, name: &str) -> Vec<f64> {
    stored(file, name).unwrap_or_else(|| panic!("no {name}")).1
}

fn mixture(file: &SafeTensors, problem: &str) -> Mixture {
    let part = |name: &str| values(file, &format!("{problem}.gmm.{name}"));
    let (weights, means, stds) = (part("weights"), part("means"), part("stds"));
    let dim = means.len() / weights.len();
    Mixture { weights, means, stds, dim }
}

/// Noise from the file: the k-th request gets row k.
struct Replay<'a> {
    rows: &'a [f64],
    asked: Vec<f64>,
}

impl Noise for Replay<'_> {
    fn add(&mut self, x: &Tensor, deviation: f64, from: f64, to: f64) -> Result<Tensor> {
        let at = self.asked.len() / 2 * x.len();
        self.asked.extend([from, to]);
        let z = &self.rows[at..at + x.len()];
        tensor(&x.to_f64()?.iter().zip(z).map(|(x, z)| x + deviation * z).collect::<Vec<_>>(), x)
    }
}

/// The solver, the grid, and for EDM's generalised sampler schedule and scaling.
fn setting(case: &Map<String, Value>, steps: usize) -> (Arc<dyn Solver>, Vec<f64>, Option<EdmGeneral>) {
    let text = |key: &str| case.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str, default: f64| case.get(key).and_then(Value::as_f64).unwrap_or(default);
    let (eta, s_noise) = (number("eta", 1.0), number("s_noise", 1.0));
    let order = number("order", 0.0) as usize;
    let edm = text("project") == "edm";
    let churn = if edm {
        Churn {
            amount: number("S_churn", 0.0),
            s_min: number("S_min", 0.0),
            s_max: number("S_max", f64::INFINITY),
            s_noise: number("S_noise", 1.0),
        }
    } else {
        let (amount, s_min) = (number("s_churn", 0.0), number("s_tmin", 0.0));
        Churn { amount, s_min, s_max: number("s_tmax", f64::INFINITY), s_noise }
    };
    let (low, high) = (number("sigma_min", 0.002), number("sigma_max", 80.0));
    let mut general = None;
    let solver: Arc<dyn Solver> = match text("function") {
        "edm_sampler" | "sample_heun" => Arc::new(Heun { churn }),
        "ablation_sampler" => {
            let (beta_d, beta_min) = vp_betas(low, high, number("epsilon_s", 1e-3));
            if let Some(expected) = case.get("vp_beta_d").and_then(Value::as_f64) {
                approx::assert_relative_eq!(beta_d, expected, max_relative = 1e-9);
            }
            let solver = EdmGeneral {
                schedule: match text("schedule") {
                    "vp" => Schedule::Vp { beta_d, beta_min },
                    "ve" => Schedule::Ve,
                    _ => Schedule::Linear,
                },
                scaling: if text("scaling") == "vp" { SampleScale::Vp } else { SampleScale::None },
                alpha: (text("solver") == "heun").then_some(number("alpha", 1.0)),
                churn,
            };
            general = Some(solver);
            Arc::new(solver)
        }
        "sample_euler" => Arc::new(Euler { churn }),
        "sample_dpm_2" => Arc::new(Dpm2 { churn }),
        "sample_euler_ancestral" => Arc::new(EulerAncestral { eta, s_noise }),
        "sample_dpm_2_ancestral" => Arc::new(Dpm2Ancestral { eta, s_noise }),
        "sample_dpmpp_2s_ancestral" => Arc::new(DpmPp2S { eta, s_noise }),
        "sample_lms" => Arc::new(Lms { order }),
        "sample_dpmpp_2m" => Arc::new(DpmPp2M),
        "sample_dpmpp_sde" => Arc::new(DpmPpSde { eta, s_noise, r: number("r", 0.5) }),
        "sample_dpmpp_2m_sde" => {
            let correction = if text("solver_type") == "heun" { Correction::Heun } else { Correction::Midpoint };
            Arc::new(DpmPp2MSde { eta, s_noise, correction })
        }
        "sample_dpmpp_3m_sde" => Arc::new(DpmPp3MSde { eta, s_noise }),
        "UniPCMultistepScheduler" => {
            Arc::new(UniPc { order, b: if text("variant") == "bh1" { BFunction::Bh1 } else { BFunction::Bh2 } })
        }
        "DEISMultistepScheduler" => Arc::new(Deis { order }),
        "IPNDMScheduler" => Arc::new(Ipndm { order }),
        other => panic!("unknown function {other}"),
    };
    let grid = match (text("grid"), text("discretization")) {
        ("exponential", _) | (_, "ve") => Grid::Exponential,
        ("vp", _) => Grid::Given(vp_sigmas(steps, 19.9, 0.1, 1e-3).unwrap()),
        ("poly2", _) => Grid::Polyexponential { rho: 2.0 },
        (_, "vp") => Grid::Vp { eps_s: number("epsilon_s", 1e-3) },
        (_, "iddpm") => Grid::Iddpm,
        _ => Grid::Karras { rho: number("rho", 7.0) },
    };
    (solver, grid.sigmas(steps, low, high).unwrap(), general)
}

/// `max |a - b| / max(1, max |b|)` of one tensor.
fn off(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let scale = expected.iter().fold(1f64, |scale, b| scale.max(b.abs()));
    got.iter()
        .zip(expected)
        .fold(0f64, |off, (a, b)| if (a - b).is_nan() { f64::INFINITY } else { off.max((a - b).abs()) })
        / scale
}

/// The largest relative difference.
fn relative(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let ratio = |(a, b): (&f64, &f64)| if a == b { 0.0 } else { ((a - b) / b).abs() };
    got.iter().zip(expected).map(ratio).fold(0f64, |x, y| if y.is_nan() { f64::INFINITY } else { x.max(y) })
}

/// How far a case is off: states, and numbers of the host relatively.
struct Off {
    state: f64,
    numbers: f64,
}

fn check(file: &SafeTensors, name: &str, case: &Map<String, Value>, dtype: DType, device: &Device) -> Off {
    let problem = name.split('.').next().unwrap();
    let steps = case["steps"].as_u64().unwrap() as usize;
    let data = mixture(file, problem);
    let (solver, sigmas, general) = setting(case, steps);
    let mut numbers = relative(&sigmas, &values(file, &format!("{name}.sigmas")));
    if let (Some(general), Some((_, times))) = (general, stored(file, &format!("{name}.t"))) {
        numbers = numbers.max(relative(&sigmas.iter().map(|s| general.schedule.time(*s)).collect::<Vec<_>>(), &times));
    }

    let rows = values(file, &format!("{problem}.noise"));
    let mut noise = Replay { rows: &rows, asked: Vec::new() };
    let latents: Vec<f64> = values(file, &format!("{problem}.latents")).iter().map(|z| z * sigmas[0]).collect();
    let shape = [8, data.dim];
    let x = match dtype {
        DType::F64 => Tensor::from_slice(&latents, shape, device).unwrap(),
        _ => {
            let latents: Vec<f32> = latents.iter().map(|&z| z as f32).collect();
            Tensor::from_slice(&latents, shape, device).unwrap()
        }
    };
    let mut asked = Vec::new();
    let mut denoise = |x: &Tensor, sigma: f64| {
        asked.push(sigma);
        data.denoise(x, sigma)
    };
    let scale = |sigma: f64| general.map_or(1.0, |general| general.scaling.at(sigma));
    let (mut states, mut corrected) = (Vec::new(), Vec::new());
    let mut observe = |state: &State| {
        let scaled = |x: &Tensor| x.to_f64().map(|x| x.iter().map(|x| x * scale(state.sigma)).collect::<Vec<_>>());
        states.push(scaled(state.x)?);
        corrected.push(scaled(state.corrected.unwrap_or(state.x))?);
        Ok(())
    };
    let solution = solve(solver.as_ref(), &mut denoise, &x, &sigmas, &mut noise, &mut observe).unwrap();
    assert_eq!(solution.nfe as u64, case["nfe"].as_u64().unwrap(), "{name}");
    assert_eq!((solution.nfe, states.len()), (asked.len(), steps + 1), "{name}");
    assert_eq!(noise.asked.len() as u64 / 2, case["noise_calls"].as_u64().unwrap(), "{name}");

    numbers = numbers.max(relative(&asked, &values(file, &format!("{name}.asked"))));
    if let Some((_, expected)) = stored(file, &format!("{name}.noise_sigmas")) {
        numbers = numbers.max(relative(&noise.asked, &expected));
    }
    if let Some((_, expected)) = stored(file, &format!("{name}.down_up")) {
        let eta = case["eta"].as_f64().unwrap();
        let split = |pair: &[f64]| <[f64; 2]>::from(ancestral_step(pair[0], pair[1], eta));
        numbers = numbers.max(relative(&sigmas.windows(2).flat_map(split).collect::<Vec<_>>(), &expected));
    }
    if let Some((shape, expected)) = stored(file, &format!("{name}.coeffs")) {
        let padded = |i: usize| {
            let mut weights = lms_coefficients(&sigmas, i, shape[1]).unwrap();
            weights.resize(shape[1], 0.0);
            weights
        };
        numbers = numbers.max(relative(&(0..steps).flat_map(padded).collect::<Vec<_>>(), &expected));
    }

    let mut state = off(&solution.x.to_f64().unwrap(), &values(file, &format!("{name}.x_final")));
    for (what, got) in [("x", &states), ("x_corrected", &corrected)] {
        let Some((shape, expected)) = stored(file, &format!("{name}.{what}")) else { continue };
        let len = shape[1..].iter().product::<usize>();
        for (got, expected) in got.iter().zip(expected.chunks(len)) {
            state = state.max(off(&got[..len], expected));
        }
    }
    Off { state, numbers }
}

/// Checks the cases that `admits` admits; `tolerance` is for the states of a case.
fn run(dtype: DType, device: &Device, admits: impl Fn(&str) -> bool, tolerance: impl Fn(&str) -> f64) {
    let Some(fixture) = fixture() else { return };
    let file = SafeTensors::deserialize(&fixture.bytes).unwrap();
    let (mut ran, mut failures, mut worst) = (0, Vec::new(), Off { state: 0.0, numbers: 0.0 });
    for (name, case) in fixture.cases.iter().filter(|(name, _)| admits(name)) {
        let off = check(&file, name, case.as_object().unwrap(), dtype, device);
        if off.state > tolerance(name) || off.numbers > 1e-9 {
            failures.push(format!("{name}: states {:.1e}, numbers {:.1e}", off.state, off.numbers));
        }
        worst = Off { state: worst.state.max(off.state), numbers: worst.numbers.max(off.numbers) };
        ran += 1;
    }
    println!("{ran} cases in {dtype} on {device}: states off by {:.1e}, numbers by {:.1e}", worst.state, worst.numbers);
    assert!(failures.is_empty(), "{} of {ran} cases are off:\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 0);
}

#[test]
fn every_case_in_f64() {
    run(DType::F64, &CPU, |_| true, |_| 1e-9);
}

/// State and denoiser rounded to f32, coefficients in f64.
fn f32_tolerance(name: &str) -> f64 {
    if name.contains(".abl_") { 2e-4 } else { 2e-5 }
}

#[test]
fn every_case_in_f32() {
    run(DType::F32, &CPU, |_| true, f32_tolerance);
}

#[cfg(feature = "emulator")]
#[test]
fn short_cases_on_the_emulator() {
    let device = Device::emulator().unwrap();
    run(
        DType::F32,
        &device,
        |name| name.starts_with("g2d.") && name.ends_with(".n10") && !name.contains("none"),
        f32_tolerance,
    );
}

#[test]
fn cuda() {
    if let Some(device) = hardware::cuda() {
        run(DType::F32, &device, |_| true, f32_tolerance);
    }
}

#[test]
fn the_denoiser_of_the_tests_is_the_references() {
    let Some(fixture) = fixture() else { return };
    let file = SafeTensors::deserialize(&fixture.bytes).unwrap();
    for problem in ["g2d", "img"] {
        if stored(&file, &format!("{problem}.denoiser.x")).is_none() {
            continue;
        }
        let data = mixture(&file, problem);
        let part = |name: &str| values(&file, &format!("{problem}.denoiser.{name}"));
        let (x, sigma) = (part("x"), part("sigma"));
        let samples = || x.chunks(data.dim).zip(&sigma);
        let denoised: Vec<f64> = samples().flat_map(|(x, s)| data.denoised(x, *s)).collect();
        assert!(off(&denoised, &part("denoised")) < 1e-9);
        let densities: Vec<f64> = samples().map(|(x, s)| data.log_density(x, *s)).collect();
        assert!(relative(&densities, &part("log_density")) < 1e-9);
    }
}

#[test]
fn every_grid() {
    let Some(fixture) = fixture() else { return };
    let file = SafeTensors::deserialize(&fixture.bytes).unwrap();
    let mut ran = 0;
    for name in file.names() {
        let parts: Vec<&str> = name.split('.').collect();
        let ["grid", kind, .., steps] = parts.as_slice() else { continue };
        let expected = values(&file, name);
        let alt = parts.len() == 4;
        let (low, high) = if alt { (0.01, 50.0) } else { (0.002, 80.0) };
        let Some(steps) = steps.strip_prefix('n').and_then(|n| n.parse::<usize>().ok()) else {
            let got = match parts[2] {
                "u" => iddpm_levels(),
                "u_filtered" => iddpm_levels().into_iter().filter(|u| (0.002..=81.0).contains(u)).collect(),
                "betas" => {
                    let (low, high) = Grid::Vp { eps_s: 1e-3 }.default_range();
                    <[f64; 2]>::from(vp_betas(low, high, 1e-3)).into()
                }
                "u_f32" => continue, // for information
                other => panic!("{other}"),
            };
            assert!(relative(&got, &expected) < 1e-9, "{name}");
            ran += 1;
            continue;
        };
        let vp = Grid::Vp { eps_s: 1e-3 };
        let (vp_low, vp_high) = vp.default_range();
        let got = match *kind {
            "karras" => Grid::Karras { rho: 7.0 }.sigmas(steps, low, high),
            "karras_rho5" => Grid::Karras { rho: 5.0 }.sigmas(steps, low, high),
            "exponential" => Grid::Exponential.sigmas(steps, low, high),
            "vp" if alt => vp_sigmas(steps, 15.0, 0.2, 1e-4),
            "vp" => vp_sigmas(steps, 19.9, 0.1, 1e-3),
            "edm_vp" => vp.sigmas(steps, vp_low, vp_high),
            "edm_ve" => Grid::Exponential.sigmas(steps, 0.02, 100.0),
            "edm_iddpm" => Grid::Iddpm.sigmas(steps, 0.002, 81.0),
            "edm_edm" => Grid::default().sigmas(steps, 0.002, 80.0),
            other => {
                let rho = other.strip_prefix("polyexponential_rho").unwrap().replace('p', ".").parse().unwrap();
                Grid::Polyexponential { rho }.sigmas(steps, low, high)
            }
        };
        let got = got.unwrap();
        // The discretisations of EDM are stored without the final 0.
        let got = if kind.starts_with("edm_") { &got[..steps] } else { &got[..] };
        assert!(relative(got, &expected) < 1e-9, "{name}: {got:?}, expected {expected:?}");
        ran += 1;
    }
    println!("{ran} grids");
    assert!(ran > 0);
}
