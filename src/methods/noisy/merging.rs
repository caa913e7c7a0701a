//! From which noise level on an image that is bad in any way, blurred or of another kind, is as good as a good one
//! (Daras, Rodriguez-Munoz, Klivans, Torralba & Daskalakis 2025, "Ambient Diffusion Omni", arXiv 2506.10038).
//!
//! Noise makes laws alike: from some level on a bad image with noise on it could be a good one with as much. A
//! classifier of good and bad images behind noise, which is told the level, finds where:
//!
//! ```text
//! merging(x) = the least sigma at which E_n c(x + sigma n; sigma) >= 0.45      c: the probability of a good image
//! ```
//!
//! The image then gets noise of that level, once for good, and is taken for a noisy version of a good image, as
//! [`ambient`](crate::methods::ambient) and [`sfbd`](crate::methods::sfbd) learn from.
//!
//! Each half of the bad images is judged by a classifier that was trained on the other half, for one that knows an
//! image by heart is not fooled by it. The good images are seen by both.

use super::levels::{self, NoiseLevels};
use super::sigma::Sigma;
use super::{NoisyData, alike, corrupted};
use crate::data::{DataSet, Images};
use crate::error::{Error, Result};
use crate::figures::significant;
use crate::nn::{Classifier, ClassifierConfig, Context, Layout, Module, Weights};
use crate::ops;
use crate::optim::{Decay, Schedule};
use crate::random::{self, Purpose, RandomKey, Samples, Sequence};
use crate::tensor::{DType, Device, Tensor};
use crate::train::{TrainOptions, Trainer};

/// The levels that are tried are spread evenly in their logarithm between these, as a model sees them.
const RANGE: [f64; 2] = [0.02, 10.0];
const LEVELS: usize = 24;
/// The probability of a good image at which the classifier is fooled.
const FOOLED: f64 = 0.45;
/// Draws of the noise on an image at each level.
const DRAWS: usize = 8;
/// Training of the classifier: steps, and images of each kind in one.
const STEPS: u64 = 400;
const HALF_BATCH: usize = 32;
const LEARNING_RATE: f64 = 2e-3;
/// Images that are judged at once.
const AT_ONCE: usize = 256;
/// Fewer images of either kind say nothing.
const LEAST: usize = 8;
/// Sites of the classifier's choices and noise, and of the noise on what is judged.
const TRAINING: u32 = 2;
const NOISE: u32 = 3;
const JUDGING: u32 = 4;

impl NoisyData {
    /// A clean set and images that are bad in another way than by noise. `sigma` says from which level of noise on each
    /// is as good as a clean one: a number for all, a file of one for each (`inf`: never), or
    /// [found](merging_levels) beside the clean ones on `device`. The images get noise of their level, one draw for
    /// good of `seed`; those that never merge are left out.
    ///
    /// Errors where [`given`](Self::given) and [`merging_levels`] do, without clean images to find levels beside, and
    /// where no image merges.
    pub fn merged(clean: Option<DataSet>, bad: DataSet, sigma: &Sigma, seed: u64, device: &Device) -> Result<Self> {
        let mut accounts = alike(&clean, &bad)?;
        let (n, unit) = (bad.train.len(), bad.train.units().of_noise());
        let all = match sigma {
            Sigma::Number(sigma) if !(sigma.is_finite() && *sigma > 0.0) => {
                return Err(Error::Config(format!("a merging level of {sigma}, expected above 0, auto, or a file")));
            }
            Sigma::Number(sigma) => vec![sigma / unit; n],
            Sigma::File(path) => levels::merging_of_file(path, &bad.train)?,
            Sigma::Auto => {
                let clean = clean.as_ref().ok_or_else(|| {
                    Error::Config(
                        "merging levels are found beside clean images: name some with --data PATH, or give the levels"
                            .into(),
                    )
                })?;
                merging_levels(&clean.train, &bad.train, seed, device)?
            }
        };
        let kept: Vec<u32> = (0..n as u32).filter(|i| all[*i as usize].is_finite()).collect();
        let mut levels: Vec<f64> = kept.iter().map(|i| all[*i as usize]).collect();
        let mut sorted = levels.clone();
        sorted.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return Err(Error::Config(format!(
                "none of the {n} images of {} merges with the clean ones at any level of noise: there is nothing to learn from them",
                bad.name
            )));
        };
        let [least, median, most] = [*least, sorted[sorted.len() / 2], *most].map(|sigma| significant(sigma * unit, 4));
        let how = if *sigma == Sigma::Auto { ", by a classifier of clean and bad images behind noise" } else { "" };
        accounts
            .push(format!("merging levels{how}: {least} to {most}, median {median}; images got noise up to theirs"));
        if kept.len() < n {
            let out = n - kept.len();
            accounts
                .push(format!("{out} of {n} images are told from clean ones at every level of noise, and left out"));
        }
        let levels = match levels.iter().all(|sigma| *sigma == levels[0]) {
            true => NoiseLevels::One(levels.swap_remove(0)),
            false => NoiseLevels::Each(levels),
        };
        let train = corrupted(&bad.train.select(&kept)?, &kept, &levels, seed)?;
        Ok(Self::of(clean, DataSet { train, ..bad }, levels, accounts))
    }
}

