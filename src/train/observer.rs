//! What a run tells whoever started it, and how it ends.

use super::trainer::Tick;
use crate::tensor::Device;

/// What a run tells whoever started it, and asks.
pub trait Observer {
    /// Everything is ready and the first step follows.
    fn started(&mut self, run: &Started);
    /// A step was made. `rate` is in images a second, over the last steps; `images` are those of the whole run.
    fn ticked(&mut self, tick: &Tick, rate: f64, images: u64);
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// Whether to stop after this step; asked before each. A [`Stop`](crate::stop::Stop) is heeded within a step, too.
    fn stop(&mut self) -> bool {
        false
    }
}

/// A run that is about to begin, or to go on.
#[derive(Debug, Clone)]
pub struct Started {
    /// Trainable numbers of all players.
    pub parameters: usize,
    /// Where the first player is trained.
    pub device: Device,
    /// Steps that have been made already.
    pub first: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// What it will leave on disk, with sizes, a clause each, for a person: checkpoints and how many are kept, and what
    /// is [kept besides](super::Trained::leaves).
    pub leaves: Vec<String>,
}

/// Nobody looks.
impl Observer for () {
    fn started(&mut self, _: &Started) {}
    fn ticked(&mut self, _: &Tick, _: f64, _: u64) {}
    fn note(&mut self, _: &str) {}
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All images were seen.
    Finished,
    /// The time was up.
    OutOfTime,
    /// The observer asked to stop, or the calling thread was to [stop](crate::stop).
    Stopped,
}
