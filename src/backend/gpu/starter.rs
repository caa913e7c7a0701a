//! Starting commands that were gathered: as a graph where they are what was started before but for parameters.

use std::mem;
use std::sync::Arc;

use super::driver::{self, Command, Driver, Replay};
use crate::error::{Error, Result};

/// Fewer commands are started one by one, which takes no longer than to start a graph.
const LEAST: usize = 16;
/// Sequences of commands that are remembered.
const REMEMBERED: usize = 64;
/// How often a sequence's graph is made anew before it was of use.
const TRIES: usize = 3;
/// Runs after which it was.
const OF_USE: usize = 16;
/// What a driver's addresses are multiples of.
const ALIGNMENT: usize = 256;

/// Starts what was gathered.
pub(super) struct Starter {
    /// What was started before, that of last time first. Before the driver, which graphs are destroyed by.
    sequences: Vec<Sequence>,
    /// Where bytes are uploaded to that commands copy from: address and size.
    uploads: Option<(u64, usize)>,
    driver: Arc<dyn Driver>,
}

/// Commands that were started, and may be again.
struct Sequence {
    commands: Vec<Command>,
    graph: Option<Box<dyn Replay>>,
    /// Graphs made of it, and runs of the last one.
    made: usize,
    runs: usize,
}

impl Starter {
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Starter { sequences: Vec::new(), uploads: None, driver }
    }

    /// Whether it is for this device.
    pub fn is_of(&self, driver: &Arc<dyn Driver>) -> bool {
        Arc::ptr_eq(&self.driver, driver)
    }

    /// How many graphs it has.
    pub fn graphs(&self) -> usize {
        self.sequences.iter().filter(|sequence| sequence.graph.is_some()).count()
    }

    /// Starts the commands in order.
    pub fn start(&mut self, mut commands: Vec<Command>) -> Result<()> {
        match self.upload(&mut commands) {
            Ok(()) => self.start_uploaded(commands),
            // No room for the bytes: where they go to, there is.
            Err(Error::OutOfMemory { .. }) => self.one_by_one(&commands),
            Err(error) => Err(error),
        }
    }

    fn one_by_one(&self, commands: &[Command]) -> Result<()> {
        commands.iter().try_for_each(|command| command.run(&*self.driver))
    }

    /// Uploads the bytes of all uploads at once, to where they are copied from.
    fn upload(&mut self, commands: &mut [Command]) -> Result<()> {
        let mut all = Vec::new();
        for command in commands.iter() {
            if let Command::Upload { from, .. } = command {
                all.extend_from_slice(from);
                all.resize(all.len().next_multiple_of(ALIGNMENT), 0);
            }
        }
        if all.is_empty() {
            return Ok(());
        }
        let mut address = self.room(all.len())?;
        self.driver.upload(address, &all)?;
        for command in commands {
            if let Command::Upload { to, from } = command {
                let (to, bytes) = (*to, from.len());
                *command = Command::Copy { to, from: address, bytes };
                address += bytes.next_multiple_of(ALIGNMENT) as u64;
            }
        }
        Ok(())
    }

    /// The address of so many bytes, which stays as long as it suffices.
    fn room(&mut self, bytes: usize) -> Result<u64> {
        match self.uploads {
            Some((address, size)) if size >= bytes => Ok(address),
            _ => {
                self.free_uploads();
                let size = bytes.next_power_of_two();
                let address = self.driver.allocate(size)?;
                self.uploads = Some((address, size));
                Ok(address)
            }
        }
    }

    fn free_uploads(&mut self) {
        if let Some((address, size)) = self.uploads.take() {
            self.driver.free(address, size);
        }
    }

    fn start_uploaded(&mut self, commands: Vec<Command>) -> Result<()> {
        if commands.len() < LEAST {
            return self.one_by_one(&commands);
        }
        let known = self.sequences.iter().position(|sequence| sequence.is_like(&commands));
        let mut sequence = match known {
            Some(known) => self.sequences.remove(known),
            None => {
                self.sequences.truncate(REMEMBERED - 1);
                Sequence { commands: Vec::new(), graph: None, made: 0, runs: 0 }
            }
        };
        let started = sequence.start(&self.driver, commands);
        self.sequences.insert(0, sequence);
        started
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        self.free_uploads();
    }
}

impl Sequence {
    /// Whether these are the same commands but for addresses and other parameters.
    fn is_like(&self, commands: &[Command]) -> bool {
        self.commands.len() == commands.len()
            && self.commands.iter().zip(commands).all(|pair| match pair {
                (
                    Command::Launch { launch, params, .. },
                    Command::Launch { launch: other, params: other_params, .. },
                ) => launch == other && params.len() == other_params.len(),
                (Command::Copy { bytes, .. }, Command::Copy { bytes: other, .. }) => bytes == other,
                (Command::Zero { bytes, .. }, Command::Zero { bytes: other, .. }) => bytes == other,
                _ => false,
            })
    }

    /// Starts commands that are like those of last time, or the first ones.
    fn start(&mut self, driver: &Arc<dyn Driver>, commands: Vec<Command>) -> Result<()> {
        let before = mem::replace(&mut self.commands, commands);
        let one_by_one = |commands: &[Command]| commands.iter().try_for_each(|command| command.run(&**driver));
        if before.is_empty() {
            return one_by_one(&self.commands);
        }
        let graph = match self.graph.take() {
            Some(mut graph) => self.change(&before, &mut *graph)?.then_some(graph),
            None => None,
        };
        let mut graph = match graph {
            Some(graph) => graph,
            None if self.made < TRIES => {
                self.made += 1;
                self.runs = 0;
                driver::prepared(driver, self.commands.clone(), true)?
            }
            None => return one_by_one(&self.commands),
        };
        graph.run()?;
        self.graph = Some(graph);
        self.runs += 1;
        if self.runs == OF_USE {
            self.made = 0;
        }
        Ok(())
    }

    /// Gives the graph of the commands `before` the parameters of the present ones, and says whether that could be
    /// done.
    fn change(&self, before: &[Command], graph: &mut dyn Replay) -> Result<bool> {
        for (i, (before, now)) in before.iter().zip(&self.commands).enumerate() {
            if before != now && !graph.change(i, now)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
