//! The stages of a run: trainings and computations one after the other, which are left and taken up again as one.
//!
//! Whatever ends a stage early, a [stop](crate::stop) or the time, travels as an error ([`Error::Stopped`],
//! [`Error::OutOfTime`]) up to who began the stages, and [`Stages::end`] says there how the run ended. So an algorithm
//! of several stages reads as if nothing could come between.

use std::path::Path;
use std::time::{Duration, Instant};

use super::config;
use super::observer::{End, Observer};
use super::plan::RunOptions;
use super::prepared::Prepared;
use super::run_dir::{Existing, RunDir};
use crate::diffusion::Model;
use crate::error::{Error, Result};

/// A run of stages that is under way.
pub struct Stages<'a> {
    place: &'a RunDir,
    options: RunOptions,
    started: Instant,
    observer: &'a mut dyn Observer,
    latest: Option<Model>,
    /// Steps of the last training.
    steps: u64,
}

/// How stages ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// What ended them.
    pub end: End,
    /// Steps of the last training, in all sessions.
    pub steps: u64,
}

impl<'a> Stages<'a> {
    /// In the run's directory `place`, with the time of `options` from now on for all of them.
    pub fn new(place: &'a RunDir, options: RunOptions, observer: &'a mut dyn Observer) -> Self {
        Stages { place, options, started: Instant::now(), observer, latest: None, steps: 0 }
    }

    /// The run's directory.
    pub fn place(&self) -> &'a RunDir {
        self.place
    }

    /// Who watches.
    pub fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }

    /// Something worth a line.
    pub fn note(&mut self, text: &str) {
        self.observer.note(text);
    }

    /// The model that the stages have come to so far, whole or not.
    pub fn latest(&self) -> Option<&Model> {
        self.latest.as_ref()
    }

    /// A stage is over, or was over already, with this model.
    pub fn came_to(&mut self, model: &Model) {
        self.latest = Some(model.clone());
    }

    fn left(&self) -> Option<Duration> {
        self.options.budget.map(|budget| budget.saturating_sub(self.started.elapsed()))
    }

    /// To be asked between the parts of a long computation, by all ranks: errors if the run is to end here.
    pub fn check(&mut self) -> Result<()> {
        let here = self.check_here();
        self.place.ranks().together(here)
    }

    /// As [`check`](Self::check), where one rank computes alone.
    pub fn check_here(&mut self) -> Result<()> {
        if self.observer.stop() {
            return Err(Error::Stopped);
        }
        match self.left() {
            Some(left) if left.is_zero() => Err(Error::OutOfTime),
            _ => Ok(()),
        }
    }

    /// Whether an earlier session began to train in `directory`: settings are the first thing that a run writes.
    pub fn begun(directory: &Path) -> bool {
        directory.join(config::NAME).is_file()
    }

    /// Trains in a directory of its own, or goes on there. Errors where [`Prepared::run`] does, and if it ends early.
    pub fn train(&mut self, directory: &Path, prepared: Prepared) -> Result<Model> {
        let resume = self.place.ranks().is_so_for_first(|| Self::begun(directory))?;
        let at = self.place.below(directory, if resume { Existing::Resume } else { Existing::Overwrite })?;
        self.train_in(&at, resume, prepared)
    }

    /// Trains in the directory of the run itself. Errors as [`train`](Self::train) does.
    pub fn train_here(&mut self, prepared: Prepared) -> Result<Model> {
        self.train_in(self.place, self.options.resume, prepared)
    }

    fn train_in(&mut self, at: &RunDir, resume: bool, prepared: Prepared) -> Result<Model> {
        let outcome = prepared.run(at, RunOptions { resume, budget: self.left(), ..self.options }, self.observer)?;
        self.came_to(&outcome.model);
        self.steps = outcome.steps;
        match outcome.end {
            End::Finished => Ok(outcome.model),
            End::OutOfTime => Err(Error::OutOfTime),
            End::Stopped => Err(Error::Stopped),
        }
    }

    /// How the stages ended, which came to `result`. Errors on what is no way to end a run.
    pub fn end(&self, result: Result<()>) -> Result<Ended> {
        let end = match result {
            Ok(()) => End::Finished,
            Err(Error::Stopped) => End::Stopped,
            Err(Error::OutOfTime) => End::OutOfTime,
            Err(other) => return Err(other),
        };
        Ok(Ended { end, steps: self.steps })
    }
}
