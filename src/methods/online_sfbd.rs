//! Online SFBD: forward-backward deconvolution without rounds (Lu, Wu & Yu 2025, arXiv 2506.02371).
//!
//! ```text
//! 1  train D on the clean set for a while
//! 2  fill a buffer with every noisy image, denoised by D
//! 3  repeat:  a number of steps on clean set and buffer; the buffer's weight rises from 0 to 1 at first
//! 4           denoise some noisy images again with the present D, and replace some of their old selves
//! ```
//!
//! The lines are ours, after the paper's description of its online algorithm.
//!
//! Training and sampling share one process and one set of weights. How many of the new images replace their old selves
//! is fixed or decided by the KID to the clean images. The papers' rule for that is not public to us, so this is ours:
//! with the distances `old` and `new` of the same images before and after, the share `(old - new) / |old|` of them is
//! replaced, but at least a tenth, so that the buffer never stands still. Of a few images on their pixels the two are
//! noisy numbers, and whether the rule is worth anything beside a fixed share was not tried.

use std::fmt::Debug;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::denoising::denoise;
use super::noisy::{NoiseLevels, NoisyData, joined};
use crate::data::Images;
use crate::diffusion::{Model, Sampler};
use crate::error::{Error, Result};
use crate::metrics;
use crate::random::{Purpose, RandomKey, permutation};
use crate::train::{RunConfig, Source};

/// Images that are on the device at once while they are denoised.
const AT_ONCE: usize = 256;
/// Least share of a refresh that replaces its old selves.
const LEAST_SHARE: f64 = 0.1;
/// Images that KID compares at most: its work grows with their square.
const COMPARED: usize = 1000;

crate::choice! {
    /// How many of a refresh's images replace their old selves.
    pub enum Refresh {
        /// As many as the KID to the clean images improves by.
        Kid = "kid",
        /// All of them.
        Fixed = "fixed",
    }
}

crate::settings! {
    /// Online SFBD: no rounds, but a buffer of denoised images that is refreshed while it is trained on.
    pub struct OnlineSection {
        /// Whether it takes the place of the rounds.
        enabled: bool = false;
        /// Training images after the pre-training.
        images: u64 = 400_000, in 1..=1 << 50;
        /// Training images over which the buffer's weight rises from 0 to 1.
        ramp_images: u64 = 50_000, in 0..=1 << 50;
        /// Steps between two refreshes.
        every: u64 = 20, in 1..=1 << 32;
        /// Images that are denoised at a refresh.
        count: usize = 64, in 1..=1 << 32;
        /// How many of them replace their old selves.
        refresh: Refresh = Refresh::Kid;
    }
}

/// Clean images and a buffer of denoised ones, index after index: a source of training images.
#[derive(Debug)]
pub struct OnlineSfbd<'a> {
    clean: &'a Images,
    noisy: &'a Images,
    levels: &'a NoiseLevels,
    denoiser: Sampler,
    seed: u64,
    /// The step at which the buffer is filled, and over how many its weight then rises.
    first: u64,
    ramp: u64,
    every: u64,
    count: usize,
    by_kid: bool,
    /// The noisy images that the buffer holds, in rising order: those that the run draws or denoises again.
    held: Vec<u32>,
    /// Pixels of these, denoised; empty before it is filled.
    buffer: Vec<f32>,
    /// The step before which they were last denoised.
    refreshed: Option<u64>,
}

