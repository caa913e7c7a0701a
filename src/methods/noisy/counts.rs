//! The noise of counts: photons through a detector.
//!
//! A pixel is `offset + gain n + e` with `n` of a Poisson law and `e` normal noise of the read-out, so that its
//! variance grows with its mean: `gain (mean - offset) + read_noise^2` (Janesick 2007, "Photon Transfer"; Foi et al.
//! 2008, "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data"). Slope and height of
//! that line are what images show. What of the height is offset and what read-out noise they do not.

use super::estimate::{Block, NORMAL, block_details, mean};
use crate::data::{Detector, Images};
use crate::error::{Error, Result};
use crate::figures::significant;

/// What counts say of the detector, in the units of the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountNoise {
    /// The detector, with what was known of it as it was.
    pub detector: Detector,
    /// The standard error of the gain, from how much parts of the data differ, or of few data from their number; 0 of
    /// one that was known.
    pub gain_stderr: f64,
}

/// What is known of a detector, in the units of the data.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KnownDetector {
    /// Numbers for each photon: how the variance grows with the mean.
    pub gain: Option<f64>,
    /// The number that stands for no photons. If neither this nor the read-out noise is known, the least that leaves
    /// variances and numbers explained.
    pub offset: Option<f64>,
    /// Standard deviation of the noise at the offset.
    pub read_noise: Option<f64>,
}

impl KnownDetector {
    /// The detector, if all of it is known.
    pub fn whole(&self) -> Option<Detector> {
        Some(Detector { gain: self.gain?, offset: self.offset?, read_noise: self.read_noise? })
    }

    /// Errors on numbers that no detector has.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: &str, found: f64, expected: &str| {
            Err(Error::Config(format!("{what} = {found:?}, expected {expected}, or auto")))
        };
        match *self {
            KnownDetector { gain: Some(gain), .. } if !(gain.is_finite() && gain > 0.0) => {
                wrong("noisy.gain", gain, "above 0")
            }
            KnownDetector { offset: Some(offset), .. } if !offset.is_finite() => {
                wrong("noisy.offset", offset, "a finite number")
            }
            KnownDetector { read_noise: Some(noise), .. } if !(noise.is_finite() && noise >= 0.0) => {
                wrong("noisy.read_noise", noise, "not below 0")
            }
            _ => Ok(()),
        }
    }
}

/// Read-out noises below the offset that a count may lie: one in 10^9 does.
pub(super) const FAR: f64 = 6.0;
/// Groups of blocks of about the same brightness.
const GROUPS: usize = 16;
/// Blocks in a group at least.
const LEAST: usize = 60;
/// One block in so many of a group takes part.
const FLATTEST: usize = 3;
/// What the variance of a variance by the median of n normal numbers is, over its square and times n: 2 over the 37 %
/// that the median deviation is as efficient.
const SPREAD: f64 = 2.0 / 0.37;
/// Parts of the data whose differences tell the error.
const PARTS: usize = 8;

/// The line of the variance over the mean, of images in the units of their files, as far as it is not known.
///
/// Errors on numbers that no detector has, on points and signals, on too few pixels, and where the variance does not
/// grow with the mean.
pub fn count_noise(images: &Images, known: &KnownDetector) -> Result<CountNoise> {
    known.check()?;
    let [height, width, channels] = images.size();
    if height < 2 || width < 2 {
        return Err(Error::Config("the noise of counts is told from pictures of two rows and columns or more".into()));
    }
    let pixels = images.units().all_to_user(&images.pixels()?, channels);
    let mut blocks: Vec<Vec<Block>> = Vec::with_capacity(images.len());
    for image in pixels.chunks_exact(images.values()) {
        let mut of_image = Vec::new();
        block_details(image, images.size(), |block| of_image.push(block));
        blocks.push(of_image);
    }
    let all: Vec<Block> = blocks.iter().flatten().copied().collect();
    let [gain, height, formal] = line(all, known.gain)?;
    let gain_stderr = match known.gain {
        Some(_) => 0.0,
        None => {
            let part = blocks.len().div_ceil(PARTS).max(1);
            let of = |part: &[Vec<Block>]| line(part.concat(), None).ok().map(|[gain, ..]| gain);
            let gains: Vec<f64> = blocks.chunks(part).filter_map(of).collect();
            // Too few pixels to be parted.
            if gains.len() > 2 { mean(&gains)[1] } else { formal }
        }
    };
    let typical = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / pixels.len() as f64;
    if let Some(offset) = known.offset.filter(|offset| *offset > typical) {
        return Err(Error::Config(format!(
            "an offset of {offset} stands for no light, and the numbers are {} on average; lower it",
            significant(typical, 4)
        )));
    }
    let offset = match (known.offset, known.read_noise) {
        (Some(offset), _) => offset,
        (None, Some(read_noise)) => (read_noise * read_noise - height) / gain,
        (None, None) => {
            let least = pixels.iter().copied().fold(f32::INFINITY, f32::min).into();
            lowest_offset(gain, height, [least, typical])
        }
    };
    let read_noise = known.read_noise.unwrap_or_else(|| (height + gain * offset).max(0.0).sqrt());
    Ok(CountNoise { detector: Detector { gain, offset, read_noise }, gain_stderr })
}

