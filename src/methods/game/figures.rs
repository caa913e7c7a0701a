//! What a checkpoint holds of a game besides its players.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::figures::grouped;
use crate::train::{Trained, Trainer};

const FILE: &str = "figures.json";

/// The figures of the last steps as a file of a checkpoint, for [`Trained::state`](crate::train::Trained::state).
pub(crate) fn figures_state(figures: &impl Serialize) -> Result<Vec<(String, Vec<u8>)>> {
    let bytes = serde_json::to_vec(figures).map_err(|e| Error::argument(FILE, e.to_string()))?;
    Ok(vec![(FILE.into(), bytes)])
}

/// What [`figures_state`] stored. Errors if it is not that.
pub(crate) fn restored_figures<T: DeserializeOwned>(read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<T> {
    serde_json::from_slice(&read(FILE)?).map_err(|e| Error::format(FILE, e.to_string()))
}

/// How large the players are, for a person: a step of the run is one of theirs.
pub(crate) fn sizes(game: &dyn Trained) -> String {
    let size = |(name, trainer): (&str, &Trainer)| {
        format!("{name} {}", grouped(trainer.weights().layout().parameter_count() as u64))
    };
    let all: Vec<String> = game.players().into_iter().map(size).collect();
    format!("parameters: {}; steps and images are counted over all of them", all.join(", "))
}