impl<'a> OnlineSfbd<'a> {
    /// With the buffer filled before step `first`. Errors without clean or noisy images.
    pub fn new(
        section: &OnlineSection,
        data: &'a NoisyData,
        denoiser: Sampler,
        run: &RunConfig,
        first: u64,
    ) -> Result<Self> {
        let (clean, noisy, steps) = (data.clean()?, data.noisy()?, run.train.steps());
        let mut source = OnlineSfbd {
            clean,
            noisy,
            levels: &data.levels,
            denoiser,
            seed: run.train.seed,
            first,
            ramp: section.ramp_images.div_ceil(run.train.batch as u64),
            every: section.every,
            count: section.count.min(noisy.len()),
            by_kid: section.refresh == Refresh::Kid,
            held: Vec::new(),
            buffer: Vec::new(),
            refreshed: None,
        };
        // What the run never touches need not be denoised, and changes nothing.
        let mut held = run.batches(clean.len() + noisy.len())?.drawn(first..steps.max(first))?.split_off(clean.len());
        for refresh in 1..steps.saturating_sub(first).div_ceil(section.every) {
            if held.iter().all(|&held| held) {
                break;
            }
            source.chosen(refresh)?.into_iter().for_each(|i| held[i as usize] = true);
        }
        source.held = (0..noisy.len() as u32).filter(|&i| held[i as usize]).collect();
        Ok(source)
    }

    /// The images that a refresh denoises again.
    fn chosen(&self, refresh: u64) -> Result<Vec<u32>> {
        let key = RandomKey::new(self.seed, Purpose::Split).at_site(1).at_step(refresh as u32);
        let mut chosen = permutation(&key.stream()?, self.noisy.len() as u32);
        chosen.truncate(self.count);
        Ok(chosen)
    }

    /// Where the buffer has the noisy image `i`.
    fn place(&self, i: u32) -> Option<std::ops::Range<usize>> {
        let (row, values) = (self.held.binary_search(&i).ok()?, self.noisy.values());
        (!self.buffer.is_empty()).then_some(row * values..(row + 1) * values)
    }

    /// A set of the same length, for the run: the clean images, then the noisy ones where the buffer will be.
    pub fn placeholder(&self) -> Result<Images> {
        joined(&[self.clean, self.noisy])
    }

    /// The buffer's weight at a step, from 0 to 1.
    pub fn weight(&self, step: u64) -> f64 {
        match (step < self.first || self.buffer.is_empty(), self.ramp) {
            (true, _) => 0.0,
            (false, 0) => 1.0,
            (false, ramp) => ((step - self.first) as f64 / ramp as f64).min(1.0),
        }
    }

    /// The denoised images that the run has use for, once there are some.
    pub fn buffer(&self) -> &[f32] {
        &self.buffer
    }

    fn denoise(&self, model: &Model, indices: &[u32], refresh: u64) -> Result<Vec<f32>> {
        // Each refresh has noise of its own, where the denoiser adds some.
        let seed = RandomKey::stage_seed(self.seed, 1 + refresh as u32)?;
        // Some at a time: a device need not hold them all.
        let parts =
            indices.chunks(AT_ONCE).map(|part| denoise(&self.denoiser, model, self.noisy, part, self.levels, seed));
        Ok(parts.collect::<Result<Vec<_>>>()?.concat())
    }

    fn missing(&self, i: u32) -> Error {
        Error::argument("OnlineSfbd", format!("image {i} is not among the {} of this run's buffer", self.held.len()))
    }

    /// How many of `count` new images replace their old selves.
    fn replaced(&self, old: &[f32], new: &[f32], count: usize) -> Result<usize> {
        let (dims, clean) = (self.noisy.values(), self.clean.pixels()?);
        if !self.by_kid || count < 2 || self.clean.len() < 2 {
            return Ok(count);
        }
        let some = |pixels: &'_ [f32]| pixels[..pixels.len().min(COMPARED * dims)].to_vec();
        let clean = some(&clean);
        let (old, new) = (metrics::kid(&some(old), &clean, dims)?, metrics::kid(&some(new), &clean, dims)?);
        let share = if old == 0.0 { 0.0 } else { (old - new) / old.abs() };
        Ok((share.clamp(LEAST_SHARE, 1.0) * count as f64).ceil() as usize)
    }
}

