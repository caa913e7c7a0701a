//! What a checkpoint holds of each player.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Checkpoint, FileState, STATE, checked};
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::tensor::{DType, Device, Tensor, TensorFile, file};
use crate::train::trained::{MODEL_PLAYER, Trained};
use crate::train::trainer::{Trainer, TrainerState};

pub(super) const WEIGHTS: &str = "model";
pub(super) const AVERAGE: &str = "ema";
const OPTIMIZER: &str = "optimizer";

/// What a power-function average is called.
fn power(width: f64) -> String {
    format!("{AVERAGE}-{width:.3}")
}

/// The file of a player. A run of one model has no need of its player's name.
pub(super) fn file(player: &str, what: &str) -> String {
    match (player, what) {
        (MODEL_PLAYER, what) => format!("{what}.safetensors"),
        (player, WEIGHTS) => format!("{player}.safetensors"),
        (player, what) => format!("{player}-{what}.safetensors"),
    }
}

/// The device of the first player.
pub(super) fn device(trained: &dyn Trained) -> Option<Device> {
    trained.players().first().map(|(_, trainer)| trainer.weights().device())
}

/// Counts of players that have not made the run's own steps.
pub(super) fn apart(trained: &dyn Trained) -> BTreeMap<String, (u64, u64)> {
    let counts = |trainer: &Trainer| (trainer.steps(), trainer.seen());
    let players = trained.players().into_iter().map(|(name, trainer)| (name.to_string(), counts(trainer)));
    players.filter(|(_, counts)| *counts != trained.progress()).collect()
}

/// Errors on what could not be written, or not be told apart: names of players, and of files that are kept besides.
pub(in crate::train) fn check_names(trained: &dyn Trained) -> Result<()> {
    let plain = |name: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.') || c == '-';
        !name.is_empty() && !name.starts_with('.') && name.chars().all(known)
    };
    let mut names = std::collections::BTreeSet::new();
    let mut own = |name: String| {
        if !plain(&name) || name == STATE || !names.insert(name.clone()) {
            let what = "a name of a player, of an average, or of a file of state that cannot be used, or not twice";
            return Err(Error::Config(format!("{name:?}: {what}")));
        }
        Ok(())
    };
    for (player, trainer) in trained.players() {
        if player.is_empty() {
            return Err(Error::Config("a player has no name".into()));
        }
        let powers: Vec<String> = trainer.power_widths().into_iter().map(power).collect();
        let whats = [WEIGHTS, AVERAGE, OPTIMIZER].into_iter().chain(powers.iter().map(String::as_str));
        whats.map(|what| file(player, what)).try_for_each(&mut own)?;
    }
    trained.state()?.into_iter().try_for_each(|(name, _)| own(name))
}

/// About as many bytes as [`write`] writes. Errors as [`Trained::state`] does.
pub(in crate::train) fn bytes(trained: &dyn Trained) -> Result<u64> {
    let mut bytes: usize = trained.state()?.iter().map(|(_, bytes)| bytes.len()).sum();
    for (_, trainer) in trained.players() {
        let copies = 1 + usize::from(trainer.has_average()) + trainer.power_widths().len();
        let buffers = trainer.optimizer().state().len() * trainer.weights().flat().len();
        bytes += copies * weights(trainer) as usize + buffers * size_of::<f32>();
    }
    Ok(bytes as u64)
}

/// Bytes of a player's weights in a file, about as many for what the file says of each tensor included.
pub(in crate::train) fn weights(trainer: &Trainer) -> u64 {
    const SAID: usize = 80;
    let entries = trainer.weights().layout().entries().iter();
    entries.map(|entry| (entry.name.len() + SAID + size_of::<f32>() * entry.shape.elements()) as u64).sum()
}

/// Writes everything but the state, and says what was written.
pub(super) fn write(partial: &Path, trained: &dyn Trained) -> Result<BTreeMap<String, FileState>> {
    let mut files = BTreeMap::new();
    let mut add = |name: String, write: &dyn Fn(&Path) -> Result<()>| -> Result<()> {
        let path = partial.join(&name);
        write(&path)?;
        match files.insert(name, checked(&path)?) {
            None => Ok(()),
            Some(_) => Err(Error::Config(format!("two players would write {}: name them apart", path.display()))),
        }
    };
    for (player, trainer) in trained.players() {
        add(file(player, WEIGHTS), &|path| trained.save(player, trainer.weights(), path))?;
        if trainer.has_average() {
            add(file(player, AVERAGE), &|path| trained.save(player, &trainer.average()?, path))?;
        }
    }
    for (name, bytes) in trained.state()? {
        add(name, &|path| write_atomic(path, &bytes))?;
    }
    for (player, trainer) in trained.players() {
        for (width, weights) in trainer.power_averages()? {
            add(file(player, &power(width)), &|path| trained.save(player, &weights, path))?;
        }
        add(file(player, OPTIMIZER), &|path| {
            let buffers = trainer.optimizer_state()?.into_iter();
            let buffers: Vec<_> = buffers
                .map(|(name, buffer)| Ok((name, buffer.shape().clone(), buffer.to_vec::<f32>()?)))
                .collect::<Result<_>>()?;
            file::write(path, buffers, &BTreeMap::new())
        })?;
    }
    Ok(files)
}

/// Puts what was written into `trained`.
pub(super) fn restore(checkpoint: &Checkpoint, trained: &mut dyn Trained) -> Result<()> {
    let Checkpoint { path, state } = checkpoint;
    let mut states = BTreeMap::new();
    for (player, trainer) in trained.players() {
        let load = |what: &str| trained.load(player, &path.join(file(player, what)));
        let (step, seen) = state.players.get(player).copied().unwrap_or((state.step, state.seen));
        let widths: Vec<f64> = trainer.power_widths();
        let state = TrainerState {
            step,
            seen,
            weights: load(WEIGHTS)?,
            average: trainer.has_average().then(|| load(AVERAGE)).transpose()?,
            powers: widths.iter().map(|&width| load(&power(width))).collect::<Result<_>>()?,
            optimizer: buffers(&path.join(file(player, OPTIMIZER)))?,
        };
        states.insert(player.to_string(), state);
    }
    for (player, trainer) in trained.players_mut() {
        let missing = || Error::argument("Trained::players_mut", format!("{player} is not among Trained::players"));
        trainer.restore(states.remove(player).ok_or_else(missing)?)?;
    }
    match states.keys().next() {
        None => Ok(()),
        Some(player) => Err(Error::argument("Trained::players_mut", format!("{player} is missing"))),
    }
}

fn buffers(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let file = TensorFile::open(path)?;
    let mut found = Vec::new();
    for name in file.names() {
        found.extend(file.tensor(&name, DType::F32, &Device::Cpu)?.map(|buffer| (name, buffer)));
    }
    Ok(found)
}
