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
    Ok(())
}
