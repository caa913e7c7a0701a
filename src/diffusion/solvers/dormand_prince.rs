//! The Runge-Kutta pair of Dormand & Prince 1980 (orders 5 and 4) with step-size control, for states of several
//! tensors.
//!
//! The last slope of a step is the first of the next. The step size follows the PI controller of Gustafsson in the form
//! of Hairer, Nørsett & Wanner, "Solving ordinary differential equations I", section II.4 and IV.2 of volume II: `h <-
//! 0.9 h e^(-0.7/5) e_before^(0.4/5)`.

use super::run::axpy;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Accuracy and limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DormandPrince {
    /// Absolute tolerance of a step.
    pub atol: f64,
    /// Tolerance relative to the state.
    pub rtol: f64,
    /// Steps, rejected ones included, after which it is an error.
    pub max_steps: usize,
}

const C: [f64; 7] = [0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0];
const A: [&[f64]; 7] = [
    &[],
    &[1.0 / 5.0],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
    &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
/// Difference of the weights of both orders.
const E: [f64; 7] =
    [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0];

type State = Vec<Tensor>;

impl DormandPrince {
    /// Integrates `dy/dt = f(y, t)` from `start` to `end`, which may lie on either side. `accepted(steps, t, y)` sees
    /// every accepted step.
    ///
    /// The error of a step is the largest over the tensors and samples `[n, ...]` of the root mean square over a
    /// sample's elements. Errors on tolerances that are not positive, when the steps are used up, and when the error is
    /// not a number.
    pub fn integrate(
        &self,
        mut f: impl FnMut(&State, f64) -> Result<State>,
        mut y: State,
        (start, end): (f64, f64),
        mut accepted: impl FnMut(usize, f64, &State) -> Result<()>,
    ) -> Result<State> {
        if !(self.atol > 0.0 && self.rtol >= 0.0 && self.atol.is_finite() && self.rtol.is_finite()) {
            let what = format!("rk45 needs atol > 0 and rtol >= 0, got {} and {}", self.atol, self.rtol);
            return Err(Error::Config(what));
        }
        let sign = (end - start).signum();
        let mut t = start;
        let mut first = f(&y, t)?;
        let mut h = self.first_step(&mut f, &y, &first, t, end)?;
        let (mut before, mut done) = (1e-4f64, 0);
        for _ in 0..self.max_steps {
            let left = (end - t).abs();
            let last = h >= left * (1.0 - 1e-12);
            let step = sign * if last { left } else { h };
            if !last && t + step == t {
                let what = format!("a tolerance of {} cannot be kept: steps at {t} have shrunk to {h:.1e}", self.atol);
                return Err(Error::argument("rk45", format!("{what}, which no longer move; raise it")));
            }
            let mut slopes: Vec<State> = vec![first.clone()];
            let mut next = y.clone();
            for stage in 1..7 {
                next = advance(&y, step, A[stage], &slopes)?;
                slopes.push(f(&next, t + C[stage] * step)?);
            }
            let zero = y.iter().map(|y| Tensor::zeros(y.shape(), y.dtype(), &y.device())).collect::<Result<State>>()?;
            let error = self.norm(&advance(&zero, step, &E, &slopes)?, &y, &next)?;
            if error.is_nan() {
                let what = format!("the step at {t} of an adaptive solver");
                return Err(Error::NonFinite { what, found: "an error that is not a number".into() });
            }
            if error <= 1.0 {
                t = if last { end } else { t + step };
                y = next;
                done += 1;
                accepted(done, t, &y)?;
                if last {
                    return Ok(y);
                }
                first = slopes.swap_remove(6);
                let bounded = error.max(1e-10);
                h = step.abs() * (0.9 * bounded.powf(-0.14) * before.powf(0.08)).clamp(0.2, 10.0);
                before = bounded.max(1e-4);
            } else {
                h = step.abs() * (0.9 * error.powf(-0.2)).clamp(0.1, 1.0);
            }
        }
        let (steps, tolerance) = (self.max_steps, self.atol);
        Err(Error::argument(
            "rk45",
            format!("{steps} steps of tolerance {tolerance} came from {start} to {t} only, not to {end}"),
        ))
    }

    /// Hairer, Nørsett & Wanner I, section II.4, "starting step size".
    fn first_step(
        &self,
        f: &mut impl FnMut(&State, f64) -> Result<State>,
        y: &State,
        slope: &State,
        t: f64,
        end: f64,
    ) -> Result<f64> {
        let (d0, d1) = (self.norm(y, y, y)?, self.norm(slope, y, y)?);
        let h0 = if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 }.min((end - t).abs());
        let signed = h0 * (end - t).signum();
        let euler = advance(y, signed, &[1.0], std::slice::from_ref(slope))?;
        let there = f(&euler, t + signed)?;
        let change: State = there.iter().zip(slope).map(|(a, b)| axpy(a, -1.0, b)).collect::<Result<_>>()?;
        let d2 = self.norm(&change, y, y)? / h0;
        let h1 = if d1.max(d2) <= 1e-15 { (h0 * 1e-3).max(1e-6) } else { (0.01 / d1.max(d2)).powf(0.2) };
        Ok(h1.min(100.0 * h0))
    }

    /// `max_i sqrt(mean_j (e_ij / (atol + rtol max(|a_ij|, |b_ij|)))^2)` over samples i and all tensors.
    fn norm(&self, e: &State, a: &State, b: &State) -> Result<f64> {
        let mut largest = 0f64;
        for ((e, a), b) in e.iter().zip(a).zip(b) {
            let len = e.shape().iter().skip(1).product::<usize>().max(1);
            let (e, a, b) = (e.to_f64()?, a.to_f64()?, b.to_f64()?);
            for i in (0..e.len()).step_by(len) {
                let square = |j: usize| (e[j] / (self.atol + self.rtol * a[j].abs().max(b[j].abs()))).powi(2);
                let norm = ((i..i + len).map(square).sum::<f64>() / len as f64).sqrt();
                // Not `max`, which would pass over a NaN.
                largest = if norm > largest || norm.is_nan() { norm } else { largest };
                if largest.is_nan() {
                    return Ok(largest);
                }
            }
        }
        Ok(largest)
    }
}

/// `y + h sum_i c_i k_i`.
fn advance(y: &State, h: f64, c: &[f64], slopes: &[State]) -> Result<State> {
    let part = |(i, y): (usize, &Tensor)| {
        let used = c.iter().zip(slopes).filter(|(c, _)| **c != 0.0);
        used.map(|(c, k)| (c, &k[i])).try_fold(y.clone(), |y, (c, k)| axpy(&y, h * c, k))
    };
    y.iter().enumerate().map(part).collect()
}
