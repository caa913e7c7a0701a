//! The noise level of each image.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::npy::{self, Array};
use crate::data::{Images, Units};
use crate::error::{Error, Result};
use crate::escape::escaped;
use crate::figures::significant;
use crate::files;
use crate::random::{self, Purpose, RandomKey, Samples};

/// Standard deviations of noise, as a model sees them: one for all images, or one for each.
#[derive(Debug, Clone, PartialEq)]
pub enum NoiseLevels {
    /// The same for all.
    One(f64),
    /// One for each.
    Each(Vec<f64>),
}

/// A file of levels is no larger.
const MAX_BYTES: u64 = 1 << 28;
/// The site of the noise that is put on images to make that of their pixels equal.
const LEVELLING: u32 = 1;

impl NoiseLevels {
    /// The level of image `i`.
    pub fn of(&self, i: usize) -> f64 {
        match self {
            NoiseLevels::One(sigma) => *sigma,
            NoiseLevels::Each(levels) => levels[i],
        }
    }

    /// The least and the greatest.
    pub fn range(&self) -> [f64; 2] {
        match self {
            NoiseLevels::One(sigma) => [*sigma; 2],
            NoiseLevels::Each(levels) => {
                let least = levels.iter().copied().fold(f64::INFINITY, f64::min);
                [least, levels.iter().copied().fold(0.0, f64::max)]
            }
        }
    }

    /// The root of the mean square: the level of all noise together.
    pub fn pooled(&self) -> f64 {
        match self {
            NoiseLevels::One(sigma) => *sigma,
            NoiseLevels::Each(levels) => {
                (levels.iter().map(|sigma| sigma * sigma).sum::<f64>() / levels.len() as f64).sqrt()
            }
        }
    }

    /// Places of `indices` by their level, for work that is done at one level at a time.
    pub fn groups(&self, indices: &[u32]) -> Vec<(f64, Vec<usize>)> {
        let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (place, &i) in indices.iter().enumerate() {
            groups.entry(self.of(i as usize).to_bits()).or_default().push(place);
        }
        groups.into_iter().map(|(bits, places)| (f64::from_bits(bits), places)).collect()
    }

    /// A short text that changes when a level does.
    pub fn fingerprint(&self) -> String {
        match self {
            NoiseLevels::One(sigma) => sigma.to_string(),
            NoiseLevels::Each(levels) => {
                let mut crc = flate2::Crc::new();
                crc.update(bytemuck::cast_slice(levels));
                format!("{} levels {:08x}", levels.len(), crc.sum())
            }
        }
    }

    /// In words, as multiples of `unit`.
    pub fn said(&self, unit: f64) -> String {
        match self {
            NoiseLevels::One(sigma) => significant(sigma * unit, 6),
            NoiseLevels::Each(levels) => {
                let [least, most] = self.range().map(|sigma| significant(sigma * unit, 4));
                format!("{least} to {most} (one for each of {} images)", levels.len())
            }
        }
    }
}

/// What a file of levels holds, in the units of the data.
enum Read {
    Each(Vec<f64>),
    /// For each pixel of one image, or of all.
    Map(Vec<f64>),
}