/// The level of each bad image as a model sees it, from which on it is as good as a good one; infinite where it is
/// told from these at every level.
///
/// Errors on fewer than 8 images of either kind, and on points and signals, which the classifier does not take.
pub fn merging_levels(good: &Images, bad: &Images, seed: u64, device: &Device) -> Result<Vec<f64>> {
    let [height, width, _] = bad.size();
    if height < 2 || width < 2 {
        return Err(Error::Config(
            "merging levels are found of pictures alone: give a number, or a file with a level for each".into(),
        ));
    }
    if good.len().min(bad.len()) < LEAST {
        return Err(Error::Config(format!(
            "merging levels cannot be found with {} good and {} bad images ({LEAST} of each are needed): give a number, or a file with a level for each",
            good.len(),
            bad.len()
        )));
    }
    let mut found = vec![f64::INFINITY; bad.len()];
    for half in 0..2 {
        let of = |other: usize| (0..bad.len() as u32).filter(move |i| *i as usize % 2 == other).collect::<Vec<u32>>();
        let judge = Judge::train(good, bad, &of(1 - half), RandomKey::stage_seed(seed, half as u32)?, device)?;
        let judged = of(half);
        for part in judged.chunks(AT_ONCE) {
            for (i, level) in part.iter().zip(judge.merging(bad, part, seed)?) {
                found[*i as usize] = level;
            }
        }
    }
    Ok(found)
}

/// The level at a place on the way from the least to the greatest.
fn level(share: f64) -> f64 {
    RANGE[0] * (RANGE[1] / RANGE[0]).powf(share)
}

/// A classifier of good and bad images behind noise.
struct Judge {
    network: Classifier,
    weights: Weights,
    /// Standard deviation of the good images.
    deviation: f64,
    device: Device,
}

impl Judge {
    /// Trained on the bad images at `indices`, as many good ones in each step, each behind noise of its own.
    fn train(good: &Images, bad: &Images, indices: &[u32], seed: u64, device: &Device) -> Result<Self> {
        let [height, width, channels] = bad.size();
        // Between two stages the resolution is halved.
        let stages: &[usize] = if height.min(width) >= 4 { &[32, 64] } else { &[32] };
        let config =
            ClassifierConfig { img_channels: channels + 1, classes: 2, channels: stages.to_vec(), dropout: 0.0 };
        let mut layout = Layout::new();
        let network = Classifier::new(&mut layout.scope("merging"), &config)?;
        let weights = Weights::init(&layout.into(), seed, device)?;
        let mut judge = Judge { network, weights, deviation: good.deviation(), device: device.clone() };
        let batch = 2 * HALF_BATCH;
        let total = STEPS * batch as u64;
        let schedule = Schedule { warm_up: total / 20, decay: Decay::Cosine { total } };
        let options = TrainOptions { schedule, ..TrainOptions::adam(LEARNING_RATE, seed) };
        let mut trainer = Trainer::new(judge.weights.clone(), options)?;
        let labels: Vec<u32> = (0..batch).map(|i| u32::from(i < HALF_BATCH)).collect();
        let labels = Tensor::from_slice(&labels, [batch], device)?;
        for step in 0..STEPS {
            let key = RandomKey::new(seed, Purpose::Corruption).at_site(TRAINING).at_step(step as u32);
            let mut random = Sequence::new(&key.stream()?, 0);
            let mut some = |all: usize| (0..HALF_BATCH).map(|_| random.below(all as u64) as u32).collect::<Vec<_>>();
            let (of_good, of_bad) = (some(good.len()), some(indices.len()));
            let of_bad: Vec<u32> = of_bad.into_iter().map(|i| indices[i as usize]).collect();
            let pixels = [good.gather(&of_good)?.0, bad.gather(&of_bad)?.0].concat();
            let levels: Vec<f64> = (0..batch).map(|_| level(random.uniform())).collect();
            let ids: Vec<u32> = (0..batch as u32).collect();
            let key = RandomKey::new(seed, Purpose::Corruption).at_site(NOISE).at_step(step as u32);
            let x = judge.input(&pixels, bad.size(), &levels, key, &ids)?;
            trainer.step(batch, |cx| {
                let logits = judge.network.forward(cx, &x.into())?;
                ops::cross_entropy(&ops::cast(&logits, DType::F32)?, &labels)
            })?;
        }
        judge.weights = trainer.weights().clone();
        Ok(judge)
    }