impl Source for OnlineSfbd<'_> {
    fn before(&mut self, step: u64, model: &dyn Fn() -> Result<Model>, note: &mut dyn FnMut(&str)) -> Result<()> {
        // A step that is left and made again finds what was denoised for it.
        if step < self.first || !(step - self.first).is_multiple_of(self.every) || self.refreshed == Some(step) {
            return Ok(());
        }
        let refresh = (step - self.first) / self.every;
        if self.buffer.is_empty() {
            // Line 2.
            note(&format!("filling the buffer with {} denoised images", self.held.len()));
            self.buffer = self.denoise(&model()?, &self.held, refresh)?;
            self.refreshed = Some(step);
            return Ok(());
        }
        // Line 4.
        let chosen = self.chosen(refresh)?;
        let new = self.denoise(&model()?, &chosen, refresh)?;
        let places =
            chosen.iter().map(|&i| self.place(i).ok_or_else(|| self.missing(i))).collect::<Result<Vec<_>>>()?;
        let old: Vec<f32> = places.iter().flat_map(|place| &self.buffer[place.clone()]).copied().collect();
        let count = self.replaced(&old, &new, chosen.len())?;
        for (place, pixels) in places.into_iter().zip(new.chunks_exact(self.noisy.values())).take(count) {
            self.buffer[place].copy_from_slice(pixels);
        }
        self.refreshed = Some(step);
        Ok(())
    }

    /// Lines 1 and 3. A place in the batch that falls to the buffer keeps it with the probability of the buffer's
    /// weight; else a clean image takes the place. So the mean loss weighs the buffer by its weight, and every batch is
    /// full.
    fn gather(&self, step: u64, first: usize, indices: &[u32]) -> Result<(Vec<f32>, Vec<u32>)> {
        let stream = RandomKey::new(self.seed, Purpose::Split).at_site(2).at_step(step as u32).stream()?;
        let (weight, kept) = (self.weight(step), self.clean.len() as u32);
        let mut pixels = Vec::with_capacity(indices.len() * self.noisy.values());
        let mut labels = Vec::with_capacity(indices.len());
        for (row, &index) in indices.iter().enumerate() {
            let [lot, other, ..] = stream.block((first + row) as u32, 0);
            let denoised = index.checked_sub(kept).filter(|_| f64::from(lot) < weight * 4_294_967_296.0);
            match denoised {
                Some(i) => {
                    pixels.extend_from_slice(&self.buffer[self.place(i).ok_or_else(|| self.missing(i))?]);
                    labels.push(self.noisy.labels()[i as usize]);
                }
                None => {
                    let clean = if index < kept { index } else { ((u64::from(other) * u64::from(kept)) >> 32) as u32 };
                    let (image, label) = self.clean.gather(&[clean])?;
                    pixels.extend(image);
                    labels.extend(label);
                }
            }
        }
        Ok((pixels, labels))
    }

    fn state(&self) -> Result<Vec<u8>> {
        let bad = |e: safetensors::SafeTensorError| Error::argument("OnlineSfbd", e.to_string());
        let bytes: Vec<u8> = self.buffer.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![self.buffer.len()], &bytes).map_err(bad)?;
        let steps: Vec<u8> = self.refreshed.iter().flat_map(|step| step.to_le_bytes()).collect();
        let refreshed = TensorView::new(Dtype::U64, vec![steps.len() / 8], &steps).map_err(bad)?;
        safetensors::serialize([("buffer", view), ("refreshed", refreshed)], None).map_err(bad)
    }

    fn restore(&mut self, state: &[u8]) -> Result<()> {
        let bad = |what: String| Error::Config(format!("the checkpoint's buffer of denoised images: {what}"));
        let tensors = SafeTensors::deserialize(state).map_err(|e| bad(e.to_string()))?;
        let view = tensors.tensor("buffer").map_err(|e| bad(e.to_string()))?;
        let buffer: Vec<f32> = view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        let whole = self.held.len() * self.noisy.values();
        if view.dtype() != Dtype::F32 || !(buffer.is_empty() || buffer.len() == whole) {
            let what = "resume with the settings that the run began with";
            return Err(bad(format!("{} values, expected none or {whole}; {what}", buffer.len())));
        }
        self.buffer = buffer;
        // Checkpoints of earlier versions, which never left a step, do not say it.
        let refreshed = tensors.tensor("refreshed").ok();
        self.refreshed = refreshed.and_then(|view| view.data().first_chunk().map(|&step| u64::from_le_bytes(step)));
        Ok(())
    }
}
