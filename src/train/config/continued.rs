//! Whether a run may go on with other settings than those it was started with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::settings::flat;

/// Settings that may differ between a checkpoint and the run that goes on from it: they do not change what is computed,
/// or are meant to be changed (how long, where).
const FREE: [&str; 16] = [
    "data.path",
    "train.init",
    "train.device",
    "train.images",
    "train.micro_batch",
    "train.slots",
    "train.shard_state",
    "train.log_every",
    "train.sample_every",
    "train.checkpoint_every",
    "train.keep_last",
    "train.keep_every",
    "sampling.",
    "average.snapshot_every",
    "average.keep_snapshots",
    "train.checkpoint_activations",
];

/// Settings of training that a resumed run may change, which makes it a branch of the run that it was: how weights are
/// changed, and by what loss of which images.
pub const BRANCHES: &[&str] = &["optimizer.", "loss.", "augment."];

/// What no state of an optimiser survives.
const NEVER: &str = "optimizer.name";

/// A setting that a run goes on with instead of another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// `section.key`.
    pub key: String,
    /// As it was; null where there was none.
    pub was: Option<Value>,
    /// As it is from here on.
    pub is: Option<Value>,
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{} = {} (was {})", self.key, show(self.is.as_ref()), show(self.was.as_ref()))
    }
}

fn show(value: Option<&Value>) -> String {
    value.map_or("nothing".into(), ToString::to_string)
}

/// The settings, of those that start as one of `branches` does, in which the document `here` differs from `there`, that
/// of a run or a checkpoint.
///
/// Errors with all others in which they differ, or with the sections that one of them lacks. What may differ besides
/// are [`FREE`] and what starts as one of `free` does, but for what stands there after a `!`. Where all that differs is
/// a length which the learning rate hangs on, and that may not change, it says how to go on.
pub fn continues(
    here: &str,
    there: &str,
    free: &[impl AsRef<str>],
    branches: &[impl AsRef<str>],
) -> Result<Vec<Change>> {
    let table = |text: &str| -> Result<Table> {
        text.parse().map_err(|e: toml::de::Error| Error::Config(format!("settings that cannot be read: {e}")))
    };
    let (of_here, of_there) = (table(here)?, table(there)?);
    let (here, there) = (flat(&of_here), flat(&of_there));
    let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let all_free = FREE.into_iter().chain(free.iter().map(AsRef::as_ref));
    // What a run of an earlier version did not have, it did as by default.
    let is_bound =
        |key: &str| free.iter().any(|free| free.as_ref().strip_prefix('!') == Some(key)) && there.contains_key(key);
    let is_free =
        |key: &str| !is_bound(key) && (all_free.clone().any(|free| key.starts_with(free)) || key == SCHEDULE_IMAGES);
    let is_branch = |key: &str| key != NEVER && branches.iter().any(|branch| key.starts_with(branch.as_ref()));
    let (changed, differ): (Vec<&String>, Vec<&String>) = keys
        .into_iter()
        .filter(|key| here.get(*key) != there.get(*key) && !is_free(key))
        .partition(|key| is_branch(key));
    let lacks = |table: &Table| -> BTreeSet<&str> {
        let sections = differ.iter().filter_map(|key| key.split_once('.'));
        sections.map(|(section, _)| section).filter(|section| !table.contains_key(*section)).collect()
    };
    let (only_there, only_here) = (lacks(&of_here), lacks(&of_there));
    if !only_here.is_empty() || !only_there.is_empty() {
        let list = |sections: BTreeSet<&str>| match sections.is_empty() {
            true => "nothing more".into(),
            false => sections.into_iter().map(|section| format!("[{section}]")).collect::<Vec<_>>().join(", "),
        };
        let (here, there) = (list(only_here), list(only_there));
        return Err(Error::Config(format!("a run of another method: its settings have {there}, those here {here}")));
    }
    if !differ.is_empty() {
        let differ = differ
            .into_iter()
            .map(|key| format!("{key} is {} there and {} here", show(there.get(key)), show(here.get(key))));
        let differ = differ.collect::<Vec<_>>().join("; ");
        let may = match branches.is_empty() {
            true => String::new(),
            false => " (those of optimizer, loss, augment, sampling and the length may change on the way)".into(),
        };
        return Err(Error::Config(format!(
            "a run of other settings: {differ}; go on with those there{may}, or begin another run with --config, or from this \
             one's model with --init"
        )));
    }
    let mut changes: Vec<Change> = changed.into_iter().map(|key| change(key, &there, &here)).collect();
    match (schedule_length(&there), schedule_length(&here)) {
        (there, here) if there == here => {}
        (was, is) if branches.is_empty() => {
            let schedule = show(was.0.as_ref());
            let inverse = was.0 == Some("inverse-sqrt".into());
            let keep = match (inverse, &was.1) {
                (true, Some(length)) => format!("keep it as it was (--set {SCHEDULE_IMAGES}={length}), "),
                _ => String::new(),
            };
            return Err(Error::Config(format!(
                "the learning rate's schedule, {schedule}, spans {} images there and {} here, so the run cannot be made longer or shorter \
                 with the same bits: {keep}resume without changing the length, or start a new run from the model's file with --init, \
                 where the optimiser begins anew",
                show(was.1.as_ref()),
                show(is.1.as_ref())
            )));
        }
        (was, is) if was.1 != is.1 => {
            changes.push(Change { key: SCHEDULE_IMAGES.into(), was: was.1, is: is.1 });
        }
        _ => {}
    }
    Ok(changes)
}

fn change(key: &str, there: &BTreeMap<String, Value>, here: &BTreeMap<String, Value>) -> Change {
    Change { key: key.into(), was: there.get(key).cloned(), is: here.get(key).cloned() }
}

/// Compared by what it means, not as it stands: 0 is the run's own length.
const SCHEDULE_IMAGES: &str = "optimizer.schedule_images";

/// The learning rate's schedule, and the images that it spans; none for a constant one, which no length changes.
fn schedule_length(settings: &BTreeMap<String, Value>) -> (Option<Value>, Option<Value>) {
    let schedule = settings.get("optimizer.schedule").cloned();
    let own = settings.get(SCHEDULE_IMAGES).filter(|images| **images != Value::Integer(0));
    let length = match schedule == Some("constant".into()) {
        true => None,
        false => own.or(settings.get("train.images")).cloned(),
    };
    (schedule, length)
}
