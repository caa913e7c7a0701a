//! Noise that is not Gaussian of one level, made so by a transform of the data, which the units of a model keep.

use super::counts::{CountNoise, FAR, KnownDetector, count_noise};
use super::levels::NoiseLevels;
use super::sigma::Sigma;
use super::{NoisyData, accounts, check_sizes, levels_of};
use crate::data::{DataSet, Detector, Images, Numbers, Transform, Units};
use crate::error::{Error, Result};
use crate::escape::escaped;
use crate::figures::significant;

/// Photons, with the variance of the read-out, below which the noise of a transformed count has less than level 1.
const FEW: f64 = 3.0;

impl NoisyData {
    /// A clean set, without noise, and counts of a detector, of which what is not known is estimated. Both become what
    /// the generalised Anscombe transform makes of them, standardised, in which the noise has level 1.
    ///
    /// Errors where [`given`](Self::given) and [`count_noise`] do, and on a count that lies further below the offset
    /// than the noise of the read-out explains.
    pub fn counts(clean: Option<DataSet>, noisy: DataSet, known: &KnownDetector) -> Result<Self> {
        known.check()?;
        check_sizes(&clean, &noisy)?;
        let (detector, found) = match known.whole() {
            Some(detector) => (detector, None),
            None => {
                let found = count_noise(&noisy.train, known)?;
                (found.detector, Some(found))
            }
        };
        let mut data = Self::of_counts(clean, noisy, &Transform::counts(detector), None)?;
        data.accounts.extend(found.map(|found| estimated(&found, known)));
        Ok(data)
    }

    fn of_counts(clean: Option<DataSet>, noisy: DataSet, transform: &Transform, units: Option<&Units>) -> Result<Self> {
        let mut accounts = accounts(&clean, &noisy);
        let units = match (units, &clean) {
            (Some(units), _) => units.clone(),
            (None, Some(clean)) => standardising(clean, transform, None)?,
            (None, None) => standardising(&noisy, transform, Some(0.0))?,
        };
        let clean = clean.map(|clean| in_units(clean, &units, None)).transpose()?;
        let noisy = in_units(noisy, &units, Some(0.0))?;
        let levels = NoiseLevels::One(1.0 / units.of_noise());
        accounts.push(format!("numbers are {units}; behind the transform their noise has level 1"));
        accounts.extend(few(&noisy.train, transform)?);
        Ok(Self::of(clean, noisy, levels, accounts))
    }

    /// A clean set and images behind multiplicative noise of log-normal factors of mean 1, of which `sigma` is the
    /// standard deviation of the logarithm. Both become their logarithms, standardised; half of sigma's square is added
    /// to those of noisy ones, so that they lie around those of the clean ones.
    ///
    /// Errors where [`given`](Self::given) does, and on a number that is not positive.
    pub fn multiplicative(clean: Option<DataSet>, noisy: DataSet, sigma: &Sigma) -> Result<Self> {
        check_sizes(&clean, &noisy)?;
        let transform = Transform::logarithm();
        let units = match &clean {
            Some(clean) => standardising(clean, &transform, None)?,
            None => standardising(&noisy, &transform, Some(0.0))?,
        };
        Self::of_factors(clean, noisy, sigma, &units)
    }

    fn of_factors(clean: Option<DataSet>, noisy: DataSet, sigma: &Sigma, units: &Units) -> Result<Self> {
        let mut accounts = accounts(&clean, &noisy);
        let clean = clean.map(|clean| in_units(clean, units, None)).transpose()?;
        let mut noisy = in_units(noisy, units, Some(0.0))?;
        let unit = units.of_noise();
        let half_square = |sigma: f64| sigma * sigma / 2.0 / unit;
        accounts.push(format!("numbers are {units}; noise levels are those of the logarithm"));
        let beside = clean.as_ref().map(|clean| &clean.train);
        let (levels, train) = levels_of(sigma, noisy.train, beside, &half_square, &mut accounts)?;
        noisy.train = train;
        Ok(Self::of(clean, noisy, levels, accounts))
    }

