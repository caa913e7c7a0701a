//! Clean images beside noisy ones: what the methods for noisy data learn from.

mod counts;
mod estimate;
mod levels;
mod sigma;

pub use counts::{CountNoise, count_noise};
pub use estimate::{Estimate, estimate};
pub use levels::NoiseLevels;
pub use sigma::Sigma;

use crate::data::{self, DataSet, Images, ReadOptions, Reading, Units};
use crate::error::{Error, Result};
use crate::random::{self, Purpose, RandomKey, Samples, permutation};
use crate::settings::{AboveUpTo, MAX_SEED};
use crate::train::RunConfig;
use crate::train::config::Data;

/// A clean set, a noisy set `y = x + sigma n` with known sigma, and what there is to judge by.
#[derive(Debug, Clone)]
pub struct NoisyData {
    /// What it was made from, for titles.
    pub name: String,
    /// Images without noise.
    pub clean: Option<Images>,
    /// Images with noise of these `levels`, in f32; their values leave [-1, 1].
    pub noisy: Option<Images>,
    /// Standard deviations of the noise, as a model sees them: of pixels in [-1, 1], or of standardised numbers.
    pub levels: NoiseLevels,
    /// The noisy images without their noise, where the noise was made here. Nothing is trained on them but the ceiling.
    pub originals: Option<Images>,
    /// Images that nothing is trained on.
    pub test: Option<Images>,
    /// Names of the classes where the set has any.
    pub class_names: Vec<String>,
    /// What was read, as [`DataSet::account`] says it of each set.
    pub accounts: Vec<String>,
}

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
        /// Without a path: share of the images of data.path that stay clean.
        clean_share: f64 = 0.1, in AboveUpTo(0.0, 1.0);
        /// The seed of the split and of the noise, one draw for each image: the same whatever train.seed is.
        seed: u64 = 0, in 0..=MAX_SEED;
    }
}

impl NoisySection {
    /// Errors on a number that is no noise level.
    pub fn check(&self) -> Result<()> {
        match self.sigma {
            Sigma::Number(sigma) if !(sigma.is_finite() && sigma > 0.0) => {
                Err(Error::Config(format!("noisy.sigma = {sigma:?}, expected above 0, auto, or a file")))
            }
            _ => Ok(()),
        }
    }

    /// Opens the data. Errors where [`data::open`] does, and if clean and noisy images differ in size or there are
    /// none.
    ///
    /// `opened` is what was opened of it before: the clean images, or the noisy ones where there are no clean ones.
    pub fn open(&self, data: &Data, opened: Option<DataSet>) -> Result<NoisyData> {
        let (options, clean) = (data.options()?, data.path.as_str());
        let noisy = ReadOptions { noisy: true, ..options.clone() };
        let first = |path: &str, options: &ReadOptions| match opened {
            Some(set) if set.name == path => Ok(set),
            _ => data::open_with(path, options),
        };
        self.check()?;
        match (clean.is_empty(), self.path.is_empty(), &self.sigma) {
            (true, true, _) => Err(Error::Config("no data: say where clean images are with --data PATH".into())),
            (true, false, sigma) => NoisyData::given(None, first(&self.path, &noisy)?, sigma),
            (false, true, Sigma::Number(sigma)) => {
                NoisyData::simulated(first(clean, &options)?, self.clean_share, *sigma, self.seed)
            }
            (false, true, sigma) => Err(Error::Config(format!(
                "noisy.sigma = \"{sigma}\", but there are no noisy images (noisy.path): noise that is made here has the level of a number"
            ))),
            (false, false, sigma) => {
                let clean = first(clean, &options)?;
                let noisy =
                    data::open_with(&self.path, &noisy.in_units(clean.train.units()).beside(clean.train.size()))?;
                NoisyData::given(Some(clean), noisy, sigma)
            }
        }
    }
}

impl NoisyData {
    /// Keeps a share of a data set's images clean, chosen at random, and puts noise on the others. Split and noise are
    /// a pure function of `seed` and an image's index. Errors if the share leaves no clean image.
    pub fn simulated(set: DataSet, clean_share: f64, sigma: f64, seed: u64) -> Result<Self> {
        let (count, accounts) = (set.train.len(), vec![set.account()]);
        let levels = levels::in_model(sigma, set.train.units());
        let sigma = levels.pooled();
        let kept = (clean_share * count as f64).round() as usize;
        if kept == 0 {
            let what = format!("noisy.clean_share = {clean_share} of {count} images leaves no clean image; give more");
            return Err(Error::Config(what));
        }
        let length = u32::try_from(count).map_err(|_| Error::Config(format!("{count} images; at most 2^32 - 1")))?;
        let order = permutation(&RandomKey::new(seed, Purpose::Split).stream()?, length);
        // In random order: sets often come sorted by class, and the first of the noisy ones are those that pictures
        // show.
        let (clean, rest) = order.split_at(kept.min(count));
        let (noisy, originals) = match rest.is_empty() {
            true => (None, None),
            false => {
                let originals = subset(&set.train, rest)?;
                (Some(corrupted(&originals, rest, sigma, seed)?), Some(originals))
            }
        };
        let clean = Some(subset(&set.train, clean)?);
        let (name, test, class_names) = (set.name, set.test, set.class_names);
        Ok(NoisyData { name, clean, noisy, levels, originals, test, class_names, accounts })
    }

