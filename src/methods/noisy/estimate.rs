//! The noise level of images that do not say it.
//!
//! Beside clean images: noise adds its variance to that of the finest detail, so the difference of the two is the
//! noise's. Alone: the median size of that detail is the noise's where most of an image has no other, and the
//! covariance of small patches has small eigenvalues that are the noise's variance alone, as pictures lie near fewer
//! dimensions than patches have (Chen, Zhu & Heng 2015, "An Efficient Statistical Method for Image Noise Level
//! Estimation", ICCV).

use faer::Mat;

use crate::data::Images;
use crate::error::{Error, Result};
use crate::figures::significant;
use crate::linear_algebra::svd;
use crate::random::{Purpose, RandomKey, permutation};

/// An estimated level, as a model sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// Its standard error, from how much parts of the data differ. What a method takes for noise that is none is no
    /// part of it.
    pub stderr: f64,
    /// Whether clean images helped.
    pub beside_clean: bool,
}

impl Estimate {
    /// In words, as multiples of `unit`.
    pub fn said(&self, unit: f64) -> String {
        let how = if self.beside_clean { "from noisy and clean images" } else { "from the noisy images alone" };
        let sigma = significant(self.sigma * unit, 4);
        if self.stderr <= AGREED * self.sigma {
            return format!(
                "noise estimated {how}: sigma {sigma} (without an error bar: the parts of the data agree to the last digit, \
                 as those of whole numbers may, which says nothing of the error)"
            );
        }
        format!("noise estimated {how}: sigma {sigma} ± {}", significant(self.stderr * unit, 2))
    }
}

/// Parts of data that differ by less than this share are the same by rounding, not by chance.
const AGREED: f64 = 1e-5;
/// `median |x|` of a normal law of unit variance.
pub(super) const NORMAL: f64 = 0.674_489_750_196_081_7;
/// Parts of the data whose differences tell the error.
const PARTS: usize = 10;
/// Images that are looked at.
const IMAGES: usize = 4000;
/// Side of patches, and length of those of signals.
const SIDE: usize = 5;
const LENGTH: usize = 12;

/// The level of the noise of images, with the help of clean ones if there are any.
///
/// Errors where it cannot be told: of fewer than 4 images, of points without clean ones, and where the noisy images
/// vary no more than the clean ones.
pub fn estimate(noisy: &Images, clean: Option<&Images>) -> Result<Estimate> {
    match clean.filter(|clean| clean.len() >= 2) {
        Some(clean) => beside(noisy, clean),
        None => alone(noisy),
    }
}

fn beside(noisy: &Images, clean: &Images) -> Result<Estimate> {
    let (noisy, clean) = (mean(&details(noisy)?), mean(&details(clean)?));
    let variance = noisy[0] - clean[0];
    let error = (noisy[1].powi(2) + clean[1].powi(2)).sqrt();
    if variance.is_nan() || variance <= 0.0 {
        return Err(Error::Config(
            "the noisy images have no more fine detail than the clean ones: the level of their noise cannot be estimated, so give it as a number"
                .into(),
        ));
    }
    let sigma = variance.sqrt();
    Ok(Estimate { sigma, stderr: error / (2.0 * sigma), beside_clean: true })
}

/// Mean and standard error.
pub(super) fn mean(values: &[f64]) -> [f64; 2] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    [mean, (squares / (n - 1.0).max(1.0) / n).sqrt()]
}

/// Of each image the mean square of the diagonal detail `(a - b - c + d) / 2` of neighbouring pixels, in which noise
/// keeps its variance while pictures have little; of signals, of `(a - b) / sqrt(2)`; of points, of their distance from
/// the mean.
pub(super) fn details(images: &Images) -> Result<Vec<f64>> {
    let [height, width, _] = images.size();
    let (pixels, values) = (images.pixels()?, images.values());
    if height == 1 && width == 1 {
        let n = images.len();
        let centre: Vec<f64> =
            (0..values).map(|d| (0..n).map(|i| f64::from(pixels[i * values + d])).sum::<f64>() / n as f64).collect();
        let square = |point: &[f32]| {
            point.iter().zip(&centre).map(|(x, m)| (f64::from(*x) - m).powi(2)).sum::<f64>() / values as f64
        };
        return Ok(pixels.chunks_exact(values).map(square).collect());
    }
    let of = |image: &[f32]| {
        let (mut sum, mut count) = (0.0, 0.0);
        detail(image, images.size(), |d| {
            sum += d * d;
            count += 1.0;
        });
        sum / f64::max(count, 1.0)
    };
    Ok(pixels.chunks_exact(values).map(of).collect())
}

/// Gives `each` the diagonal details of an image, or the differences of a signal.
fn detail(image: &[f32], size: [usize; 3], mut each: impl FnMut(f64)) {
    block_details(image, size, |block| each(block.detail));
}

/// A block of 2 x 2 pixels of a channel, or two neighbours of a signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub mean: f64,
    /// The diagonal detail, or the difference.
    pub detail: f64,
    /// The sum of squares of the details along rows and columns, which white noise makes independent of the other two.
    pub slope: f64,
}

