//! What the log of a run says.

use crate::error::Result;
use crate::train::{RunDir, log};

/// Seconds of all sessions of a run, by its log: each session counts from 0. A session whose first line comes later
/// than the last of the session before cannot be told from it, and counts from there.
pub fn total_seconds(place: &RunDir) -> Result<f64> {
    let mut total = 0.0;
    let mut last = 0.0;
    for tick in log::read(place.path().join("log.jsonl"))? {
        if let Some(seconds) = tick["seconds"].as_f64() {
            total += if seconds >= last { seconds - last } else { seconds };
            last = seconds;
        }
    }
    Ok(total)
}

/// Whether the log has the figure `key` of a step: what a process measured before it died is not measured again.
pub fn is_logged(place: &RunDir, step: u64, key: &str) -> Result<bool> {
    let ticks = log::read(place.path().join("log.jsonl"))?;
    Ok(ticks.iter().any(|tick| tick["step"] == step && tick[key].is_number()))
}