    /// A clean set and images that have their noise already, of a level in the units of the data. Errors if they differ
    /// in size or in units, and where a level is wanting.
    pub fn given(clean: Option<DataSet>, noisy: DataSet, sigma: &Sigma) -> Result<Self> {
        let same = clean.as_ref().is_none_or(|clean| clean.train.size() == noisy.train.size());
        if let (Some(clean), false) = (&clean, same) {
            let (a, b) = (clean.train.size(), noisy.train.size());
            return Err(Error::Config(format!(
                "the clean images of {} are {a:?} (height, width, channels), the noisy ones of {} {b:?}; crop or resize one",
                clean.name, noisy.name
            )));
        }
        let mut accounts: Vec<String> = clean.iter().chain([&noisy]).map(DataSet::account).collect();
        let units = noisy.train.units();
        if units.are_of_channels() {
            accounts.push(
                "noise levels are in standard deviations of each column, for columns have scales of their own".into(),
            );
        }
        if let Some(clean) = clean.as_ref().filter(|clean| clean.train.units() != units)
            && !(clean.train.units().is_unit_size() && units.is_unit_size())
        {
            return Err(Error::Config(format!(
                "the numbers of {} are {}, those of {} {units}: store both alike",
                clean.name,
                clean.train.units(),
                noisy.name
            )));
        }
        let (levels, train) = match sigma {
            Sigma::Number(sigma) if !(sigma.is_finite() && *sigma > 0.0) => {
                return Err(Error::Config(format!("a noise level of {sigma}, expected above 0, auto, or a file")));
            }
            Sigma::Number(sigma) => (levels::in_model(*sigma, units), noisy.train),
            Sigma::File(path) => {
                let (levels, train, said) = levels::of_file(path, noisy.train)?;
                accounts.extend(said);
                (levels, train)
            }
            Sigma::Auto => {
                let found = estimate(&noisy.train, clean.as_ref().map(|clean| &clean.train))?;
                accounts.push(found.said(units.of_noise()));
                (NoiseLevels::One(found.sigma), noisy.train)
            }
        };
        let name = noisy.name;
        let (clean, test, class_names) = match clean {
            None => (None, noisy.test, noisy.class_names),
            Some(clean) => (Some(clean.train), clean.test, clean.class_names),
        };
        Ok(NoisyData { name, clean, noisy: Some(train), levels, originals: None, test, class_names, accounts })
    }

    /// The clean images. Errors if there are none.
    pub fn clean(&self) -> Result<&Images> {
        self.clean.as_ref().ok_or_else(|| {
            Error::Config("there are no clean images: this method starts from some; name them with --data PATH".into())
        })
    }

    /// The noisy images. Errors if there are none.
    pub fn noisy(&self) -> Result<&Images> {
        self.noisy.as_ref().ok_or_else(|| {
            Error::Config("there are no noisy images: give noisy.path, or a noisy.clean_share below 1".into())
        })
    }

    /// Clean images and originals together: what the ceiling is trained on. Errors unless the noise was made here.
    pub fn all_clean(&self) -> Result<Images> {
        match (&self.clean, &self.originals) {
            (Some(clean), Some(originals)) => joined(&[clean, originals]),
            (Some(clean), None) if self.noisy.is_none() => Ok(clean.clone()),
            _ => Err(Error::Config("all-clean training needs the noisy images' originals, which nobody has".into())),
        }
    }

    /// A data set of these training images, with the names and test images of this one.
    pub fn set(&self, train: Images) -> DataSet {
        let (name, test, class_names) = (self.name.clone(), self.test.clone(), self.class_names.clone());
        DataSet { name, train, test, class_names, reading: Reading::default() }
    }

    /// The noise level that the noisy images seem to have: noise adds its variance to that of the images' finest
    /// detail, which the clean ones show. `None` without both kinds of images, or if the noisy ones vary less.
    pub fn measured_sigma(&self) -> Option<f64> {
        let (clean, noisy) = (self.clean.as_ref()?, self.noisy.as_ref()?);
        estimate(noisy, Some(clean)).ok().map(|found| found.sigma)
    }

    /// Errors unless the noise lies between the levels that the samplers know.
    pub fn check(&self, run: &RunConfig) -> Result<()> {
        let (low, high) = (run.sampling.sigma_min, run.sampling.sigma_max);
        let [least, most] = self.levels.range();
        if least <= low || most >= high {
            let unit = self.unit();
            let (stated, low, high) = (self.levels.said(unit), low * unit, high * unit);
            let scaled = if unit == 1.0 { String::new() } else { format!(" in units of {unit}") };
            return Err(Error::Config(format!(
                "noisy.sigma = {stated}: it must lie between sampling.sigma_min = {low} and sampling.sigma_max = {high}{scaled}"
            )));
        }
        Ok(())
    }

