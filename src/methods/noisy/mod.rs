//! Clean images beside noisy ones: what the methods for noisy data learn from.

mod counts;
mod estimate;
mod known;
mod law;
mod levels;
mod merging;
mod section;
mod sigma;
mod transformed;

pub use counts::{CountNoise, KnownDetector, count_noise};
pub use estimate::{Estimate, estimate};
pub use known::Known;
pub use law::NoiseModel;
pub use levels::NoiseLevels;
pub use merging::merging_levels;
pub use section::NoisySection;
pub use sigma::Sigma;

use crate::data::{DataSet, Images, Reading, Transform, Units};
use crate::error::{Error, Result};
use crate::escape::escaped;
use crate::random::{self, Purpose, RandomKey, Samples, permutation};
use crate::train::RunConfig;

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

impl NoisyData {
    /// Keeps a share of a data set's images clean, chosen at random, and puts noise on the others. Split and noise are
    /// a pure function of `seed` and an image's index. Errors if the share leaves no clean image.
    pub fn simulated(set: DataSet, clean_share: f64, sigma: f64, seed: u64) -> Result<Self> {
        let (count, accounts) = (set.train.len(), vec![set.account()]);
        let levels = levels::in_model(sigma, set.train.units());
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
                (Some(corrupted(&originals, rest, &levels, seed)?), Some(originals))
            }
        };
        let clean = Some(subset(&set.train, clean)?);
        let (name, test, class_names) = (set.name, set.test, set.class_names);
        Ok(NoisyData { name, clean, noisy, levels, originals, test, class_names, accounts })
    }

    /// A clean set and images that have their noise already, of a level in the units of the data. Errors if they differ
    /// in size or in units, and where a level is wanting.
    pub fn given(clean: Option<DataSet>, noisy: DataSet, sigma: &Sigma) -> Result<Self> {
        let mut accounts = alike(&clean, &noisy)?;
        let beside = clean.as_ref().map(|clean| &clean.train);
        let (levels, train) = levels_of(sigma, noisy.train, beside, &|_| 0.0, &mut accounts)?;
        Ok(Self::of(clean, DataSet { train, ..noisy }, levels, accounts))
    }

    fn of(clean: Option<DataSet>, noisy: DataSet, levels: NoiseLevels, accounts: Vec<String>) -> Self {
        let name = noisy.name;
        let (clean, test, class_names) = match clean {
            None => (None, noisy.test, noisy.class_names),
            Some(clean) => (Some(clean.train), clean.test, clean.class_names),
        };
        NoisyData { name, clean, noisy: Some(noisy.train), levels, originals: None, test, class_names, accounts }
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
        let transform = self.noisy.as_ref().and_then(|noisy| noisy.units().transform());
        let stated_as = match transform.and_then(Transform::detector) {
            Some(_) => "by noisy.gain, noisy.offset and noisy.read_noise the noise behind the transform has level",
            None => "noisy.sigma is",
        };
        match self.measured_sigma().map(|sigma| sigma * self.unit()) {
            Some(measured) if (measured / stated).ln().abs() < 0.2 => None,
            Some(measured) => Some(format!(
                "warning: {stated_as} {stated}, but beside the clean images the noisy ones look like noise of about {measured:.3}"
            )),
            None => Some(format!(
                "warning: {stated_as} {stated}, but the noisy images have no more fine detail than the clean ones"
            )),
        }
    }
}

/// What there is to say of the sets. Errors unless they are of one size and in the same units.
fn alike(clean: &Option<DataSet>, noisy: &DataSet) -> Result<Vec<String>> {
    check_sizes(clean, noisy)?;
    let mut accounts = accounts(clean, noisy);
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
    Ok(accounts)
}

fn accounts(clean: &Option<DataSet>, noisy: &DataSet) -> Vec<String> {
    clean.iter().chain([noisy]).map(DataSet::account).collect()
}

/// Errors unless clean and noisy images are of one size, and their columns, where both have names, the same.
fn check_sizes(clean: &Option<DataSet>, noisy: &DataSet) -> Result<()> {
    if let Some(clean) = clean {
        let (of_clean, of_noisy) = (clean.train.columns(), noisy.train.columns());
        if !of_clean.is_empty() && !of_noisy.is_empty() && of_clean != of_noisy {
            return Err(Error::Config(format!(
                "the columns of {} are {}, those of {} {}; put them into one order, under the same names",
                clean.name,
                listed(of_clean),
                noisy.name,
                listed(of_noisy)
            )));
        }
    }
    match clean.as_ref().filter(|clean| clean.train.size() != noisy.train.size()) {
        None => Ok(()),
        Some(clean) => Err(Error::Config(format!(
            "the clean images of {} are {:?} (height, width, channels), the noisy ones of {} {:?}; crop or resize one",
            clean.name,
            clean.train.size(),
            noisy.name,
            noisy.train.size()
        ))),
    }
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| escaped(name).to_string()).collect::<Vec<_>>().join(", ")
}

/// The levels of noisy images, and the images; `shift` is what is added to those of a level in the user's units, as a
/// model sees it. What there is to say goes to `accounts`.
fn levels_of(
    sigma: &Sigma,
    noisy: Images,
    clean: Option<&Images>,
    shift: &dyn Fn(f64) -> f64,
    accounts: &mut Vec<String>,
) -> Result<(NoiseLevels, Images)> {
    let (levels, said) = match sigma {
        Sigma::Number(sigma) if !(sigma.is_finite() && *sigma > 0.0) => {
            return Err(Error::Config(format!("a noise level of {sigma}, expected above 0, auto, or a file")));
        }
        Sigma::Number(sigma) => (levels::in_model(*sigma, noisy.units()), None),
        Sigma::File(path) => {
            let (levels, noisy, said) = levels::of_file(path, noisy, shift)?;
            accounts.extend(said);
            return Ok((levels, noisy));
        }
        Sigma::Auto => {
            let found = estimate(&noisy, clean)?;
            (NoiseLevels::One(found.sigma), Some(found.said(noisy.units().of_noise())))
        }
    };
    accounts.extend(said);
    match shift(levels.pooled() * noisy.units().of_noise()) as f32 {
        0.0 => Ok((levels, noisy)),
        shift => {
            let pixels = noisy.pixels()?.iter().map(|x| x + shift).collect();
            Ok((levels, noisy.with_pixels(pixels, noisy.labels().to_vec())?))
        }
    }
}

/// `x + sigma n` with the level of each, where image `i` gets the noise of sample `indices[i]` of the seed: one draw
/// for good.
fn corrupted(images: &Images, indices: &[u32], levels: &NoiseLevels, seed: u64) -> Result<Images> {
    let values = images.values();
    let mut noise = vec![0f32; images.len() * values];
    let stream = RandomKey::new(seed, Purpose::Corruption).stream()?;
    random::fill(random::Normal, &stream, Samples::Ids(indices), values, &mut noise)?;
    let noised = |(i, (x, n)): (usize, (&f32, &f32))| x + levels.of(i / values) as f32 * n;
    let pixels = images.pixels()?.iter().zip(&noise).enumerate().map(noised).collect();
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
    let columns = sets.first().map_or(&[][..], |set| set.columns());
    Images::new(pixels, labels, size, classes)?.with_units(units)?.with_columns(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;

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
