//! What a stage leaves in its directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::{Images, Kind};
use crate::error::{Error, Result};
use crate::evaluate::Comparison;
use crate::methods::noisy::subset;
use crate::pixels::to_byte;
use crate::tensor::{TensorFile, file};
use crate::train::{RunDir, Stages};

/// Images that are denoised at once, and stand in one file until the round is over.
const PART: usize = 256;
/// The first noisy images or signals, which every round denoises, for pictures.
pub const SHOWN: usize = 10;
/// The first noisy points likewise, which are seen together.
const POINTS: usize = 128;
/// In the metadata of a part: the checksum of all that its images follow from.
const ORIGIN: &str = "veridical.origin";

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

/// The metadata of the part that holds the images `indices`, which follow from `origin`.
fn metadata(origin: &str, indices: &[u32]) -> BTreeMap<String, String> {
    let mut crc = flate2::Crc::new();
    crc.update(origin.as_bytes());
    indices.iter().for_each(|i| crc.update(&i.to_le_bytes()));
    [(ORIGIN.into(), format!("{:08x}", crc.sum()))].into()
}

/// The `needed` images of `noisy`, denoised by `denoise`, which is asked for some at a time. `origin` is what they
/// follow from besides: model, noise and solver, in words that differ where one of these does. What an earlier session
/// denoised from the same is read from `directory`; what is not whole, or follows from something else, is made again,
/// with a note.
pub(super) fn denoised(
    directory: &Path,
    noisy: &Images,
    needed: Vec<u32>,
    origin: &str,
    stages: &mut Stages,
    denoise: impl Fn(&[u32]) -> Result<Vec<f32>>,
) -> Result<Denoised> {
    let (ranks, writes) = (stages.place().ranks().clone(), stages.place().is_writer());
    if writes {
        fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
    }
    let values = noisy.values();
    let mut pixels = noisy.pixels()?.into_owned();
    // Ranks denoise a part each at the same time.
    for parts in needed.chunks(PART * ranks.size()) {
        let parts: Vec<&[u32]> = parts.chunks(PART).collect();
        let path = |indices: &[u32]| directory.join(format!("part-{:06}.safetensors", indices[0]));
        let mut there: Vec<Option<Vec<f32>>> = vec![None; parts.len()];
        for (indices, there) in parts.iter().zip(&mut there).filter(|_| writes) {
            let (path, metadata) = (path(indices), metadata(origin, indices));
            let known = path.exists().then(|| known(&path, &metadata, indices.len() * values)).transpose();
            *there = known.unwrap_or_else(|problem| {
                stages.note(&format!("denoised images are made again: {problem}"));
                None
            });
        }
        let told = ranks.as_first_finds(
            || there.iter().map(|part| u8::from(part.is_some())).collect::<Vec<u8>>(),
            Clone::clone,
            |told| Ok(told.to_vec()),
        )?;
        if told.contains(&0) {
            stages.check()?;
        }
        let own = parts.get(ranks.rank()).filter(|_| told.get(ranks.rank()) == Some(&0));
        let made = ranks.together(own.map_or(Ok(Vec::new()), |indices| denoise(indices)))?;
        // The first rank has what was there, too.
        let known = bytemuck::cast_slice(&there.iter().flatten().flatten().copied().collect::<Vec<f32>>()).to_vec();
        let (made, known) = (ranks.gather(bytemuck::cast_slice(&made))?, ranks.gather(&known)?);
        let mut known = bytemuck::pod_collect_to_vec::<u8, f32>(known.first().map_or(&[], Vec::as_slice)).into_iter();
        for (rank, indices) in parts.iter().enumerate() {
            let part: Vec<f32> = match told.get(rank) {
                Some(0) => bytemuck::pod_collect_to_vec(&made[rank]),
                _ => known.by_ref().take(indices.len() * values).collect(),
            };
            if part.len() != indices.len() * values {
                return Err(Error::Rank { rank, what: format!("denoised {} values of {}", part.len(), indices.len()) });
            }
            if writes && told.get(rank) == Some(&0) {
                let image = [("images", [indices.len(), values].into(), part.clone())];
                file::write(path(indices), image, &metadata(origin, indices))?;
            }
            for (&i, image) in indices.iter().zip(part.chunks_exact(values)) {
                pixels[i as usize * values..][..values].copy_from_slice(image);
            }
        }
    }
    let images = noisy.with_pixels(pixels, noisy.labels().to_vec())?;
    Ok(Denoised { images, indices: needed })
}

/// A part of an earlier session, of so many `values`. Errors if it is not whole, or not of this `metadata`.
fn known(path: &Path, metadata: &BTreeMap<String, String>, values: usize) -> Result<Vec<f32>> {
    let file = TensorFile::open(path)?;
    let part = file.floats("images")?.filter(|part| part.len() == values && file.metadata() == *metadata);
    part.ok_or_else(|| Error::format(path, "of other images, another model or other settings"))
}

/// How many of the first noisy samples every round denoises, for pictures: no more than the first part takes.
pub fn shown(noisy: &Images) -> usize {
    let most = if Kind::of(noisy.size()) == Kind::Points { POINTS } else { SHOWN };
    most.min(noisy.len())
}

/// The first `values` numbers of the denoised images of a round, for pictures, or as many as the first part has. None
/// if there are none, or none that are whole: a picture less is no reason to end a run. Errors on input.
pub fn first_denoised(place: &RunDir, k: u32, values: usize) -> Result<Option<Vec<f32>>> {
    let path = directory(place, k).join("denoised/part-000000.safetensors");
    let pixels = match TensorFile::open(path).and_then(|file| file.floats("images")) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(Error::Format { .. }) => None,
        other => other?,
    };
    Ok(pixels.map(|mut pixels| {
        pixels.truncate(values);
        pixels
    }))
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
    let bytes = images.pixels()?.iter().map(|&pixel| to_byte(pixel)).collect();
    Images::from_bytes(bytes, images.labels().to_vec(), images.size(), images.classes())
}