    /// The least level at which each of these images fools the judge.
    fn merging(&self, bad: &Images, indices: &[u32], seed: u64) -> Result<Vec<f64>> {
        let (pixels, _) = bad.gather(indices)?;
        let mut found = vec![f64::INFINITY; indices.len()];
        let cx = Context::inference(&self.weights);
        for place in 0..LEVELS {
            let sigma = level(place as f64 / (LEVELS - 1) as f64);
            let mut good = vec![0f64; indices.len()];
            for draw in 0..DRAWS {
                let step = (place * DRAWS + draw) as u32;
                let key = RandomKey::new(seed, Purpose::Corruption).at_site(JUDGING).at_step(step);
                let x = self.input(&pixels, bad.size(), &vec![sigma; indices.len()], key, indices)?;
                let logits = ops::cast(&self.network.forward(&cx, &x.into())?, DType::F32)?;
                let probabilities = ops::softmax(&logits)?.value().to_vec::<f32>()?;
                for (good, pair) in good.iter_mut().zip(probabilities.as_chunks::<2>().0) {
                    *good += f64::from(pair[1]) / DRAWS as f64;
                }
            }
            for (found, good) in found.iter_mut().zip(&good) {
                if *good >= FOOLED {
                    *found = found.min(sigma);
                }
            }
        }
        Ok(found)
    }

