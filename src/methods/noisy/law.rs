//! The laws of noise, by their names in settings.

use crate::data::{ReadOptions, Standardise};
use crate::error::{Error, Result};

crate::choice! {
    /// The law of the noise.
    pub enum NoiseModel {
        /// Normal, added, of the level sigma.
        Gaussian = "gaussian",
        /// Photons through a detector: gain, offset and read_noise say it, and sigma is left out.
        Counts = "counts",
        /// Factors of mean 1, of log-normal law; sigma is the standard deviation of their logarithm.
        Multiplicative = "multiplicative",
        /// None, but images that are bad in another way; sigma is the level of noise from which on each is as good as
        /// a clean one.
        Merging = "merging",
    }
}

impl NoiseModel {
    /// How data are read whose noise is of this law. Errors on numbers that are to be standardised in a way of their
    /// own before a transform, after which they are standardised anyway.
    pub fn reading(self, options: ReadOptions) -> Result<ReadOptions> {
        let transforms = matches!(self, NoiseModel::Counts | NoiseModel::Multiplicative);
        match (self, options.standardise) {
            (_, asked @ (Standardise::All | Standardise::Channel)) if transforms => Err(Error::Config(format!(
                "data.standardise = \"{asked}\" (--standardise): with noisy.noise_model = \"{self}\" numbers are transformed, and standardised after that; leave it out"
            ))),
            (NoiseModel::Multiplicative, _) => Ok(options.exact()),
            _ => Ok(options),
        }
    }
}