/// Gives `each` every block of an image.
pub(super) fn block_details(image: &[f32], [height, width, channels]: [usize; 3], mut each: impl FnMut(Block)) {
    let at = |y: usize, x: usize, c: usize| f64::from(image[(y * width + x) * channels + c]);
    let pair = |a: f64, b: f64| Block { mean: (a + b) / 2.0, detail: (a - b) / 2f64.sqrt(), slope: 0.0 };
    for c in 0..channels {
        for (y, x) in (0..(height / 2).max(1)).flat_map(|y| (0..(width / 2).max(1)).map(move |x| (2 * y, 2 * x))) {
            each(match (height, width) {
                (1, _) => pair(at(y, x, c), at(y, x + 1, c)),
                (_, 1) => pair(at(y, x, c), at(y + 1, x, c)),
                _ => {
                    let [p, q, r, s] = [at(y, x, c), at(y, x + 1, c), at(y + 1, x, c), at(y + 1, x + 1, c)];
                    let (along, across) = ((p - q + r - s) / 2.0, (p + q - r - s) / 2.0);
                    let (mean, detail) = ((p + q + r + s) / 4.0, (p - q - r + s) / 2.0);
                    Block { mean, detail, slope: along * along + across * across }
                }
            });
        }
    }
}

fn alone(noisy: &Images) -> Result<Estimate> {
    let [height, width, _] = noisy.size();
    if height == 1 && width == 1 {
        return Err(Error::Config(
            "points have no neighbours that would tell noise from what they are: the level of their noise is estimated beside clean ones only"
                .into(),
        ));
    }
    if noisy.len() < 4 {
        let what = format!("the level of the noise of {} images cannot be estimated: give it as a number", noisy.len());
        return Err(Error::Config(what));
    }
    let count = noisy.len().min(IMAGES);
    let length = u32::try_from(noisy.len()).unwrap_or(u32::MAX);
    let mut picks = permutation(&RandomKey::new(0, Purpose::Split).at_site(2).stream()?, length);
    picks.truncate(count);
    // Whatever detail there is makes either too large, never too small.
    let of = |picks: &[u32]| Ok(of_patches(noisy, picks)?.min(of_details(noisy, picks)?));
    let whole = of(&picks)?;
    let parts = PARTS.min(count / 2);
    let each: Vec<f64> = picks.chunks(count.div_ceil(parts)).map(of).collect::<Result<_>>()?;
    Ok(Estimate { sigma: whole, stderr: mean(&each)[1], beside_clean: false })
}

/// The median size of the finest detail over that of a normal law of unit variance (Donoho & Johnstone 1994).
fn of_details(images: &Images, picks: &[u32]) -> Result<f64> {
    let mut all = Vec::new();
    let (pixels, _) = images.gather(picks)?;
    pixels.chunks_exact(images.values()).for_each(|image| detail(image, images.size(), |d| all.push(d.abs())));
    let middle = all.len() / 2;
    let (_, median, _) = all.select_nth_unstable_by(middle, f64::total_cmp);
    Ok(*median / NORMAL)
}

/// The root of the mean of the smallest eigenvalues of the patches' covariance: of as many as have their mean in their
/// middle.
fn of_patches(images: &Images, picks: &[u32]) -> Result<f64> {
    let [height, width, channels] = images.size();
    let (rows, columns) = if height == 1 { (1, LENGTH.min(width)) } else { (SIDE.min(height), SIDE.min(width)) };
    let dims = rows * columns;
    // Some patches of a large picture say as much as all.
    let stride = (((height * width) as f64 / 400.0).sqrt().round() as usize).max(1);
    let (mut sums, mut products, mut count) = (vec![0f64; dims], vec![0f64; dims * dims], 0f64);
    let mut patch = vec![0f64; dims];
    let (pixels, _) = images.gather(picks)?;
    for image in pixels.chunks_exact(images.values()) {
        for c in 0..channels {
            for y in (0..=height - rows).step_by(stride) {
                for x in (0..=width - columns).step_by(stride) {
                    for (i, value) in patch.iter_mut().enumerate() {
                        let (dy, dx) = (i / columns, i % columns);
                        *value = image[((y + dy) * width + x + dx) * channels + c].into();
                    }
                    count += 1.0;
                    for i in 0..dims {
                        sums[i] += patch[i];
                        (0..=i).for_each(|j| products[i * dims + j] += patch[i] * patch[j]);
                    }
                }
            }
        }
    }
    let covariance = Mat::from_fn(dims, dims, |i, j| {
        let (a, b) = (i.max(j), i.min(j));
        products[a * dims + b] / count - sums[a] / count * (sums[b] / count)
    });
    let mut values = svd("noise level", covariance.as_ref())?.values;
    values.resize(dims, 0.0);
    values.sort_by(f64::total_cmp);
    // From all of them down to the smallest half or fewer, until what is left lies evenly around its mean.
    for most in (1..=dims).rev() {
        let rest = &values[..most];
        let mean = rest.iter().sum::<f64>() / most as f64;
        let below = rest.iter().filter(|value| **value < mean).count();
        let above = rest.iter().filter(|value| **value > mean).count();
        if below <= above {
            return Ok(mean.max(0.0).sqrt());
        }
    }
    Ok(values[0].max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_rounding_hides_is_not_told() {
        let said = |stderr| Estimate { sigma: 0.5, stderr, beside_clean: false }.said(2.0);
        assert!(said(0.01).ends_with("sigma 1 ± 0.02"), "{}", said(0.01));
        for stderr in [0.0, 1e-9] {
            assert!(said(stderr).contains("sigma 1 (without an error bar") && !said(stderr).contains('±'));
        }
    }
}