    /// Images with noise of their levels, scaled to unit size, and beside them a channel that says the level.
    fn input(
        &self,
        pixels: &[f32],
        [h, w, c]: [usize; 3],
        levels: &[f64],
        key: RandomKey,
        ids: &[u32],
    ) -> Result<Tensor> {
        let values = h * w * c;
        let mut noise = vec![0f32; pixels.len()];
        random::fill(random::Normal, &key.stream()?, Samples::Ids(ids), values, &mut noise)?;
        let mut x = Vec::with_capacity(levels.len() * h * w * (c + 1));
        for (i, sigma) in levels.iter().enumerate() {
            let scale = (sigma * sigma + self.deviation * self.deviation).sqrt().recip();
            let image = i * values..(i + 1) * values;
            let told = (sigma.ln() / 2.0) as f32;
            for (pixels, noise) in pixels[image.clone()].chunks_exact(c).zip(noise[image].chunks_exact(c)) {
                x.extend(
                    pixels.iter().zip(noise).map(|(y, n)| ((f64::from(*y) + sigma * f64::from(*n)) * scale) as f32),
                );
                x.push(told);
            }
        }
        Tensor::from_slice(&x, [levels.len(), h, w, c + 1], &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::digits;

    /// Digits under a mean over `side` pixels either way.
    fn blurred(images: &Images, indices: &[u32], side: i64) -> Vec<f32> {
        let (pixels, _) = images.gather(indices).unwrap();
        let [h, w, _] = images.size();
        let at = |image: usize, y: i64, x: i64| {
            let (y, x) = (y.clamp(0, h as i64 - 1) as usize, x.clamp(0, w as i64 - 1) as usize);
            pixels[(image * h + y) * w + x]
        };
        let of = |i: usize| {
            let (image, y, x) = (i / (h * w), (i / w % h) as i64, (i % w) as i64);
            let all = (-side..=side).flat_map(|dy| (-side..=side).map(move |dx| (dy, dx)));
            all.map(|(dy, dx)| at(image, y + dy, x + dx)).sum::<f32>() / ((2 * side + 1) * (2 * side + 1)) as f32
        };
        (0..pixels.len()).map(of).collect()
    }

    #[test]
    fn the_more_an_image_is_blurred_the_later_it_merges() {
        let all = digits::load().unwrap().train;
        // Neighbours are by one writer, and a classifier would tell writers: each kind is of all.
        let pick = |first: u32, count: u32| (0..count).map(|i| first + 12 * i).collect::<Vec<u32>>();
        let good = all.select(&(0..3).flat_map(|first| pick(first, 100)).collect::<Vec<u32>>()).unwrap();
        // As good as the good ones, blurred a little, blurred much.
        let parts = [(3, 0), (6, 1), (9, 2)];
        let pixels: Vec<f32> = parts.iter().flat_map(|&(first, side)| blurred(&all, &pick(first, 100), side)).collect();
        let bad = Images::new(pixels, vec![0; 300], all.size(), 1).unwrap();
        let levels = merging_levels(&good, &bad, 0, &Device::Cpu).unwrap();
        let median = |part: &[f64]| {
            let mut sorted = part.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[50]
        };
        let [sharp, little, much] = [0, 100, 200].map(|first| median(&levels[first..first + 100]));
        assert!(sharp < 0.1, "{sharp}");
        assert!(little > 3.0 * sharp && much >= little && much.is_finite(), "{sharp} {little} {much}");
    }

    #[test]
    fn too_little_to_tell_is_an_error() {
        let few = Images::new(vec![0.0; 7 * 64], vec![0; 7], [8, 8, 1], 1).unwrap();
        let error = merging_levels(&few, &few, 0, &Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("7 good and 7 bad images"), "{error}");
        let points = Images::new(vec![0.0; 40], vec![0; 20], [1, 1, 2], 1).unwrap();
        assert!(merging_levels(&points, &points, 0, &Device::Cpu).unwrap_err().to_string().contains("pictures alone"));
    }

    #[test]
    fn images_get_noise_of_their_level_and_those_that_never_merge_are_left_out() {
        let set = |value: f32| {
            let pixels: Vec<f32> = (0..40 * 64).map(|i| value + (i % 3) as f32 / 10.0).collect();
            DataSet::new("set", Images::new(pixels, vec![0; 40], [8, 8, 1], 1).unwrap())
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), (0..40).map(|i| if i < 10 { "inf\n" } else { "0.5\n" }).collect::<String>())
            .unwrap();
        let sigma = Sigma::File(file.path().to_str().unwrap().into());
        let merged = |sigma: &Sigma| NoisyData::merged(Some(set(0.0)), set(0.2), sigma, 0, &Device::Cpu);
        let data = merged(&sigma).unwrap();
        assert_eq!((data.noisy().unwrap().len(), &data.levels), (30, &NoiseLevels::One(0.5)));
        assert!(data.accounts.join("\n").contains("10 of 40 images are told"), "{:?}", data.accounts);
        let bad = set(0.2).train;
        let noise: Vec<f64> =
            data.noisy().unwrap().pixels().iter().zip(&bad.pixels()[640..]).map(|(y, x)| f64::from(y - x)).collect();
        let variance = noise.iter().map(|n| n * n).sum::<f64>() / noise.len() as f64;
        approx::assert_relative_eq!(variance.sqrt(), 0.5, max_relative = 0.05);
        std::fs::write(file.path(), "inf\n".repeat(40)).unwrap();
        assert!(merged(&sigma).unwrap_err().to_string().contains("none of the 40 images"));
        std::fs::write(file.path(), "0\n".repeat(40)).unwrap();
        assert!(merged(&sigma).unwrap_err().to_string().contains("must be above 0"));
        assert!(merged(&Sigma::Number(-1.0)).unwrap_err().to_string().contains("a merging level of -1"));
        let alone = NoisyData::merged(None, set(0.2), &Sigma::Auto, 0, &Device::Cpu);
        assert!(alone.unwrap_err().to_string().contains("name some with --data"));
    }
}
