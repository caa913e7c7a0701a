//! EDM's generalised sampler: any noise schedule sigma(t) and scaling s(t), Euler or a second-order step (Karras et al.
//! 2022, appendix C.3 and algorithm 3 for the deterministic step; churn as in algorithm 2).
//!
//! The ODE of the scaled samples `s(t) x` is `dx/dt = (sigma'/sigma + s'/s) x - (sigma' s / sigma) D(x / s; sigma)`
//! (equation 81). What comes in, goes out and is shown to the observer is unscaled, as with every other solver.

use super::run::{axpy, combine};
use super::{Churn, PathUse, Run, Solver};
use crate::diffusion::sigmas::vp_sigma;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The noise level as a function of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Schedule {
    /// `sqrt(e^(beta_d t^2 / 2 + beta_min t) - 1)`.
    Vp {
        /// Slope of beta(t).
        beta_d: f64,
        /// beta(0).
        beta_min: f64,
    },
    /// `sqrt(t)`.
    Ve,
    /// `t`.
    #[default]
    Linear,
}

impl Schedule {
    /// sigma(t).
    pub fn sigma(&self, t: f64) -> f64 {
        match *self {
            Schedule::Vp { beta_d, beta_min } => vp_sigma(t, beta_d, beta_min).max(0.0),
            Schedule::Ve => t.sqrt(),
            Schedule::Linear => t,
        }
    }

    /// The time at which the noise level is `sigma`.
    pub fn time(&self, sigma: f64) -> f64 {
        match *self {
            _ if sigma == 0.0 => 0.0,
            Schedule::Vp { beta_d, beta_min } => {
                let log = (sigma * sigma).ln_1p();
                // 2 log / (beta_min + root) is (root - beta_min) / beta_d without its cancellation.
                2.0 * log / (beta_min + (beta_min * beta_min + 2.0 * beta_d * log).sqrt())
            }
            Schedule::Ve => sigma * sigma,
            Schedule::Linear => sigma,
        }
    }

    /// dsigma/dt.
    fn slope(&self, t: f64) -> f64 {
        match *self {
            Schedule::Vp { beta_d, beta_min } => {
                let sigma = self.sigma(t);
                0.5 * (beta_d * t + beta_min) * (sigma + 1.0 / sigma)
            }
            Schedule::Ve => 0.5 / t.sqrt(),
            Schedule::Linear => 1.0,
        }
    }
}

/// The scale of the samples as a function of their noise level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SampleScale {
    /// `1 / sqrt(1 + sigma^2)`.
    Vp,
    /// 1.
    #[default]
    None,
}

impl SampleScale {
    /// s(sigma).
    pub fn at(&self, sigma: f64) -> f64 {
        match self {
            SampleScale::Vp => 1.0 / (1.0 + sigma * sigma).sqrt(),
            SampleScale::None => 1.0,
        }
    }

    /// `s' / s` for a noise level that changes at the rate `slope`.
    fn relative_slope(&self, sigma: f64, slope: f64) -> f64 {
        match self {
            SampleScale::Vp => -sigma * slope / (1.0 + sigma * sigma),
            SampleScale::None => 0.0,
        }
    }
}

/// The sampler. The default is [`Heun`](super::Heun).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdmGeneral {
    /// sigma(t).
    pub schedule: Schedule,
    /// s(t).
    pub scaling: SampleScale,
    /// Where the second call of a second-order step lies: 1 Heun, 1/2 midpoint, 2/3 Ralston. `None`: Euler steps.
    pub alpha: Option<f64>,
    /// Noise before each step.
    pub churn: Churn,
}

impl Default for EdmGeneral {
    fn default() -> Self {
        EdmGeneral { schedule: Schedule::Linear, scaling: SampleScale::None, alpha: Some(1.0), churn: Churn::default() }
    }
}

impl EdmGeneral {
    /// dx/dt of the scaled samples.
    fn slope(&self, run: &mut Run, x: &Tensor, t: f64) -> Result<Tensor> {
        let sigma = self.schedule.sigma(t);
        let (rate, s) = (self.schedule.slope(t), self.scaling.at(sigma));
        let unscaled = if s == 1.0 { x.clone() } else { combine(&[(1.0 / s, x)])? };
        let denoised = run.denoise(&unscaled, sigma)?;
        let f = rate / sigma + self.scaling.relative_slope(sigma, rate);
        combine(&[(f, x), (-rate * s / sigma, &denoised)])
    }

    fn step(&self, run: &mut Run, x: &Tensor, t: f64, next: f64) -> Result<Tensor> {
        let k = next - t;
        let d = self.slope(run, x, t)?;
        let Some(alpha) = self.alpha.filter(|_| next > 0.0) else { return axpy(x, k, &d) };
        let middle = axpy(x, alpha * k, &d)?;
        let d_middle = self.slope(run, &middle, t + alpha * k)?;
        axpy(&axpy(x, k * (1.0 - 0.5 / alpha), &d)?, k * 0.5 / alpha, &d_middle)
    }
}

impl Solver for EdmGeneral {
    fn solve(&self, run: &mut Run, x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
        self.churn.check()?;
        if let Some(alpha) = self.alpha.filter(|alpha| !(*alpha > 0.0 && *alpha <= 1.0)) {
            return Err(Error::Config(format!("edm-general needs 0 < alpha <= 1, got {alpha}")));
        }
        let times: Vec<f64> = sigmas.iter().map(|&sigma| self.schedule.time(sigma)).collect();
        if !times.windows(2).all(|pair| pair[0] > pair[1]) {
            let what = format!("{:?} has no time for the noise levels {sigmas:?}", self.schedule);
            return Err(Error::argument("edm-general", what));
        }
        let steps = sigmas.len() - 1;
        run.steps(x, sigmas, |run, i, x, a, b| {
            let (x_hat, sigma_hat) = self.churn.apply(run, x, a, steps)?;
            let t_hat = if sigma_hat == a { times[i] } else { self.schedule.time(sigma_hat) };
            let (s_hat, s_next) = (self.scaling.at(sigma_hat), self.scaling.at(b));
            if s_hat == 1.0 && s_next == 1.0 {
                return self.step(run, &x_hat, t_hat, times[i + 1]);
            }
            let y = self.step(run, &combine(&[(s_hat, &x_hat)])?, t_hat, times[i + 1])?;
            combine(&[(1.0 / s_next, &y)])
        })
    }

    fn path_use(&self) -> PathUse {
        self.churn.path_use()
    }
}