    /// Data for a model of these units, which have a [transform](Units::transform): of counts without `sigma`, of
    /// positive numbers behind multiplicative noise with it.
    ///
    /// Errors where [`counts`](Self::counts) and [`multiplicative`](Self::multiplicative) do, where `sigma` is wanting
    /// or one too much, and on units without a transform.
    pub fn in_units(clean: Option<DataSet>, noisy: DataSet, sigma: Option<&Sigma>, units: &Units) -> Result<Self> {
        check_sizes(&clean, &noisy)?;
        match (units.transform(), sigma) {
            (None, _) => Err(Error::argument("NoisyData::in_units", "units without a transform")),
            (Some(transform), None) if transform.detector().is_some() => {
                Self::of_counts(clean, noisy, transform, Some(units))
            }
            (Some(transform), Some(_)) if transform.detector().is_some() => Err(Error::Config(format!(
                "the model is one of counts ({transform}): their noise has level 1, so leave out --sigma"
            ))),
            (Some(_), Some(sigma)) => Self::of_factors(clean, noisy, sigma, units),
            (Some(_), None) => Err(Error::Config(
                "the model is one of logarithms: give the level of the multiplicative noise with --sigma (a number, auto, or a file)"
                    .into(),
            )),
        }
    }
}

/// What was estimated, for a person.
fn estimated(found: &CountNoise, known: &KnownDetector) -> String {
    let CountNoise { detector: Detector { gain, offset, read_noise }, gain_stderr } = *found;
    let mut parts = Vec::new();
    if known.gain.is_none() {
        parts.push(format!("gain {} ± {}", significant(gain, 4), significant(gain_stderr, 2)));
    }
    if known.offset.is_none() {
        parts.push(format!("offset {}", significant(offset, 4)));
    }
    if known.read_noise.is_none() {
        parts.push(format!("read-out noise {}", significant(read_noise, 4)));
    }
    let caveat = match known.offset.is_none() && known.read_noise.is_none() {
        true => "; images do not tell offset from read-out noise: state --offset or --read-noise if you know it",
        false => "",
    };
    format!("estimated from how the variance grows with the mean: {}{caveat}", parts.join(", "))
}

/// Words on counts that are too few for the transform to be what it is made for.
fn few(noisy: &Images, transform: &Transform) -> Result<Option<String>> {
    let Some(detector) = transform.detector() else { return Ok(None) };
    let bound = noisy.units().noisy_to_model(
        detector.offset + detector.gain * FEW - detector.read_noise.powi(2) / detector.gain,
        0.0,
        0,
    );
    let pixels = noisy.pixels()?;
    let below = pixels.iter().filter(|x| f64::from(**x) < bound).count() as f64 / pixels.len() as f64;
    Ok((below > 0.01).then(|| {
        let share = significant(100.0 * below, 2);
        format!(
            "{share} % of the counts stand for fewer than {FEW} photons (with the read-out's variance), where the noise behind the transform is below 1 and skewed"
        )
    }))
}

/// The numbers of files behind a transform: with noise of level `sigma`, or without any.
fn transformed(images: &Images, transform: &Transform, sigma: Option<f64>) -> Result<Vec<f64>> {
    let units = images.units();
    let of = |x: f64| {
        // Numbers that were whole are so again.
        let x = units.numbers().nearest(x);
        sigma.map_or_else(|| transform.of_mean(x), |sigma| transform.of_noisy(x, sigma))
    };
    Ok(units.all_to_user_f64(&images.pixels()?, images.size()[2]).into_iter().map(of).collect())
}

