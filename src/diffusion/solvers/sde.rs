//! The forward processes of Song et al. 2021 (arXiv 2011.13456) by which noise is added.

use super::Schedule;

/// A forward process. Samples are handed around unscaled, `x = y + sigma n`, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sde {
    /// Variance preserving: `dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw` with `beta(t) = beta_min + beta_d t` (equation
    /// 11), for `x / sqrt(1 + sigma^2)`.
    Vp {
        /// Slope of beta(t).
        beta_d: f64,
        /// beta(0).
        beta_min: f64,
    },
    /// Variance exploding: `dx = sqrt(d sigma^2 / dt) dw` (equation 9), with sigma exponential in time.
    Ve,
}

impl Sde {
    /// VP with the paper's beta from 0.1 to 20.
    pub const VP: Sde = Sde::Vp { beta_d: 19.9, beta_min: 0.1 };

    /// `beta(t) (t_a - t_b)` of a step of the VP process.
    pub(super) fn beta_step(beta_d: f64, beta_min: f64, a: f64, b: f64) -> f64 {
        let schedule = Schedule::Vp { beta_d, beta_min };
        let (t, next) = (schedule.time(a), schedule.time(b));
        (beta_min + beta_d * t) * (t - next)
    }

    /// `alpha = 1 - beta` of a step: the share of the variance that the forward step from `b` to `a` keeps; 1 for VE.
    pub(super) fn alpha(&self, a: f64, b: f64) -> f64 {
        match self {
            Sde::Vp { .. } => (1.0 + b * b) / (1.0 + a * a),
            Sde::Ve => 1.0,
        }
    }
}

impl Default for Sde {
    fn default() -> Self {
        Sde::VP
    }
}

/// The update `x' = on_x x + on_score score + deviation z` of unscaled samples.
pub(super) struct Update {
    pub on_x: f64,
    pub on_score: f64,
    pub deviation: f64,
}

impl Update {
    /// The same update where it is meant for samples scaled by `1 / sqrt(1 + sigma^2)`, before and after.
    pub fn unscaled(self, a: f64, b: f64) -> Self {
        let (s_a, s_b) = (1.0 / a.hypot(1.0), 1.0 / b.hypot(1.0));
        // The score of the scaled samples is the unscaled one over s_a.
        Update { on_x: self.on_x * s_a / s_b, on_score: self.on_score / (s_a * s_b), deviation: self.deviation / s_b }
    }
}
