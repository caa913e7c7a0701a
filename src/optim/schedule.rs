//! Learning rates over the course of a run, counted in images so that they do not depend on the batch size.

use serde::{Deserialize, Serialize};

/// A linear warm-up, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Images over which the rate grows from 0; 0: no warm-up.
    pub warm_up: u64,
    /// What happens from then on.
    pub decay: Decay,
}

/// How the rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Decay {
    /// Not at all.
    #[default]
    Constant,
    /// As `1 / sqrt(images / reference)` from `reference` images on (Karras et al. 2023, arXiv 2312.02696, equation
    /// 67).
    InverseSqrt {
        /// Images after which the fall begins.
        reference: u64,
    },
    /// Along half a cosine, to 0 at `total` images (Loshchilov & Hutter 2016, arXiv 1608.03983, without restarts).
    Cosine {
        /// Images of the whole run, warm-up included.
        total: u64,
    },
}

impl Schedule {
    /// A warm-up over so many images, then a constant rate (Karras et al. 2022: 10 million).
    pub fn warm_up(images: u64) -> Self {
        Schedule { warm_up: images, decay: Decay::Constant }
    }

    /// By what the learning rate is multiplied after `images` images.
    pub fn factor(&self, images: u64) -> f64 {
        let seen = images as f64;
        let rise = if images >= self.warm_up { 1.0 } else { seen / self.warm_up as f64 };
        let fall = match self.decay {
            Decay::Constant => 1.0,
            Decay::InverseSqrt { reference } => (seen / (reference.max(1) as f64)).max(1.0).sqrt().recip(),
            Decay::Cosine { total } => {
                let length = total.saturating_sub(self.warm_up).max(1) as f64;
                let done = images.saturating_sub(self.warm_up) as f64 / length;
                0.5 + 0.5 * (std::f64::consts::PI * done.min(1.0)).cos()
            }
        };
        rise * fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_is_linear() {
        let schedule = Schedule::warm_up(1000);
        assert_eq!([0, 250, 1000, 5000].map(|images| schedule.factor(images)), [0.0, 0.25, 1.0, 1.0]);
        assert_eq!(Schedule::default().factor(0), 1.0);
    }

    #[test]
    fn the_falls_have_their_closed_forms() {
        let inverse = Schedule { warm_up: 100, decay: Decay::InverseSqrt { reference: 400 } };
        assert_eq!([50, 400, 1600, 40_000].map(|images| inverse.factor(images)), [0.5, 1.0, 0.5, 0.1]);
        let cosine = Schedule { warm_up: 100, decay: Decay::Cosine { total: 500 } };
        assert_eq!(cosine.factor(100), 1.0);
        assert!((cosine.factor(300) - 0.5).abs() < 1e-12 && cosine.factor(500) < 1e-12 && cosine.factor(9000) < 1e-12);
    }
}
