//! How far a model's samples are from the data, while it trains.

use serde::Serialize;

use super::config::RunConfig;
use crate::data::{DataSet, Images};
use crate::diffusion::{Model, Sampler, random_classes};
use crate::error::Result;
use crate::memory;
use crate::metrics;
use crate::random::{Purpose, RandomKey, permutation};

/// Images of the data that samples are compared with at most.
const REFERENCE: usize = 2000;
/// Directions of the sliced Wasserstein distance.
const DIRECTIONS: usize = 128;

/// A line of the log: distances on pixels (on coordinates, for points) between samples and test images, or training
/// images where the data have no others.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Distances {
    pub step: u64,
    pub seen: u64,
    /// [`metrics::kid`].
    pub kid: f64,
    /// Its standard error, of samples and images alike ([`metrics::kid_with_error`]).
    pub kid_error: f64,
    /// [`metrics::sliced_wasserstein`] of order 1, in the units of [`Units::of_distances`](crate::units::Units).
    pub sliced_wasserstein: f64,
}

/// Errors where [`distances`] would whatever the samples are; says so if there will be none though they are asked for.
pub(super) fn check(config: &RunConfig, data: &DataSet) -> Result<Option<String>> {
    let (count, dims) = (config.sampling.measured as u128, data.train.values() as u128);
    let real = data.test.as_ref().unwrap_or(&data.train);
    if count == 0 {
        return Ok(None);
    }
    if real.len() < 2 {
        let what = "distances are left out: they need two images or more to compare samples with, and there is one";
        return Ok(Some(format!("{what} (sampling.measured = {count})")));
    }
    // Samples twice, as tensors and as rows, these and the images once more in f64, and the directions in two
    // precisions.
    let bytes = 4 * dims * (4 * count + 3 * REFERENCE as u128) + 12 * dims * DIRECTIONS as u128;
    memory::check(bytes, &format!("measuring {count} samples"), "lower sampling.measured")?;
    let (few, _) = real.gather(&[0, 1])?;
    metrics::kid(&few, &few, data.train.values())?;
    metrics::sliced_wasserstein(&few, &few, data.train.values(), DIRECTIONS, 1.0, 0)?;
    Ok(None)
}

/// The distances of `sampling.measured` samples, `None` if that is 0 or there is but one image to compare them with.
/// The samples start from the same noise and have the same classes each time, and the images are the same, so that a
/// curve shows the model's change alone.
pub(super) fn distances(
    config: &RunConfig,
    data: &DataSet,
    model: &Model,
    (step, seen): (u64, u64),
) -> Result<Option<Distances>> {
    let count = config.sampling.measured;
    let images = data.test.as_ref().unwrap_or(&data.train);
    if count == 0 || images.len() < 2 {
        return Ok(None);
    }
    let (sampler, seed) = (config.sampling.sampler(), config.sampling.seed);
    let classes = model.denoiser().label_dim();
    let ids: Vec<u32> = (0..count as u32).collect();
    let labels = if classes > 0 { random_classes(seed, &ids, classes)? } else { Vec::new() };
    let samples = draw(&sampler, model, seed, count, &labels)?;
    let real = some(images, REFERENCE)?;
    let dims = data.train.values();
    let (kid, kid_error) = metrics::kid_with_error(&samples, &real, dims)?;
    Ok(Some(Distances {
        step,
        seen,
        kid,
        kid_error,
        sliced_wasserstein: images.units().of_noise()
            * metrics::sliced_wasserstein(&samples, &real, dims, DIRECTIONS, 1.0, seed)?,
    }))
}

/// The values of samples 0 to `count`; `labels` are their classes, where the model has any.
pub(crate) fn draw(sampler: &Sampler, model: &Model, seed: u64, count: usize, labels: &[u32]) -> Result<Vec<f32>> {
    match labels {
        [] => sampler.sample(model, seed, 0, count)?,
        _ => sampler.sample_classes(model, seed, 0, labels)?,
    }
    .to_vec()
}

/// The values of some of the images, `most` of them if there are so many, chosen at random: data often come sorted.
pub(super) fn some(images: &Images, most: usize) -> Result<Vec<f32>> {
    let length = u32::try_from(images.len()).unwrap_or(u32::MAX);
    let mut picks = permutation(&RandomKey::new(0, Purpose::Metrics).stream()?, length);
    picks.truncate(most);
    Ok(images.gather(&picks)?.0)
}
