//! EDM's augmentation of training images: flips and a random affine map, of which the network is told, so that its
//! samples show nothing of them (Karras et al. 2022, arXiv 2206.00364, appendix F.2; after Karras et al. 2020, arXiv
//! 2006.06676).
//!
//! One affine map per image, carried out between wavelet filters so that nothing aliases. On the host, in parallel over
//! the samples; what happens to a sample is a pure function of seed, step and sample.

mod flip;
mod resample;
mod transform;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::random::Distribution;
use crate::ops::{self, random::Draws};
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device};

pub use flip::flip;
pub use resample::Planes;
pub use transform::{Choices, Matrix, Transform};

/// Which operations there are, how likely and how strong. A multiplier of 0 leaves an operation out, and its label with
/// it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AugmentPipe {
    /// Probability of each operation, times its multiplier.
    pub p: f64,
    /// Multiplier of horizontal flips (a fair coin is thrown besides).
    pub xflip: f64,
    /// Multiplier of vertical flips (a fair coin is thrown besides).
    pub yflip: f64,
    /// Multiplier of scaling by `2^(0.2 z)`.
    pub scale: f64,
    /// Multiplier of rotation by an angle between -pi and pi.
    pub rotate_frac: f64,
    /// Multiplier of stretching by `2^(0.2 z)` along an axis that is turned by a random angle every other time.
    pub aniso: f64,
    /// Multiplier of shifts by `0.125 z` of width and height.
    pub translate_frac: f64,
}

impl AugmentPipe {
    /// EDM's settings: horizontal flips always, everything else with probability `p` (0.12 for CIFAR-10, 0.15 for
    /// 64x64).
    pub fn edm(p: f64) -> Self {
        AugmentPipe { p, xflip: 1e8, yflip: 1.0, scale: 1.0, rotate_frac: 1.0, aniso: 1.0, translate_frac: 1.0 }
    }

    /// Errors unless the probability is in `[0, 1]` and no multiplier is negative.
    pub fn check(&self) -> Result<()> {
        let multipliers = [self.xflip, self.yflip, self.scale, self.rotate_frac, self.aniso, self.translate_frac];
        if !(0.0..=1.0).contains(&self.p) || !multipliers.iter().all(|m| *m >= 0.0) {
            let what = format!("augmentation needs p in [0, 1] and multipliers that are not negative, got {self:?}");
            return Err(Error::Config(what));
        }
        Ok(())
    }

    /// Numbers in a label: flips and scale one each, rotation, stretching and shifts two each; 9 with everything on.
    pub fn labels(&self) -> usize {
        let ones = [self.xflip, self.yflip, self.scale];
        let twos = [self.rotate_frac, self.aniso, self.translate_frac];
        let on = |multipliers: &[f64]| multipliers.iter().filter(|m| **m > 0.0).count();
        on(&ones) + 2 * on(&twos)
    }

    /// Augments samples `first` and following of a training step: images `[n, height, width, channels]` in place.
    /// Returns the labels `[n, labels]`.
    ///
    /// Errors on settings out of range and if `images` does not hold whole images.
    pub fn apply(
        &self,
        images: &mut [f32],
        [height, width, channels]: [usize; 3],
        (seed, step): (u64, u32),
        first: u32,
    ) -> Result<Vec<f32>> {
        self.check()?;
        let values = height * width * channels;
        if values == 0 || !images.len().is_multiple_of(values) {
            let got = format!("{} values", images.len());
            return Err(Error::shape("augment", format!("images of {height} x {width} x {channels}"), got));
        }
        let n = images.len() / values;
        let key = RandomKey::new(seed, Purpose::Augmentation).at_step(step);
        let numbers = |distribution, site, each| -> Result<Vec<f64>> {
            let draws = Draws::from_sample(key.at_site(site), first);
            ops::random::random(distribution, [n, each], DType::F64, &draws, &Device::Cpu)?.to_f64()
        };
        let uniform = numbers(Distribution::Uniform, 0, UNIFORM)?;
        let normal = numbers(Distribution::Normal, 1, NORMAL)?;
        let samples = images.par_chunks_mut(values).zip(uniform.par_chunks(UNIFORM)).zip(normal.par_chunks(NORMAL));
        let labels: Vec<Vec<f32>> = samples
            .map(|((image, u), z)| {
                let transform = self.transform(&choices(u, z), width, height);
                let planes = Planes::of_nhwc(image, [height, width, channels]);
                planes.transformed(&transform, transform.margins(width, height)).write_nhwc(image);
                transform.labels.iter().map(|&label| label as f32).collect()
            })
            .collect();
        Ok(labels.concat())
    }
}

/// Numbers that a sample draws.
const UNIFORM: usize = 11;
const NORMAL: usize = 4;

fn choices(u: &[f64], z: &[f64]) -> Choices {
    Choices {
        xflip: (u[0] < 0.5, u[1]),
        yflip: (u[2] < 0.5, u[3]),
        scale: (z[0], u[4]),
        rotate: (u[5], u[6]),
        aniso: (z[1], u[7]),
        aniso_frame: (u[8], u[9]),
        translate: ([z[2], z[3]], u[10]),
    }
}