    /// What a noise level of a model is multiplied by to have it in the units of the data.
    pub fn unit(&self) -> f64 {
        let images = self.noisy.as_ref().or(self.clean.as_ref());
        images.map_or(1.0, |images| images.units().of_noise())
    }

    /// What is suspicious about the stated noise level, for a person to read.
    pub fn warning(&self) -> Option<String> {
        self.noisy.as_ref().zip(self.clean.as_ref())?;
        let stated = self.levels.pooled() * self.unit();
        match self.measured_sigma().map(|sigma| sigma * self.unit()) {
            Some(measured) if (measured / stated).ln().abs() < 0.2 => None,
            Some(measured) => Some(format!(
                "warning: noisy.sigma is {stated}, but beside the clean images the noisy ones look like noise of about {measured:.3}"
            )),
            None => Some(format!(
                "warning: noisy.sigma is {stated}, but the noisy images have no more fine detail than the clean ones"
            )),
        }
    }
}

/// `x + sigma n`, where image `i` gets the noise of sample `indices[i]` of the seed: one draw for good.
fn corrupted(images: &Images, indices: &[u32], sigma: f64, seed: u64) -> Result<Images> {
    let values = images.values();
    let mut noise = vec![0f32; images.len() * values];
    let stream = RandomKey::new(seed, Purpose::Corruption).stream()?;
    random::fill(random::Normal, &stream, Samples::Ids(indices), values, &mut noise)?;
    let pixels = images.pixels()?.iter().zip(&noise).map(|(x, n)| x + sigma as f32 * n).collect();
    images.with_pixels(pixels, images.labels().to_vec())
}

/// The images at `indices`, as a set.
pub(super) fn subset(images: &Images, indices: &[u32]) -> Result<Images> {
    let (pixels, labels) = images.gather(indices)?;
    images.with_pixels(pixels, labels)
}

/// Sets one after the other, in f32.
pub(super) fn joined(sets: &[&Images]) -> Result<Images> {
    let mut pixels = Vec::new();
    for set in sets {
        pixels.extend_from_slice(&set.pixels()?);
    }
    let labels = sets.iter().flat_map(|set| set.labels().to_vec()).collect();
    let classes = sets.iter().map(|set| set.classes()).max().unwrap_or(1);
    let (size, units) = sets.first().map_or(([1; 3], Units::plain()), |set| (set.size(), set.units().clone()));
    Images::new(pixels, labels, size, classes)?.with_units(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits() -> DataSet {
        data::open("digits").unwrap()
    }

    #[test]
    fn the_noise_of_an_image_is_its_own_for_good() {
        let (few, many) = (
            NoisyData::simulated(digits(), 0.04, 0.5, 3).unwrap(),
            NoisyData::simulated(digits(), 0.5, 0.5, 3).unwrap(),
        );
        assert_eq!((few.clean().unwrap().len(), few.noisy().unwrap().len()), (60, 1440));
        // An image that is noisy in both splits has the same noise in both.
        let found = |data: &NoisyData| -> Vec<(Vec<u32>, Vec<u32>)> {
            let (truth, noisy) = (data.originals.as_ref().unwrap(), data.noisy().unwrap());
            let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            truth
                .pixels()
                .unwrap()
                .chunks(64)
                .zip(noisy.pixels().unwrap().chunks(64))
                .map(|(a, b)| (bits(a), bits(b)))
                .collect()
        };
        let many = found(&many);
        let few = found(&few);
        assert!(many.iter().all(|pair| few.contains(pair)), "the split with more clean images changed the noise");
        assert_ne!(found(&NoisyData::simulated(digits(), 0.04, 0.5, 4).unwrap()), few);
    }

    #[test]
    fn the_noise_level_can_be_seen() {
        for sigma in [0.2, 0.59, 1.4] {
            let data = NoisyData::simulated(digits(), 0.2, sigma, 0).unwrap();
            approx::assert_relative_eq!(data.measured_sigma().unwrap(), sigma, max_relative = 0.1);
            assert!(data.warning().is_none());
            let wrong = NoisyData { levels: NoiseLevels::One(2.0 * sigma), ..data };
            assert!(wrong.warning().unwrap().contains("look like noise of about"));
        }
    }

    #[test]
    fn impossible_sets_are_errors() {
        let says = |result: Result<NoisyData>, what: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        says(NoisyData::simulated(digits(), 1e-4, 0.5, 0), "leaves no clean image");
        let other = DataSet { train: Images::new(vec![0.0; 9], vec![0], [3, 3, 1], 1).unwrap(), ..digits() };
        says(NoisyData::given(Some(digits()), other, &Sigma::Number(0.5)), "[3, 3, 1]");
        let clean = NoisyData::simulated(digits(), 1.0, 0.5, 0).unwrap();
        assert!(clean.noisy().unwrap_err().to_string().contains("no noisy images"));
        let noisy = NoisyData::given(None, digits(), &Sigma::Number(0.5)).unwrap();
        assert!(noisy.clean().unwrap_err().to_string().contains("no clean images"));
    }
}