/// The units that standardise what the transform makes of a set's images, with one scale for all channels.
fn standardising(set: &DataSet, transform: &Transform, sigma: Option<f64>) -> Result<Units> {
    check(&set.train, transform, &set.name)?;
    let values = transformed(&set.train, transform, sigma)?;
    let n = values.len() as f64;
    let near = values[0]; // of a constant nothing is left then, not even rounding
    let mean = near + values.iter().map(|x| x - near).sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let units = Units::standardising(set.train.units().numbers(), &[[mean, variance.sqrt()]]).map_err(|_| {
        Error::Config(format!("{}: all numbers are the same: there is nothing to learn", escaped(&set.name)))
    })?;
    Ok(units.after(transform.clone()))
}

/// A set in units with a transform.
fn in_units(set: DataSet, units: &Units, sigma: Option<f64>) -> Result<DataSet> {
    let Some(transform) = units.transform() else {
        return Err(Error::argument("in_units", "units without a transform"));
    };
    let name = set.name.clone();
    let of = |images: &Images| -> Result<Images> {
        check(images, transform, &name)?;
        let scaled = |x: f64| {
            let x = images.units().numbers().nearest(x);
            match sigma {
                None => units.to_model(x, 0) as f32,
                Some(sigma) => units.noisy_to_model(x, sigma, 0) as f32,
            }
        };
        let user = images.units().all_to_user_f64(&images.pixels()?, images.size()[2]);
        let pixels = user.into_iter().map(scaled).collect();
        images.with_pixels(pixels, images.labels().to_vec())?.with_units(units.clone())
    };
    let (train, test) = (of(&set.train)?, set.test.as_ref().map(of).transpose()?);
    Ok(DataSet { train, test, ..set })
}

