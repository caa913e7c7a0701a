//! How the end of a solver's chain hangs on what the denoiser said along the way.

use crate::diffusion::solvers::{FreshNoise, Solver, solve};
use crate::error::{Error, Result};
use crate::ops::random::SampleIds;
use crate::tensor::{DType, Device, Tensor};

/// The denoiser's calls of a solver over given levels. All solvers but those that choose their steps or measure their
/// samples are linear in what the calls return: `input_c = start and noise + sum_{c' < c} inputs[c][c'] D_{c'}`, `end =
/// start and noise + sum_c end[c] D_c`.
///
/// The coefficients are found by asking the solver itself, so gradients through a chain need no second version of any
/// solver.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependence {
    /// The noise level of each call.
    pub levels: Vec<f64>,
    /// How each call's input depends on the results of the calls before it.
    pub inputs: Vec<Vec<f64>>,
    /// How the end depends on the results of all calls.
    pub end: Vec<f64>,
}

impl Dependence {
    /// The dependence in `solver` over `sigmas`. Errors where [`solve`] does, and if the solver is not linear in the
    /// denoiser's results.
    pub fn of(solver: &dyn Solver, sigmas: &[f64]) -> Result<Self> {
        let calls = run(solver, sigmas, 1, &|_, _| 0.0)?.levels.len();
        // What the noise alone does is taken off. Column q of the sample follows call q alone.
        let noise = run(solver, sigmas, calls, &|_, _| 0.0)?;
        let mut unit = run(solver, sigmas, calls, &|call, column| f64::from(u8::from(call == column)))?;
        let all = run(solver, sigmas, calls, &|call, _| 2.0 + call as f64)?;
        let less = |values: &mut [f64], noise: &[f64]| values.iter_mut().zip(noise).for_each(|(v, n)| *v -= n);
        less(&mut unit.end, &noise.end);
        unit.inputs.iter_mut().zip(&noise.inputs).for_each(|(input, noise)| less(input, noise));
        // Linear: all results at once move each column by the sum of the coefficients times them.
        let sum: f64 = unit.end.iter().enumerate().map(|(call, c)| c * (2.0 + call as f64)).sum();
        let scale = 1.0 + sum.abs() + sigmas.first().copied().unwrap_or(0.0);
        let close = all.end.iter().zip(&noise.end).all(|(all, noise)| (all - noise - sum).abs() <= 1e-9 * scale);
        if unit.levels.len() != calls || all.levels.len() != calls || !close {
            return Err(Error::Config(format!(
                "{solver:?} depends on its samples in more than a linear way, so its chain has no fixed coefficients; take another solver"
            )));
        }
        Ok(unit)
    }

    /// Number of calls.
    pub fn calls(&self) -> usize {
        self.levels.len()
    }
}

/// Runs the solver from 0, with the same noise each time, on one sample of `columns` numbers, with a denoiser whose
/// call `c` returns `of(c, column)`.
fn run(solver: &dyn Solver, sigmas: &[f64], columns: usize, of: &dyn Fn(usize, usize) -> f64) -> Result<Dependence> {
    let (mut levels, mut inputs) = (Vec::new(), Vec::new());
    let start = Tensor::zeros([1, columns.max(1)], DType::F64, &Device::Cpu)?;
    let mut denoise = |x: &Tensor, sigma: f64| -> Result<Tensor> {
        let call = levels.len();
        let mut input = x.to_vec::<f64>()?;
        input.truncate(call);
        levels.push(sigma);
        inputs.push(input);
        let said: Vec<f64> = (0..columns.max(1)).map(|column| of(call, column)).collect();
        Tensor::from_slice(&said, x.shape(), &Device::Cpu)
    };
    let mut noise = FreshNoise::new(0, SampleIds::From(0));
    let end = solve(solver, &mut denoise, &start, sigmas, &mut noise, &mut |_| Ok(()))?.x.to_vec::<f64>()?;
    Ok(Dependence { levels, inputs, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::solvers::{Heun, Options, named};

    #[test]
    fn heuns_coefficients_are_the_textbooks() {
        // One step from a to b: x' = x + h/2 (d + d'), d = (x - D) / a, d' = (x + h d - D') / b, h = b - a.
        let (a, b) = (2.0, 0.5);
        let h: f64 = b - a;
        let found = Dependence::of(&Heun::default(), &[a, b]).unwrap();
        assert_eq!(found.levels, [a, b]);
        approx::assert_relative_eq!(found.inputs[1][0], -h / a, max_relative = 1e-12);
        approx::assert_relative_eq!(found.end[0], h / 2.0 * (-1.0 / a - h / (a * b)), max_relative = 1e-12);
        approx::assert_relative_eq!(found.end[1], -h / 2.0 / b, max_relative = 1e-12);
    }

    #[test]
    fn every_linear_solver_has_coefficients_and_the_others_say_so() {
        let sigmas = [3.0, 1.5, 0.8, 0.3, 0.1];
        for name in crate::diffusion::solvers::NAMES {
            let solver = named(name, &Options::default()).unwrap();
            let found = Dependence::of(solver.as_ref(), &sigmas);
            match name {
                "rk45" => assert!(found.is_err(), "{name}"),
                _ => {
                    let found = found.unwrap_or_else(|e| panic!("{name}: {e}"));
                    assert_eq!(
                        found.inputs.iter().map(Vec::len).collect::<Vec<_>>(),
                        (0..found.calls()).collect::<Vec<_>>()
                    );
                    assert!(found.end.iter().all(|c| c.is_finite()), "{name}");
                }
            }
        }
    }
}
