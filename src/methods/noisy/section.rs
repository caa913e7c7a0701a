//! Clean and noisy images as settings say them.

use super::{Known, KnownDetector, NoiseModel, NoisyData, Sigma};
use crate::data::{self, DataSet, ReadOptions};
use crate::error::{Error, Result};
use crate::settings::{AboveUpTo, MAX_SEED};
use crate::tensor::Device;
use crate::train::RunConfig;

crate::settings! {
    /// Clean and noisy images. The clean ones come from data.path.
    pub struct NoisySection {
        /// Images that have noise already (.npy and .npz hold values beyond \[-1, 1\]); empty: it is put on images of
        /// data.path.
        path: String = String::new();
        /// Standard deviation of the noise, of bytes for pixels in \[-1, 1\], of all else in the units of the data: a
        /// number, auto (it is estimated), or a file with one for each image (.npy, or a line each) or each pixel
        /// (.npy).
        sigma: Sigma = Sigma::Number(0.59);
        /// The law of the noise that images have already.
        noise_model: NoiseModel = NoiseModel::Gaussian;
        /// Of counts: numbers for each photon, or auto (it is estimated).
        gain: Known = Known::Auto;
        /// Of counts: the number that stands for no photons (pedestal, bias), or auto.
        offset: Known = Known::Auto;
        /// Of counts: the standard deviation of the read-out's noise, in the units of the data, or auto.
        read_noise: Known = Known::Auto;
        /// Without a path: share of the images of data.path that stay clean.
        clean_share: f64 = 0.1, in AboveUpTo(0.0, 1.0);
        /// The seed of the split and of the noise, one draw for each image: the same whatever train.seed is.
        seed: u64 = 0, in 0..=MAX_SEED;
    }
}

impl NoisySection {
    /// Errors on a number that is no noise level, and on settings of a law of the noise that is not that of
    /// `noise_model`.
    pub fn check(&self) -> Result<()> {
        let of_counts = [("gain", self.gain), ("offset", self.offset), ("read_noise", self.read_noise)];
        let law = self.noise_model;
        match (of_counts.into_iter().find(|(_, value)| *value != Known::Auto), &self.sigma) {
            (Some((key, value)), _) if law != NoiseModel::Counts => Err(Error::Config(format!(
                "noisy.{key} = {value} is of counts, and noisy.noise_model = \"{law}\": set that to \"counts\" (--noise-model counts)"
            ))),
            (_, Sigma::Number(sigma)) if law != NoiseModel::Counts && !(sigma.is_finite() && *sigma > 0.0) => {
                Err(Error::Config(format!("noisy.sigma = {sigma:?}, expected above 0, auto, or a file")))
            }
            _ if law != NoiseModel::Gaussian && self.path.is_empty() => Err(Error::Config(format!(
                "noisy.noise_model = \"{law}\", but there are no noisy images (noisy.path, --noisy): noise that is made here is gaussian"
            ))),
            _ => self.known().check(),
        }
    }

    /// What is known of the detector, of counts.
    pub fn known(&self) -> KnownDetector {
        let (gain, offset, read_noise) = (self.gain.number(), self.offset.number(), self.read_noise.number());
        KnownDetector { gain, offset, read_noise }
    }

    /// Data with the noise that these settings say; `device` is where merging levels are found.
    fn given(&self, clean: Option<DataSet>, noisy: DataSet, device: &str) -> Result<NoisyData> {
        match self.noise_model {
            NoiseModel::Gaussian => NoisyData::given(clean, noisy, &self.sigma),
            NoiseModel::Counts => NoisyData::counts(clean, noisy, &self.known()),
            NoiseModel::Multiplicative => NoisyData::multiplicative(clean, noisy, &self.sigma),
            NoiseModel::Merging => NoisyData::merged(clean, noisy, &self.sigma, self.seed, &Device::named(device)?),
        }
    }

    /// Opens the data. Errors where [`data::open`] does, and if clean and noisy images differ in size or there are
    /// none.
    ///
    /// `opened` is what was opened of it before: the clean images, or the noisy ones where there are no clean ones.
    pub fn open(&self, run: &RunConfig, opened: Option<DataSet>) -> Result<NoisyData> {
        self.open_by(run, opened, &|path, options| data::open_with(path, options))
    }

    /// As [`open`](Self::open), of sets that `read` has by what data.path and noisy.path call them: a program's own.
    pub fn open_by(
        &self,
        run: &RunConfig,
        opened: Option<DataSet>,
        read: &dyn Fn(&str, &ReadOptions) -> Result<DataSet>,
    ) -> Result<NoisyData> {
        let (options, clean, device) = (run.data.options()?, run.data.path.as_str(), run.train.device.as_str());
        let options = self.noise_model.reading(options)?;
        let noisy = ReadOptions { noisy: self.noise_model != NoiseModel::Merging, ..options.clone() };
        let first = |path: &str, options: &ReadOptions| match opened {
            Some(set) if set.name == path => Ok(set),
            _ => read(path, options),
        };
        self.check()?;
        match (clean.is_empty(), self.path.is_empty(), &self.sigma) {
            (true, true, _) => Err(Error::Config("no data: say where clean images are with --data PATH".into())),
            (true, false, _) => self.given(None, first(&self.path, &noisy)?, device),
            (false, true, Sigma::Number(sigma)) => {
                NoisyData::simulated(first(clean, &options)?, self.clean_share, *sigma, self.seed)
            }
            (false, true, sigma) => Err(Error::Config(format!(
                "noisy.sigma = \"{sigma}\", but there are no noisy images (noisy.path): noise that is made here has the level of a number"
            ))),
            (false, false, _) => {
                let clean = first(clean, &options)?;
                let noisy = noisy.beside(clean.train.size()).beside_columns(clean.train.columns());
                let noisy = match self.noise_model {
                    NoiseModel::Gaussian | NoiseModel::Merging => noisy.in_units(clean.train.units()),
                    // Both are transformed from the numbers of their files.
                    _ => noisy,
                };
                let noisy = read(&self.path, &noisy)?;
                self.given(Some(clean), noisy, device)
            }
        }
    }
}
