//! How a run goes on where another one stopped, or was stopped.

use std::path::PathBuf;

use super::checkpoint::{self, Checkpoint};
use super::config::Change;
use super::observer::Observer;
use super::plan::{CHECKPOINTS, Plan};
use super::run_dir::RunDir;
use super::trained::Trained;
use super::{config, log};
use crate::error::{Error, Result};

/// Puts the state of the newest whole checkpoint into `trained` and returns its path; `None` if the run was stopped
/// before its first, and begins again. Errors if there are checkpoints but none is whole, and if the one is of other
/// settings or data.
pub(super) fn resume(
    trained: &mut dyn Trained,
    plan: &Plan,
    place: &RunDir,
    observer: &mut dyn Observer,
) -> Result<Option<PathBuf>> {
    let directory = place.path().join(CHECKPOINTS);
    if place.is_writer() {
        checkpoint::recover(&directory)?;
    }
    let (newest, problems) = checkpoint::latest(&directory)?;
    for problem in problems {
        observer.note(&format!("passed over a checkpoint: {problem}"));
    }
    let mut changes = Vec::new();
    match &newest {
        None => observer.note("there is no checkpoint yet: from the beginning"),
        Some(checkpoint) => {
            changes = check_same(checkpoint, plan)?;
            check_length(checkpoint, plan, !changes.is_empty())?;
            if !checkpoint.is_sealed() {
                let path = checkpoint.path.display();
                observer.note(&format!(
                    "{path}: an earlier version wrote it without a checksum of its state: taken as it is"
                ));
            }
            let there = checkpoint.state.arithmetic.as_deref();
            let device = trained.players().first().map(|(_, trainer)| trainer.weights().device());
            let other = device.and_then(|device| checkpoint::other_arithmetic(there, &device));
            other.iter().for_each(|text| observer.note(text));
            checkpoint.restore(trained)?;
            observer.note(&format!("going on from {}", checkpoint.path.display()));
        }
    }
    if !place.is_writer() {
        return Ok(newest.map(|checkpoint| checkpoint.path));
    }
    if let Err(problem) = log::cut(place.path().join("log.jsonl"), trained.progress().0) {
        observer.note(&format!("the log begins again: {problem}"));
        place.write("log.jsonl", b"")?;
    }
    if !changes.is_empty() {
        branch(&changes, trained.progress(), place, observer)?;
    }
    trained.resumed(place)?;
    Ok(newest.map(|checkpoint| checkpoint.path))
}

/// Errors where there is nothing to go on with: the run is longer already than it is to be, or as long and would go on
/// with other settings.
fn check_length(checkpoint: &Checkpoint, plan: &Plan, branch: bool) -> Result<()> {
    let (done, wanted) = (checkpoint.state.step, plan.steps);
    match done > wanted || branch && done == wanted {
        false => Ok(()),
        true => Err(Error::Config(format!(
            "{}: the run has {done} steps already, and {wanted} are asked for: give more (--steps, --images), or leave the length as it is",
            checkpoint.path.display()
        ))),
    }
}

/// Writes into the log that the run goes on with other settings from here, unless that stands there already.
fn branch(changes: &[Change], (step, seen): (u64, u64), place: &RunDir, observer: &mut dyn Observer) -> Result<()> {
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    observer.note(&format!("a branch of the run from step {step} on: {}", told.join("; ")));
    let line = serde_json::json!({ "step": step, "seen": seen, "branch": changes });
    let lines = log::read(place.path().join("log.jsonl")).unwrap_or_default();
    if lines.contains(&line) { Ok(()) } else { place.log()?.append(&line) }
}

/// The settings that a checkpoint's run goes on without.
fn check_same(checkpoint: &Checkpoint, plan: &Plan) -> Result<Vec<Change>> {
    let named = |e: Error| Error::Config(format!("{}: {e}", checkpoint.path.display()));
    let there = &checkpoint.state.config;
    let changes = config::continues(&plan.settings, there, &plan.free, &plan.branches).map_err(named)?;
    if checkpoint.state.data != plan.data {
        let what = format!(
            "the checkpoint is of other data: {} there, {} here; go on with those there, or begin another run from this \
             one's model with --init",
            checkpoint.state.data, plan.data
        );
        return Err(named(Error::Config(what)));
    }
    // Every step sees a whole batch: what a state without a checksum can be held against.
    let (step, seen) = (checkpoint.state.step, checkpoint.state.seen);
    if let Some(batch) = plan.batch
        && step.checked_mul(batch) != Some(seen)
    {
        let what = format!("{seen} images in {step} steps of {batch}: its state is damaged");
        return Err(named(Error::Config(what)));
    }
    Ok(changes)
}
