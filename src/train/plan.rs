//! How long a run is, what it leaves when, and where.

use std::time::Duration;

use super::trained::MODEL_PLAYER;

/// How long a run is, and what it leaves when.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Steps of the whole run.
    pub steps: u64,
    /// Samples of the whole run, for whoever watches.
    pub samples: u64,
    /// Samples of every step, if they are the same number: what a checkpoint's counts are held against.
    pub batch: Option<u64>,
    /// Steps between lines of the log; 0: only at the end.
    pub log_every: u64,
    /// Steps between [shows](super::Trained::show); 0: only at the end.
    pub show_every: u64,
    /// Steps between checkpoints; 0: only at the end.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    pub keep_last: usize,
    /// Checkpoints of every so many steps are kept as well; 0: none.
    pub keep_every: u64,
    /// The settings, as TOML in sections: the run's directory and its checkpoints hold them, and a checkpoint of others
    /// is refused.
    pub settings: String,
    /// Settings (`section.key`, or how they start) that may differ from a checkpoint's.
    pub free: Vec<String>,
    /// Settings that may differ too, which makes what follows a branch of the run: the log and the report tell of it.
    pub branches: Vec<String>,
    /// The data's fingerprint: a checkpoint of other data is refused.
    pub data: String,
}

/// Where checkpoints are, in a run's directory.
pub const CHECKPOINTS: &str = "checkpoints";
/// The model at the end, in a run's directory.
pub const MODEL: &str = "model.safetensors";
/// Where the models of several players are at the end, in a run's directory.
pub const MODELS: &str = "models";

/// How to run, besides the settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Go on from the newest checkpoint in the run's directory.
    pub resume: bool,
    /// Stop, complete, after so much time.
    pub budget: Option<Duration>,
    /// Write event files for TensorBoard, by steps: into `tensorboard/` of the run's directory. A run that goes on and
    /// has some goes on with them in any case. Needs the feature `report`.
    pub tensorboard: bool,
}

/// The file of a player's model at the end, in a run's directory.
pub fn model_file(player: &str) -> String {
    if player == MODEL_PLAYER { MODEL.into() } else { format!("{MODELS}/{player}.safetensors") }
}