/// The levels of a file for these noisy images, and the images: where the file has a level for every pixel, noise is
/// put on all but the noisiest ones, so that an image has one level. `shift` is what is added to pixels whose noise has
/// a level, as a model sees it.
///
/// Errors on numbers that are not positive, and unless there is one for each image or each pixel.
pub(super) fn of_file(
    path: &str,
    noisy: Images,
    shift: &dyn Fn(f64) -> f64,
) -> Result<(NoiseLevels, Images, Option<String>)> {
    let at = Path::new(path);
    if !at.exists() {
        let shown = escaped(path);
        return Err(Error::Config(format!("a level of {shown}: neither a number, nor auto, nor a file that is there")));
    }
    let (n, values, unit) = (noisy.len(), noisy.values(), noisy.units().of_noise());
    let read = read(at, n, values, noisy.size())?;
    let all = match &read {
        Read::Each(levels) | Read::Map(levels) => levels,
    };
    if let Some(i) = all.iter().position(|sigma| !(sigma.is_finite() && *sigma > 0.0)) {
        let what = format!("level {i} (counted from 0) is {}: every level must be above 0", all[i]);
        return Err(Error::format(at, what));
    }
    let map = match read {
        Read::Each(levels) => {
            let noisy = match levels.iter().all(|sigma| shift(*sigma) == 0.0) {
                true => noisy,
                false => {
                    let pixels = noisy.pixels()?;
                    let pixels = pixels.iter().enumerate().map(|(at, y)| y + shift(levels[at / values]) as f32);
                    noisy.with_pixels(pixels.collect(), noisy.labels().to_vec())?
                }
            };
            return Ok((NoiseLevels::Each(levels.into_iter().map(|sigma| sigma / unit).collect()), noisy, None));
        }
        Read::Map(map) => map,
    };
    let of = |image: usize| if map.len() == values { &map[..] } else { &map[image * values..][..values] };
    let highest: Vec<f64> = (0..n).map(|i| of(i).iter().copied().fold(0.0, f64::max)).collect();
    let mut more = vec![0f32; n * values];
    let stream = RandomKey::new(0, Purpose::Corruption).at_site(LEVELLING).stream()?;
    random::fill(random::Normal, &stream, Samples::From(0), values, &mut more)?;
    let pixels = noisy.pixels()?;
    let levelled = pixels.iter().zip(&more).enumerate().map(|(at, (&y, &noise))| {
        let (image, pixel) = (at / values, at % values);
        let missing = (highest[image].powi(2) - of(image)[pixel].powi(2)).max(0.0).sqrt() / unit;
        y + missing as f32 * noise + shift(of(image)[pixel]) as f32
    });
    let levelled = noisy.with_pixels(levelled.collect(), noisy.labels().to_vec())?;
    let uneven = (0..n).any(|i| of(i).iter().any(|sigma| *sigma < highest[i]));
    let said = "noise was put on the pixels that had less, so that all of an image have as much as its noisiest";
    let levels = NoiseLevels::Each(highest.into_iter().map(|sigma| sigma / unit).collect());
    Ok((levels, levelled, uneven.then(|| said.into())))
}

/// The merging levels of a file, one for each image as a model sees it; infinite ones are of images that never merge.
pub(super) fn merging_of_file(path: &str, bad: &Images) -> Result<Vec<f64>> {
    let at = Path::new(path);
    match read(at, bad.len(), bad.values(), bad.size())? {
        Read::Map(_) => {
            Err(Error::format(at, "a level for each pixel: an image merges as a whole, so give one for each"))
        }
        Read::Each(levels) => {
            if let Some(i) = levels.iter().position(|sigma| sigma.is_nan() || *sigma <= 0.0) {
                let what = format!("level {i} (counted from 0) is {}: every level must be above 0, or inf", levels[i]);
                return Err(Error::format(at, what));
            }
            let unit = bad.units().of_noise();
            Ok(levels.into_iter().map(|sigma| sigma / unit).collect())
        }
    }
}

fn read(at: &Path, n: usize, values: usize, [h, w, c]: [usize; 3]) -> Result<Read> {
    let is_array = at.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
    if !is_array {
        let text = files::read_text(at, MAX_BYTES, "file of noise levels")?;
        let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).filter(|(_, line)| !line.is_empty());
        let levels: Vec<f64> = lines
            .map(|(line, text)| {
                let what = || Error::format(at, format!("line {line}: {}: a number was expected", escaped(text)));
                text.parse().map_err(|_| what())
            })
            .collect::<Result<_>>()?;
        return match levels.len() == n {
            true => Ok(Read::Each(levels)),
            false => Err(Error::format(at, format!("{} levels for {n} noisy images: give one for each", levels.len()))),
        };
    }
    let array = npy::read(at)?;
    let Array { shape, .. } = &array;
    let levels = array.to_f64();
    let squeezed: Vec<usize> = if c == 1 { vec![h, w] } else { vec![h, w, c] };
    let of_all = [&[n][..], &squeezed].concat();
    // As the data themselves may be stored: signals without their one row, points without rows and columns.
    let mut maps = vec![squeezed.clone(), vec![h, w, c]];
    if h == 1 {
        maps.extend([vec![w, c], if c == 1 { vec![w] } else { vec![1, w, c] }]);
    }
    if h == 1 && w == 1 {
        maps.push(vec![c]);
    }
    let is_map = maps.iter().any(|map| shape == map || shape[..] == [&[n][..], map].concat());
    match shape[..] {
        [count] if count == n => Ok(Read::Each(levels)),
        [count, 1] if count == n && values != 1 => Ok(Read::Each(levels)),
        _ if is_map => Ok(Read::Map(levels)),
        _ => Err(Error::format(
            at,
            format!(
                "levels {shape:?} for {n} noisy images of {h} x {w} x {c}: give [{n}], or a map {squeezed:?} or {of_all:?}"
            ),
        )),
    }
}

/// Levels in units of the data as a model sees them.
pub(super) fn in_model(sigma: f64, units: &Units) -> NoiseLevels {
    NoiseLevels::One(sigma / units.of_noise())
}
