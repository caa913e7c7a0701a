//! Power-function averages, stored now and then, and the averages that can be reconstructed from them afterwards
//! (Karras et al. 2023, arXiv 2312.02696, section 3).

use std::fs;
use std::path::{Path, PathBuf};

use super::trainer::Trainer;
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::ops;
use crate::optim::{Snapshot, post_hoc_weights};
use crate::tensor::{DType, Device, Tensor};

/// Where in a run's directory they are.
const FOLDER: &str = "snapshots";

fn name(seen: u64, width: f64) -> String {
    format!("{seen:012}-{width:.3}.safetensors")
}

/// Stores the power-function averages of `trainer`, which trains `model`, in the run's directory, where the newest
/// `keep` snapshots then stay (0: all). Errors on output.
pub fn store(run: &Path, trainer: &Trainer, model: &Model, keep: u64) -> Result<()> {
    let folder = run.join(FOLDER);
    fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    for (width, weights) in trainer.power_averages()? {
        let path = folder.join(name(trainer.seen(), width));
        model.with_weights(&weights)?.save(path)?;
    }
    prune(run, keep)
}

/// Removes all but the newest `keep` snapshots of a run (0: none), each of all its widths. Errors where one cannot be
/// removed.
fn prune(run: &Path, keep: u64) -> Result<()> {
    if keep == 0 {
        return Ok(());
    }
    let all = list(run).unwrap_or_default();
    let mut times: Vec<u64> = all.iter().map(|(snapshot, _)| snapshot.seen as u64).collect();
    times.dedup();
    let Some(&first) = times.iter().rev().nth(keep as usize - 1) else { return Ok(()) };
    for (_, path) in all.iter().filter(|(snapshot, _)| (snapshot.seen as u64) < first) {
        fs::remove_file(path).map_err(|e| Error::io(path, e))?;
    }
    Ok(())
}

/// Whether a snapshot is due after `seen` images, the last `batch` of which are new, if one is due every `every` images
/// (0: none is).
pub fn due(seen: u64, batch: u64, every: u64) -> bool {
    every != 0 && seen / every != seen.saturating_sub(batch) / every
}

/// Removes the snapshots that a run which goes on after `seen` images would not have: those after it, and those of an
/// earlier end.
pub fn cut(run: &Path, seen: u64, batch: u64, every: u64) -> Result<()> {
    for (snapshot, path) in list(run).unwrap_or_default() {
        let at = snapshot.seen as u64;
        if at > seen || !due(at, batch, every) {
            fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
        }
    }
    Ok(())
}

/// The snapshots of a run, by rising time. Errors if there are none.
pub fn list(run: &Path) -> Result<Vec<(Snapshot, PathBuf)>> {
    let folder = run.join(FOLDER);
    let none = || {
        let what =
            "holds no snapshots; train with average.power and average.snapshot_every, such as [0.05, 0.1] and 100000";
        Error::Config(format!("{}: {what}", run.display()))
    };
    let entries = match fs::read_dir(&folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(none()),
        entries => entries.map_err(|e| Error::io(&folder, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(&folder, e))?.path();
        let parsed = path.file_name().and_then(|file| file.to_str()).and_then(|file| {
            let (seen, width) = file.strip_suffix(".safetensors")?.split_once('-')?;
            let (seen, width): (u64, f64) = (seen.parse().ok()?, width.parse().ok()?);
            (file == name(seen, width)).then_some(Snapshot { seen: seen as f64, width })
        });
        found.extend(parsed.map(|snapshot| (snapshot, path)));
    }
    found.sort_by(|(a, _), (b, _)| {
        (a.seen, a.width).partial_cmp(&(b.seen, b.width)).unwrap_or(std::cmp::Ordering::Equal)
    });
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

/// The model whose weights are the average with a power function of `width` over the run up to `seen` images (none: up
/// to the last snapshot), by least squares from all snapshots up to then.
///
/// Errors without snapshots, on widths outside (0, 0.3), and on snapshots of different architectures.
pub fn reconstruct(run: &Path, width: f64, seen: Option<u64>) -> Result<Model> {
    let all = list(run)?;
    let last = all.last().map_or(0.0, |(snapshot, _)| snapshot.seen);
    let end = seen.map_or(last, |seen| seen as f64);
    let used: Vec<&(Snapshot, PathBuf)> = all.iter().filter(|(snapshot, _)| snapshot.seen <= end).collect();
    if used.is_empty() || end > last {
        let first = all.first().map_or(0.0, |(snapshot, _)| snapshot.seen);
        return Err(Error::Config(format!(
            "the snapshots reach from {first} to {last} images; {end} is not among them"
        )));
    }
    let times: Vec<Snapshot> = used.iter().map(|(snapshot, _)| *snapshot).collect();
    let weights = post_hoc_weights(&times, Snapshot { seen: end, width })?;
    let mut sum: Option<(Model, Vec<f64>)> = None;
    for ((_, path), weight) in used.iter().zip(weights) {
        let model = Model::load(path, &Device::Cpu)?;
        let flat = model.weights.flat().to_f64()?;
        match &mut sum {
            None => sum = Some((model, flat.iter().map(|x| weight * x).collect())),
            Some((first, sum)) => {
                if first.config() != model.config() {
                    return Err(Error::format(path, "another architecture than the snapshots before it"));
                }
                sum.iter_mut().zip(&flat).for_each(|(sum, x)| *sum += weight * x);
                *first = model; // whose buffers are the newest
            }
        }
    }
    let Some((model, sum)) = sum else { return Err(Error::Config("there are no snapshots".into())) };
    let shape = [sum.len()];
    let flat = ops::cast(Tensor::from_slice(&sum, shape, &Device::Cpu)?, DType::F32)?;
    model.with_flat_weights(flat.into_value())
}
