//! What a stage leaves in its directory.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::Images;
use crate::error::{Error, Result};
use crate::methods::noisy::subset;
use crate::methods::pages::read_json;
use crate::tensor::{TensorFile, file};
use crate::train::evaluate::Comparison;
use crate::train::{End, Existing, RunDir};

/// Images that are denoised at once, and stand in one file until the round is over.
const PART: usize = 256;
/// Images of a round that are kept for pictures.
pub const SHOWN: usize = 10;
/// Says that a stage is over.
const RECORD: &str = "round.json";

/// What a finished stage measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Which; 0 is the pre-training.
    pub round: u32,
    /// Images that its training saw (with a kept optimiser, in all).
    pub images: u64,
    /// Distances of what the model draws afterwards.
    pub generated: Option<Comparison>,
    /// Distances of the denoised images that it was trained on.
    pub denoised: Option<Comparison>,
    /// Root mean square error of these against the images without noise, where those are known.
    pub rms_error: Option<f64>,
}

/// The directory of stage `k`.
pub(super) fn directory(place: &RunDir, k: u32) -> PathBuf {
    place.path().join("rounds").join(format!("{k:02}"))
}

/// Whether an earlier session began to train there: settings are the first thing that a run writes.
pub(super) fn begun(directory: &Path) -> bool {
    directory.join("config.toml").is_file()
}

/// Takes a stage's directory over from an earlier session, or makes it.
pub(super) fn open(directory: &Path, resume: bool) -> Result<RunDir> {
    RunDir::create(directory, if resume { Existing::Resume } else { Existing::Overwrite })
}

impl Round {
    /// What the stage wrote when it was over; `None` if it is not.
    pub fn read(place: &RunDir, k: u32) -> Result<Option<Self>> {
        let path = directory(place, k).join(RECORD);
        read_json(&path)
    }

    /// Says that the stage is over.
    pub(super) fn write(self, place: &RunDir) -> Result<Self> {
        let path = directory(place, self.round).join(RECORD);
        let relative = path.strip_prefix(place.path()).unwrap_or(&path).to_path_buf();
        place.write_json(relative, &self)?;
        Ok(self)
    }
}

/// What a round trains on.
pub(super) struct Denoised {
    /// As many as there are noisy ones; those that nothing needs are still noisy.
    pub images: Images,
    /// Those that were denoised, in rising order.
    indices: Vec<u32>,
}

impl Denoised {
    /// Those that were denoised, as a set.
    pub fn done(&self) -> Result<Images> {
        subset(&self.images, &self.indices)
    }

    /// Root mean square error of those that were denoised against the images without noise.
    pub fn rms_error(&self, originals: &Images) -> Result<f64> {
        let ((a, _), (b, _)) = (self.images.gather(&self.indices)?, originals.gather(&self.indices)?);
        let sum: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        Ok((sum / a.len() as f64).sqrt())
    }
}

/// The `needed` images of `noisy`, denoised by `denoise`, which is asked for some at a time. What an earlier session denoised is read from
/// `directory`.
pub(super) fn denoised(
    directory: &Path,
    noisy: &Images,
    needed: Vec<u32>,
    mut denoise: impl FnMut(&[u32]) -> Result<ControlFlow<End, Vec<f32>>>,
) -> Result<ControlFlow<End, Denoised>> {
    fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
    let values = noisy.values();
    let mut pixels = noisy.pixels().into_owned();
    for indices in needed.chunks(PART) {
        let path = directory.join(format!("part-{:06}.safetensors", indices[0]));
        let known = part(&path).filter(|part| part.len() == indices.len() * values);
        let part = match known {
            Some(part) => part,
            None => match denoise(indices)? {
                ControlFlow::Break(end) => return Ok(ControlFlow::Break(end)),
                ControlFlow::Continue(part) => {
                    let shape = [indices.len(), values].into();
                    file::write(&path, [("images", shape, part.clone())], &BTreeMap::new())?;
                    part
                }
            },
        };
        for (&i, image) in indices.iter().zip(part.chunks_exact(values)) {
            pixels[i as usize * values..][..values].copy_from_slice(image);
        }
    }
    let images = Images::new(pixels, noisy.labels().to_vec(), noisy.size(), noisy.classes())?;
    Ok(ControlFlow::Continue(Denoised { images, indices: needed }))
}

/// A part that was written; torn or foreign ones are made again.
fn part(path: &Path) -> Option<Vec<f32>> {
    TensorFile::open(path).ok()?.floats("images").ok()?
}

/// The first denoised images of a round, of `values` numbers each, for pictures: as many of [`SHOWN`] as there are.
pub fn shown(place: &RunDir, k: u32, values: usize) -> Option<Vec<f32>> {
    let mut pixels = part(&directory(place, k).join("denoised/part-000000.safetensors"))?;
    pixels.truncate(SHOWN * values);
    Some(pixels)
}

/// Removes the denoised images of a stage that is over, but for those that pictures show.
pub(super) fn tidy(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory.join("denoised")) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(|e| Error::io(directory, e))?.path();
        if !path.ends_with("part-000000.safetensors") {
            fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
    }
    Ok(())
}

/// Images as bytes, clipped to [-1, 1]: what an 8-bit picture keeps of them.
pub(super) fn as_bytes(images: &Images) -> Result<Images> {
    let byte = |x: &f32| ((x.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
    let bytes = images.pixels().iter().map(byte).collect();
    Images::from_bytes(bytes, images.labels().to_vec(), images.size(), images.classes())
}
