//! How far digits are from those that nothing was trained on.

use veridical::data::{Digits, Images};
use veridical::{Result, metrics};

/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 512;
/// Its seed: fixed, so that the distances of all runs compare.
const DIRECTIONS_SEED: u64 = 0;

/// Distances of a set of images to the held-out digits.
#[derive(Clone, Copy)]
pub struct Distance {
    pub kid: f64,
    pub swd: f64,
}

impl Distance {
    /// KID with raw pixels as features, and the sliced 2-Wasserstein distance per pixel.
    pub fn to_held_out(pixels: &[f32], held_out: &Images) -> Result<Self> {
        let dims = held_out.values();
        let kid = metrics::kid(pixels, &held_out.pixels()?, dims)?;
        let swd = metrics::sliced_wasserstein(pixels, &held_out.pixels()?, dims, DIRECTIONS, 2.0, DIRECTIONS_SEED)?;
        Ok(Distance { kid, swd })
    }

    /// What real digits score: as many of the training set, `per_class` of each.
    pub fn of_real(data: &Digits, per_class: usize) -> Result<Self> {
        let picks: Vec<u32> =
            (0..data.train.classes() as u32).flat_map(|c| data.train.of_class(c).into_iter().take(per_class)).collect();
        Self::to_held_out(&data.train.gather(&picks)?.0, &data.held_out)
    }
}
