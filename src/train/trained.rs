//! Whatever is trained in steps: one network, or several that play against each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::log::Log;
use super::observer::{End, Observer};
use super::run_dir::RunDir;
use super::trainer::{Tick, Trainer};
use crate::error::Result;
use crate::nn::{self, Weights};

/// The name of the only player of a run of one model.
pub const MODEL_PLAYER: &str = "model";

/// Whatever is trained in steps and can be stopped between any two of them: what [`run_trained`](super::run_trained)
/// trains, and checkpoints hold.
///
/// A step is to be a pure function of what checkpoints hold and of the count of steps (random numbers come from [where
/// they are used](crate::random)); a run that is resumed then comes to the same bits. `examples/own_gan.rs` trains two
/// networks with two optimisers.
pub trait Trained {
    /// The players by name: each has weights, an optimiser and averages of its own. Names are those of files.
    fn players(&self) -> Vec<(&str, &Trainer)>;

    /// The same players in the same order, to put stored state into.
    fn players_mut(&mut self) -> Vec<(&str, &mut Trainer)>;

    /// Makes the next step. What it returns is logged: the figures of the player that counts the steps.
    ///
    /// Errors leave everything as it was before the step, so that a checkpoint written afterwards is that of the last
    /// whole step. Several players make their steps together by [`Trainer::apply_all`].
    fn step(&mut self, observer: &mut dyn Observer) -> Result<Tick>;

    /// Steps made and samples seen: those of the first player.
    fn progress(&self) -> (u64, u64) {
        self.players().first().map_or((0, 0), |(_, trainer)| (trainer.steps(), trainer.seen()))
    }

    /// More numbers of the last step, for the log.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// Writes weights of a player to a file. Errors on output.
    fn save(&self, player: &str, weights: &Weights, path: &Path) -> Result<()> {
        let _ = player;
        nn::save(path, weights, &BTreeMap::new())
    }

    /// Reads what [`save`](Self::save) wrote. Errors on input, and if it is another network's.
    fn load(&self, player: &str, path: &Path) -> Result<Weights> {
        let like = self.players().into_iter().find(|(name, _)| *name == player);
        match like {
            Some((_, trainer)) => nn::load(path, trainer.weights().layout(), &trainer.weights().device()),
            None => Err(crate::error::Error::argument("Trained::load", format!("there is no player {player}"))),
        }
    }

    /// What checkpoints must hold besides the players: files by name.
    fn state(&self) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(Vec::new())
    }

    /// Goes on from what [`state`](Self::state) gave; `read` gives a file by its name. Errors if it is not that.
    fn restore(&mut self, read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<()> {
        let _ = read;
        Ok(())
    }

    /// A run goes on after [`progress`](Self::progress): what an earlier session wrote beyond it is to be removed.
    fn resumed(&mut self, place: &RunDir) -> Result<()> {
        let _ = place;
        Ok(())
    }

    /// Whether something is kept beside checkpoints after a step.
    fn keeps(&self, tick: &Tick) -> bool {
        let _ = tick;
        false
    }

    /// Asked after every step that something is [kept](Self::keeps) of beside checkpoints.
    fn kept(&mut self, place: &RunDir, tick: &Tick) -> Result<()> {
        let _ = (place, tick);
        Ok(())
    }

    /// What [`kept`](Self::kept) will leave on disk in a run of so many samples, with sizes, a clause each, for a
    /// person.
    fn leaves(&self, samples: u64) -> Vec<String> {
        let _ = samples;
        Vec::new()
    }

    /// Asked at the end of a run, after its last checkpoint was written and before its models are: for what is kept
    /// beside checkpoints.
    fn ended(&mut self, place: &RunDir, end: End) -> Result<()> {
        let _ = (place, end);
        Ok(())
    }

    /// Draws and measures what has been learned.
    fn show(&mut self, place: &RunDir, log: &mut Log, moment: Moment, observer: &mut dyn Observer) -> Result<()> {
        let _ = (place, log, moment, observer);
        Ok(())
    }

    /// Writes the page of the run; `end` says how it ended, if it has.
    fn report(&self, place: &RunDir, end: Option<End>) -> Result<()> {
        let _ = (place, end);
        Ok(())
    }
}

/// When something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The step that was just made is one of those after which it is due.
    Due,
    /// A process may have died between a checkpoint and what is due after it: what is not there yet is to be made now.
    MadeUp,
    /// The run has come to its end.
    Last(End),
}