/// Errors on the first number that the transform is not made for, with its place.
fn check(images: &Images, transform: &Transform, name: &str) -> Result<()> {
    let (units, [_, width, channels], values) = (images.units(), images.size(), images.values());
    let least = transform.detector().map(|detector| {
        let rounding = match units.numbers() {
            Numbers::Float => 1e-4 * detector.gain + 1e-6 * detector.offset.abs(),
            _ => 0.5,
        };
        detector.offset - rounding.max(FAR * detector.read_noise)
    });
    let user = units.all_to_user_f64(&images.pixels()?, channels);
    let nearest = |x: &f64| units.numbers().nearest(*x);
    let wrong = |x: &&f64| least.map_or(nearest(x) <= 0.0, |least| nearest(x) < least);
    let Some(at) = user.iter().position(|x| wrong(&x)) else { return Ok(()) };
    let (image, place, x) = (at / values, at % values, nearest(&user[at]));
    let (row, column) = (place / channels / width, place / channels % width);
    let channel = if channels > 1 { format!(", channel {}", place % channels) } else { String::new() };
    let others = match user.iter().filter(wrong).count() - 1 {
        0 => String::new(),
        more => format!(", and {more} more are like it"),
    };
    let at = format!("{}: image {image}, row {row}, column {column}{channel} (from 0)", escaped(name));
    let x = significant(x, 6);
    Err(Error::Config(match transform.detector() {
        None => format!(
            "{at} is {x}{others}: multiplicative noise is of positive numbers; take another noisy.noise_model (--noise-model), or shift the data"
        ),
        Some(Detector { offset, read_noise, .. }) => format!(
            "{at} is {x}{others}, below the offset {} by more than read-out noise of {} explains: lower noisy.offset (--offset), or raise noisy.read_noise (--read-noise)",
            significant(*offset, 6),
            significant(*read_noise, 6)
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, RandomKey, Sequence};

    const SIDE: usize = 16;
    const GAIN: f64 = 2.5;
    const OFFSET: f64 = 100.0;
    const READ: f64 = 3.0;

    fn set(name: &str, pixels: Vec<f64>) -> DataSet {
        let n = pixels.len() / (SIDE * SIDE);
        let images = Images::new(pixels.iter().map(|&x| x as f32).collect(), vec![0; n], [SIDE, SIDE, 1], 1).unwrap();
        DataSet::new(name, images)
    }

    /// Means in photons: blocks of brightness from 1 photon on, each image with its own.
    fn photons(i: usize) -> f64 {
        let (image, y, x) = (i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
        1.0 + 4.0 * (image % 9) as f64 + if y < 9 { 30.0 } else { 0.0 } + if x < 6 { 8.0 } else { 0.0 }
    }

    /// A draw of the Poisson law by its distribution function.
    fn poisson(mean: f64, random: &mut Sequence) -> f64 {
        let (u, mut count, mut share) = (random.uniform(), 0.0, (-mean).exp());
        let mut sum = share;
        while sum < u && count < 1000.0 {
            count += 1.0;
            share *= mean / count;
            sum += share;
        }
        count
    }

    fn random() -> Sequence {
        Sequence::new(&RandomKey::new(4, Purpose::Custom).stream().unwrap(), 0)
    }

    /// Clean and noisy counts.
    fn counts(n: usize) -> [Vec<f64>; 2] {
        let mut random = random();
        let mut noisy = |i: usize| OFFSET + GAIN * poisson(photons(i), &mut random) + READ * random.normal();
        let all = 0..n * SIDE * SIDE;
        [all.clone().map(|i| OFFSET + GAIN * photons(i)).collect(), all.map(&mut noisy).collect()]
    }

    const KNOWN: KnownDetector = KnownDetector { gain: Some(GAIN), offset: Some(OFFSET), read_noise: Some(READ) };

    /// Mean and standard deviation of what noise does, as a model sees it.
    fn difference(data: &NoisyData) -> [f64; 2] {
        let (clean, noisy) = (data.clean().unwrap().pixels().unwrap(), data.noisy().unwrap().pixels().unwrap());
        let all: Vec<f64> = noisy.iter().zip(clean.iter()).map(|(y, x)| f64::from(y - x)).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        [mean, (all.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt()]
    }

    #[test]
    fn counts_have_noise_of_level_one_around_the_clean_images() {
        let [clean, noisy] = counts(60);
        let data = NoisyData::counts(Some(set("clean", clean.clone())), set("noisy", noisy), &KNOWN).unwrap();
        let unit = data.unit();
        assert_eq!(data.levels, NoiseLevels::One(1.0 / unit));
        let [mean, deviation] = difference(&data);
        // 15,360 pixels: five standard errors of the mean are 0.04, and the law is not quite of level 1 at few photons.
        assert!((mean * unit).abs() < 0.04, "{}", mean * unit);
        assert!((deviation * unit - 1.0).abs() < 0.03, "{}", deviation * unit);
        assert!(data.warning().is_none(), "{:?}", data.warning());
        // The clean images come back, and are standardised.
        let images = data.clean().unwrap();
        for (found, expected) in images.units().all_to_user(&images.pixels().unwrap(), 1).iter().zip(&clean) {
            assert!((f64::from(*found) - expected).abs() < 1e-3 * expected, "{found}, expected {expected}");
        }
        approx::assert_relative_eq!(images.deviation(), 0.5, max_relative = 1e-3);
        // With a gain that is not theirs it is seen.
        let [clean, noisy] = counts(60);
        let wrong = KnownDetector { gain: Some(1.0), read_noise: Some(READ), offset: Some(OFFSET) };
        let data = NoisyData::counts(Some(set("clean", clean)), set("noisy", noisy), &wrong).unwrap();
        assert!(data.warning().unwrap().contains("by noisy.gain, noisy.offset and noisy.read_noise"));
    }

    #[test]
    fn a_detector_is_found_and_few_counts_are_said() {
        let [_, noisy] = counts(200);
        let known = KnownDetector { offset: Some(OFFSET), read_noise: Some(READ), gain: None };
        let data = NoisyData::counts(None, set("noisy", noisy.clone()), &known).unwrap();
        let detector = *data.noisy().unwrap().units().transform().unwrap().detector().unwrap();
        assert!((detector.gain / GAIN - 1.0).abs() < 0.2, "{detector:?}");
        let said = data.accounts.join("\n");
        assert!(said.contains("gain 2.") && said.contains("level 1"), "{said}");
        assert!(said.contains("fewer than 3 photons"), "{said}");
        let said = NoisyData::counts(None, set("noisy", noisy), &KnownDetector::default()).unwrap().accounts.join("\n");
        assert!(said.contains("do not tell offset from read-out noise"), "{said}");
    }

    #[test]
    fn factors_have_their_level_around_the_clean_images() {
        let mut random = random();
        let clean: Vec<f64> = (0..60 * SIDE * SIDE).map(|i| 1e-3 * photons(i)).collect();
        let mut factor = |sigma: f64| (sigma * random.normal() - sigma * sigma / 2.0).exp();
        let noisy: Vec<f64> = clean.iter().map(|x| x * factor(0.6)).collect();
        let ratio = noisy.iter().sum::<f64>() / clean.iter().sum::<f64>();
        assert!((ratio - 1.0).abs() < 0.03, "factors of mean 1, found {ratio}");
        for sigma in [Sigma::Number(0.6), Sigma::Auto] {
            let (clean, noisy) = (set("clean", clean.clone()), set("noisy", noisy.clone()));
            let data = NoisyData::multiplicative(Some(clean), noisy, &sigma).unwrap();
            let unit = data.unit();
            approx::assert_relative_eq!(data.levels.pooled() * unit, 0.6, max_relative = 0.05);
            let [mean, deviation] = difference(&data);
            assert!((mean * unit).abs() < 0.025 && (deviation * unit / 0.6 - 1.0).abs() < 0.02, "{mean} {deviation}");
        }
        // A level for each image moves each by half of its own square.
        let noisy: Vec<f64> =
            (0..clean.len()).map(|i| clean[i] * factor(if i / (SIDE * SIDE) < 30 { 0.2 } else { 0.9 })).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0.2\n".repeat(30) + &"0.9\n".repeat(30)).unwrap();
        let sigma = Sigma::File(file.path().to_str().unwrap().into());
        let data = NoisyData::multiplicative(Some(set("clean", clean)), set("noisy", noisy), &sigma).unwrap();
        let (clean, noisy) = (data.clean().unwrap().pixels().unwrap(), data.noisy().unwrap().pixels().unwrap());
        let half = clean.len() / 2;
        for part in [0..half, half..2 * half] {
            let mean = part.clone().map(|i| f64::from(noisy[i] - clean[i])).sum::<f64>() / half as f64;
            assert!((mean * data.unit()).abs() < 0.05, "{part:?}: {mean}");
        }
    }

    #[test]
    fn numbers_that_the_noise_cannot_have_made_are_named_with_their_place() {
        let [_, mut noisy] = counts(4);
        noisy[2 * SIDE * SIDE + 3 * SIDE + 5] = 70.0;
        let error = NoisyData::counts(None, set("noisy", noisy.clone()), &KNOWN).unwrap_err().to_string();
        for part in ["noisy: image 2, row 3, column 5 (from 0) is 70", "the offset 100", "--read-noise"] {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
        noisy[7] = -1.0;
        noisy[9] = 0.0;
        let error = NoisyData::multiplicative(None, set("noisy", noisy), &Sigma::Number(0.3)).unwrap_err().to_string();
        for part in ["image 0, row 0, column 7 (from 0) is -1, and 1 more", "positive numbers"] {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
        let [_, noisy] = counts(4);
        let bad = KnownDetector { gain: Some(-1.0), ..KNOWN };
        assert!(bad.check().unwrap_err().to_string().contains("noisy.gain = -1.0, expected above 0"));
        let units = NoisyData::counts(None, set("noisy", noisy.clone()), &KNOWN).unwrap();
        let units = units.noisy().unwrap().units().clone();
        let with = |sigma| NoisyData::in_units(None, set("noisy", noisy.clone()), sigma, &units);
        assert!(with(Some(&Sigma::Number(1.0))).unwrap_err().to_string().contains("leave out --sigma"));
        assert_eq!(with(None).unwrap().noisy().unwrap().units(), &units);
    }
}
