//! How a run goes on where another one stopped, or was stopped.

use std::path::PathBuf;

use super::checkpoint::{self, Checkpoint};
use super::prepared::Prepared;
use super::run::{CHECKPOINTS, Observer};
use super::run_dir::RunDir;
use super::trainer::Trainer;
use super::{config, log, snapshots};
use crate::error::{Error, Result};

/// Puts the state of the newest whole checkpoint into `trainer` and returns its path; `None` if the run was stopped before its first, and
/// begins again. Errors if there are checkpoints but none is whole, and if the one is of other settings or data.
pub(super) fn resume(
    at: &mut Prepared,
    place: &RunDir,
    trainer: &mut Trainer,
    observer: &mut dyn Observer,
) -> Result<Option<PathBuf>> {
    let directory = place.path().join(CHECKPOINTS);
    checkpoint::recover(&directory)?;
    let (newest, problems) = checkpoint::latest(&directory)?;
    for problem in problems {
        observer.note(&format!("passed over a checkpoint: {problem}"));
    }
    match &newest {
        None => observer.note("there is no checkpoint yet: from the beginning"),
        Some(checkpoint) => {
            check_same(checkpoint, at)?;
            if !checkpoint.is_sealed() {
                let path = checkpoint.path.display();
                observer.note(&format!(
                    "{path}: an earlier version wrote it without a checksum of its state: taken as it is"
                ));
            }
            let there = checkpoint.state.arithmetic.as_deref();
            checkpoint::other_arithmetic(there, &at.model.weights.device()).iter().for_each(|text| observer.note(text));
            checkpoint.restore(&at.model, trainer)?;
            if let Some(source) = &mut at.source {
                source.restore(&checkpoint.source()?)?;
            }
            observer.note(&format!("going on from {}", checkpoint.path.display()));
        }
    }
    if let Err(problem) = log::cut(place.path().join("log.jsonl"), trainer.steps()) {
        observer.note(&format!("the log begins again: {problem}"));
        place.write("log.jsonl", b"")?;
    }
    let batch = at.config.train.batch as u64;
    snapshots::cut(place.path(), trainer.seen(), batch, at.config.average.snapshot_every)?;
    Ok(newest.map(|checkpoint| checkpoint.path))
}

fn check_same(checkpoint: &Checkpoint, at: &Prepared) -> Result<()> {
    let named = |e: Error| Error::Config(format!("{}: {e}", checkpoint.path.display()));
    config::continues(&at.document, &checkpoint.state.config, at.free).map_err(named)?;
    if checkpoint.state.data != at.fingerprint {
        let what = format!("the checkpoint is of other data: {} there, {} here", checkpoint.state.data, at.fingerprint);
        return Err(named(Error::Config(what)));
    }
    // Every step sees a whole batch: what a state without a checksum can be held against.
    let (step, seen) = (checkpoint.state.step, checkpoint.state.seen);
    if step.checked_mul(at.config.train.batch as u64) != Some(seen) {
        let what = format!("{seen} images in {step} steps of {}: its state is damaged", at.config.train.batch);
        return Err(named(Error::Config(what)));
    }
    Ok(())
}
