use serde::{Deserialize, Serialize};

use super::{Preconditioning, Scaling, check};
use crate::error::Result;

/// The preconditioning of improved DDPM: the network predicts the noise, and, in as many channels again, a variance
/// that is not used here. It knows the noise levels of a table only.
///
/// `c_skip = 1`, `c_out = -s`, `c_in = 1 / sqrt(s^2 + 1)`, `c_noise = M - 1 - argmin_j |u_j - s|`. The table is `u_M =
/// 0`, `u_{j-1} = sqrt((u_j^2 + 1) / max(a_{j-1} / a_j, C_1) - 1)`, `a_j = sin^2(pi j / (2 M (C_2 + 1)))` (Nichol &
/// Dhariwal 2021, arXiv 2102.09672, as in Karras et al. 2022).
///
/// With `betas` the table is that of the original DDPM instead: `u_{M-1-n}^2 = 1 / prod_{i<=n} (1 - beta_i) - 1`, the
/// `beta_i` evenly spread from the first to the last (Ho et al. 2020, arXiv 2006.11239).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IddpmPrecond {
    /// Least ratio of neighbouring `a_j`.
    #[serde(rename = "C_1")]
    pub c_1: f64,
    /// Keeps `a_M` from 1.
    #[serde(rename = "C_2")]
    pub c_2: f64,
    /// Time steps of the discrete process.
    #[serde(rename = "M")]
    pub m: usize,
    /// First and last `beta` of a linear schedule, in place of the cosine that `C_1` and `C_2` shape. Not an option of
    /// EDM's class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
}

impl Default for IddpmPrecond {
    fn default() -> Self {
        IddpmPrecond { c_1: 0.001, c_2: 0.008, m: 1000, betas: None }
    }
}

impl IddpmPrecond {
    /// The table of noise levels. Errors with the option that is out of range.
    ///
    /// It is made in f32, step by step: published models were trained with that table, whose least level differs in the
    /// fourth digit from the formula's.
    pub fn table(&self) -> Result<IddpmTable> {
        check("C_1", self.c_1, self.c_1 > 0.0 && self.c_1 <= 1.0, "above 0 and at most 1")?;
        check("C_2", self.c_2, (0.0..=1.0).contains(&self.c_2), "between 0 and 1")?;
        check("M", self.m as f64, (2..=1 << 16).contains(&self.m), "between 2 and 65536")?;
        if let Some(betas) = self.betas {
            return self.linear(betas);
        }
        let alpha_bar = |j: usize| {
            let phase = (0.5 * std::f64::consts::PI * j as f64) as f32 / self.m as f32 / (self.c_2 + 1.0) as f32;
            // The sine of an f32, rounded once.
            let sine = f64::from(phase).sin() as f32;
            sine * sine
        };
        let mut u = vec![0f32; self.m + 1];
        for j in (1..=self.m).rev() {
            let ratio = (alpha_bar(j - 1) / alpha_bar(j)).max(self.c_1 as f32);
            u[j - 1] = ((u[j] * u[j] + 1.0) / ratio - 1.0).max(0.0).sqrt();
        }
        Ok(IddpmTable { u })
    }

    /// The table of a linear schedule.
    fn linear(&self, [first, last]: [f64; 2]) -> Result<IddpmTable> {
        for beta in [first, last] {
            check("betas", beta, beta > 0.0 && beta < 1.0, "above 0 and below 1")?;
        }
        let (mut u, mut logarithm) = (vec![0f32], 0.0);
        for n in 0..self.m {
            // Minus the logarithm of the signal's share: the product itself loses digits where it is near 1.
            logarithm -= (-(first + (last - first) * n as f64 / (self.m - 1) as f64)).ln_1p();
            u.push(logarithm.exp_m1().sqrt() as f32);
        }
        check("betas", first.max(last), u.iter().all(|level| level.is_finite()), "smaller for so many steps")?;
        u.reverse();
        Ok(IddpmTable { u })
    }
}

/// The noise levels of [`IddpmPrecond`], from the largest to 0.
#[derive(Debug, Clone, PartialEq)]
pub struct IddpmTable {
    u: Vec<f32>,
}

impl IddpmTable {
    /// The index of the level next to `sigma`.
    pub fn index(&self, sigma: f64) -> usize {
        let distance = |level: f32| (f64::from(level) - sigma).abs();
        let closer = |best: usize, j: usize| if distance(self.u[j]) < distance(self.u[best]) { j } else { best };
        (0..self.u.len()).fold(0, closer)
    }
}

impl Preconditioning for IddpmTable {
    fn scaling(&self, sigma: f64) -> Scaling {
        Scaling {
            c_skip: 1.0,
            c_out: -sigma,
            c_in: 1.0 / sigma.hypot(1.0),
            c_noise: self.u.len() as f64 - 2.0 - self.index(sigma) as f64,
        }
    }

    fn sigma_range(&self) -> (f64, f64) {
        (f64::from(self.u[self.u.len() - 2]), f64::from(self.u[0]))
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        f64::from(self.u[self.index(sigma)])
    }

    fn outputs(&self, channels: usize) -> usize {
        2 * channels
    }

    fn table(&self) -> Option<&[f32]> {
        Some(&self.u)
    }
}