/// Where the line of the variance is 0, if that is above 0, so that there is no read-out noise; but where the least
/// number lies below that, as much higher as it takes for it to be one that the noise of the read-out explains.
fn lowest_offset(gain: f64, height: f64, [least, typical]: [f64; 2]) -> f64 {
    // No light is not below 0, where numbers on the whole are not.
    let silent = (-height / gain).max(if typical < 0.0 { f64::NEG_INFINITY } else { 0.0 });
    let below = silent - least;
    // On the line an offset of silent + r^2 / gain has read-out noise r, and is to lie FAR r above the least at most.
    let reach = (FAR * gain / 2.0).powi(2) - gain * below;
    if height >= 0.0 || below <= 0.0 || reach < 0.0 {
        return silent;
    }
    // A little more, for rounding.
    let read_noise = 1.001 * (FAR * gain / 2.0 - reach.sqrt());
    silent + read_noise * read_noise / gain
}

/// Slope and height at 0 of the variance over the mean, and the standard error of the slope, which is the gain, if that
/// is known.
fn line(mut blocks: Vec<Block>, gain: Option<f64>) -> Result<[f64; 3]> {
    let groups = GROUPS.min(blocks.len() / LEAST);
    if groups < 3 {
        return Err(Error::Config("there are too few pixels to tell the noise of counts".into()));
    }
    blocks.sort_by(|a, b| a.mean.total_cmp(&b.mean));
    let size = blocks.len().div_ceil(groups);
    let points: Vec<[f64; 3]> = blocks
        .chunks_mut(size)
        .map(|group| {
            // The flattest of them: on an edge there is more than noise.
            group.sort_by(|a, b| a.slope.total_cmp(&b.slope));
            let some = (group.len() / FLATTEST).max(1);
            let flat = &mut group[..some];
            let mean = flat.iter().map(|block| block.mean).sum::<f64>() / flat.len() as f64;
            let middle = flat.len() / 2;
            let (_, median, _) = flat.select_nth_unstable_by(middle, |a, b| a.detail.abs().total_cmp(&b.detail.abs()));
            [mean, (median.detail / NORMAL).powi(2), flat.len() as f64]
        })
        .collect();
    // A variance is known to a share of itself: the weights follow from the line, which follows from them.
    let mut variances: Vec<f64> = points.iter().map(|[_, variance, _]| variance.max(1e-12)).collect();
    let mut found = [0.0; 3];
    for _ in 0..5 {
        let (mut w, mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for ([mean, variance, count], known) in points.iter().zip(&variances) {
            let weight = count / (known * known);
            (w, x, y) = (w + weight, x + weight * mean, y + weight * variance);
            (xx, xy) = (xx + weight * mean * mean, xy + weight * mean * variance);
        }
        let slope = gain.unwrap_or((w * xy - x * y) / (w * xx - x * x));
        found = [slope, (y - slope * x) / w, (SPREAD * w / (w * xx - x * x)).sqrt()];
        let least = points.iter().map(|[_, variance, _]| *variance).fold(f64::INFINITY, f64::min).max(1e-12);
        variances = points.iter().map(|[mean, ..]| (found[1] + slope * mean).max(least / 2.0)).collect();
    }
    match found[0].is_finite() && found[0] > 0.0 {
        true => Ok(found),
        false => Err(Error::Config(
            "the variance does not grow with the mean, as that of counts does: the noise is of another kind".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Normal, Purpose, RandomKey, Samples, fill};

    /// Photons, nearly: a normal law has the mean and the variance of a Poisson law.
    fn counts(gain: f64, offset: f64, read_noise: f64) -> Images {
        let (n, side) = (120, 16);
        let values = n * side * side;
        let mut noise = vec![0f32; 2 * values];
        let stream = RandomKey::new(3, Purpose::Custom).stream().unwrap();
        fill(Normal, &stream, Samples::From(0), 2 * values, &mut noise).unwrap();
        let pixel = |i: usize| {
            let (image, y) = (i / (side * side), i / side % side);
            let photons = 30.0 + 20.0 * (image % 10) as f64 + if y < 9 { 150.0 } else { 0.0 };
            let counted = photons + photons.sqrt() * f64::from(noise[i]);
            (offset + gain * counted + read_noise * f64::from(noise[values + i])) as f32
        };
        Images::new((0..values).map(pixel).collect(), vec![0; n], [side, side, 1], 1).unwrap()
    }

    #[test]
    fn the_error_of_a_gain_from_few_pixels_is_that_of_their_number() {
        let few = counts(2.0, 100.0, 3.0).select(&(0..12).collect::<Vec<_>>()).unwrap();
        let known = KnownDetector { offset: Some(100.0), ..KnownDetector::default() };
        let CountNoise { detector, gain_stderr } = count_noise(&few, &known).unwrap();
        assert!(gain_stderr > 0.02 && gain_stderr < 1.5, "{gain_stderr}");
        assert!((detector.gain - 2.0).abs() < 4.0 * gain_stderr, "{detector:?} ± {gain_stderr}");
    }

    #[test]
    fn gain_and_read_noise_are_found() {
        for (gain, offset, read_noise) in [(2.5, 100.0, 3.0), (0.2, 0.0, 0.5), (1.0, 400.0, 10.0)] {
            let known = KnownDetector { offset: Some(offset), ..KnownDetector::default() };
            let images = counts(gain, offset, read_noise);
            let CountNoise { detector: found, gain_stderr } = count_noise(&images, &known).unwrap();
            assert!((found.gain / gain - 1.0).abs() < 0.1, "{found:?} for {gain}");
            assert!(gain_stderr > 0.0 && gain_stderr < 0.3 * gain, "{gain_stderr} for {gain}");
            // The line is known well where there are pixels, and they lie far from the offset.
            let variance = (found.read_noise.powi(2) - read_noise.powi(2)).abs();
            assert!(variance < 0.2 * (gain * gain * 100.0 + read_noise.powi(2)), "{found:?} for {read_noise}");
            // What is known is taken as it is, and helps with the rest.
            let known = KnownDetector { gain: Some(gain), offset: None, read_noise: Some(read_noise) };
            let CountNoise { detector: found, gain_stderr } = count_noise(&images, &known).unwrap();
            assert_eq!((found.gain, found.read_noise, gain_stderr), (gain, read_noise, 0.0));
            let variance = (found.offset - offset).abs() * gain;
            assert!(variance < 0.2 * (gain * gain * 100.0 + read_noise.powi(2)), "{found:?} for {offset}");
        }
        // Without a stated offset all of what the line lacks is taken for one.
        let found = count_noise(&counts(2.5, 100.0, 0.0), &KnownDetector::default()).unwrap().detector;
        assert!((found.offset - 100.0).abs() < 25.0 && found.read_noise < 10.0, "{found:?}");
        // A number below it is explained by as much read-out noise as it takes, on the same line, unless nothing would.
        for below in [0.0, 3.0, 20.0] {
            let offset = lowest_offset(2.5, -250.0, [100.0 - below, 300.0]);
            let read_noise = (2.5 * offset - 250.0).max(0.0).sqrt();
            let spare = 100.0 - below - (offset - FAR * read_noise);
            assert!((0.0..0.05).contains(&spare), "{below}: offset {offset}, read-out noise {read_noise}");
        }
        assert_eq!(lowest_offset(2.5, -250.0, [0.0, 300.0]), 100.0);
        assert_eq!(lowest_offset(2.5, 9.0, [-1.0, 50.0]), 0.0);
        // Signed numbers that lie below 0 on the whole.
        assert_eq!(lowest_offset(2.0, 3800.0, [-1905.0, -1700.0]), -1900.0);
    }

    #[test]
    fn what_is_no_count_is_an_error() {
        let nothing = KnownDetector::default();
        let error = count_noise(&Images::new(vec![0.5; 10], vec![0; 5], [1, 1, 2], 1).unwrap(), &nothing);
        assert!(error.unwrap_err().to_string().contains("pictures"));
        let few = Images::new(vec![0.5; 16], vec![0], [4, 4, 1], 1).unwrap();
        assert!(count_noise(&few, &nothing).unwrap_err().to_string().contains("too few"));
        let mut noise = vec![0f32; 40 * 256];
        let stream = RandomKey::new(3, Purpose::Custom).stream().unwrap();
        fill(Normal, &stream, Samples::From(0), 40 * 256, &mut noise).unwrap();
        let falling = |i: usize| (i / 256) as f32 + noise[i] * (1.0 - (i / 256) as f32 / 50.0);
        let images = Images::new((0..40 * 256).map(falling).collect(), vec![0; 40], [16, 16, 1], 1).unwrap();
        assert!(count_noise(&images, &nothing).unwrap_err().to_string().contains("does not grow"));
    }
}
