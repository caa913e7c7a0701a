//! What a run came to.

use serde::Serialize;

use crate::methods::game::Scores;

/// What a run came to; `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TripleGanOutcome {
    /// Share of what is held out that the averaged classifier gets wrong, at the end.
    pub error: f64,
    /// Share of generated images whose class a classifier of all labels reads; `None` where none were drawn.
    pub sample_accuracy: Option<f64>,
    /// The same share of what is held out: what is to be had.
    pub sample_accuracy_real: Option<f64>,
    /// Time of all sessions.
    pub seconds: f64,
    /// Iterations, each player's steps.
    pub iterations: u64,
    /// What was trained in place of the game, or `none`.
    pub baseline: String,
    /// Labelled images.
    pub labelled: usize,
    /// The seed.
    pub seed: u64,
    /// Whether all steps were made.
    pub finished: bool,
    /// All figures of the classifier.
    pub classifier: Scores,
}
