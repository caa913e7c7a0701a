//! Work whose parts a device is told of all at once, as a CUDA graph where it was told the same before.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::driver::{self, Command, Driver, Replay};
use super::pool::Pool;
use super::{Gpu, capture};
use crate::backend::switch;
use crate::error::Result;

/// Fewer commands are started one by one, which takes no longer than to start a graph.
const LEAST: usize = 16;
/// Sequences that are remembered.
const MOST: usize = 8;
/// How often a sequence's graph is made anew before it was of use.
const TRIES: usize = 3;
/// Runs after which it was.
const OF_USE: usize = 16;
/// What a driver's addresses are multiples of.
const ALIGNMENT: usize = 256;

/// What a piece of work that is done over and over, such as a training step, asked of a GPU before.
///
/// [`Gpu::deferred`] gathers what the work asks for until it reads something back, or ends. If that is what was gathered
/// before, but for the parameters of its kernels, it is a graph whose parameters are changed and which is started once.
/// Nothing need be the same from one time to the next: whatever was asked for is done, in order, with the parameters
/// that were given. The host still does its part of the work; what it is spared are the driver's calls, for launches and
/// for memory, which take longer than its own.
#[derive(Default)]
pub(crate) struct Deferred(Option<Starter>);

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sequences = self.0.as_ref().map_or(&[][..], |starter| &starter.sequences);
        let graphs = sequences.iter().filter(|sequence| sequence.graph.is_some()).count();
        write!(f, "{graphs} graphs")
    }
}

impl Gpu {
    /// Does `work`, which is what `deferred` knows from before, and starts what it asks for together. Errors as `work`
    /// does, or where what it asked for cannot be started.
    ///
    /// It is done as it is where the calling thread captures already, where another thread defers work on this device,
    /// and with `VERIDICAL_GRAPHS=off`.
    pub(crate) fn deferred<R>(&self, deferred: &mut Deferred, work: impl FnOnce() -> Result<R>) -> Result<R> {
        /// Ends it also where `work` panics.
        struct End<'a>(&'a Deferral);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        if capture::is_on() || !graphs_are_allowed() || !self.deferral.begin() {
            return work();
        }
        let end = End(&self.deferral);
        let known = deferred.0.take().filter(|known| Arc::ptr_eq(&known.deferral, &self.deferral));
        let starter = known.unwrap_or_else(|| Starter::new(self));
        let (result, starter) = capture::deferring(&self.driver, &self.deferral.pool, starter, work);
        deferred.0 = starter;
        drop(end);
        result
    }

    /// Does `work` as it comes in the midst of what is [deferred](Self::deferred), all of which is started before.
    pub(crate) fn undeferred<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        capture::paused(&self.driver, work)
    }
}

/// Whether `VERIDICAL_GRAPHS` allows graphs: it does unless it is `off`.
pub(crate) fn graphs_are_allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| switch::is_on("VERIDICAL_GRAPHS", true))
}

/// What a device's deferred work has: memory, and whether there is any.
pub(super) struct Deferral {
    driver: Arc<dyn Driver>,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether a thread defers work.
    is_on: bool,
    /// Memory that was freed meanwhile, which commands that are yet to be started may address: addresses and sizes.
    freed: Vec<(u64, usize)>,
}

impl Deferral {
    pub fn new(driver: Arc<dyn Driver>, pool: Pool) -> Self {
        Deferral { driver, pool: Arc::new(pool), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the calling thread may defer: one at a time may.
    fn begin(&self) -> bool {
        !mem::replace(&mut self.state().is_on, true)
    }

    fn end(&self) {
        let freed = {
            let mut state = self.state();
            state.is_on = false;
            mem::take(&mut state.freed)
        };
        freed.into_iter().for_each(|(address, bytes)| self.pool.free(address, bytes));
    }

    /// Gives memory that is not the pool's back to the driver: later, where there may be commands to be started that
    /// address it.
    pub fn free(&self, address: u64, bytes: usize) {
        {
            let mut state = self.state();
            if state.is_on {
                return state.freed.push((address, bytes));
            }
        }
        self.pool.free(address, bytes);
    }

    /// Every command is started.
    fn all_is_started(&self) {
        let freed = mem::take(&mut self.state().freed);
        freed.into_iter().for_each(|(address, bytes)| self.pool.free(address, bytes));
    }

    /// Gives the driver back what deferred work has and does not need, and says whether there was anything.
    pub fn make_room(&self) -> Result<bool> {
        if capture::defers(&self.driver) {
            capture::start(&self.driver)?;
            return Ok(self.pool.give_back());
        }
        // Held, so that nobody begins meanwhile.
        let state = self.state();
        Ok(!state.is_on && self.pool.give_back())
    }
}

/// Starts what was gathered.
pub(super) struct Starter {
    deferral: Arc<Deferral>,
    /// What was started before, that of last time first.
    sequences: Vec<Sequence>,
    /// Where bytes are uploaded to that commands copy from: address and size.
    uploads: Option<(u64, usize)>,
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
    fn new(gpu: &Gpu) -> Self {
        Starter { deferral: gpu.deferral.clone(), sequences: Vec::new(), uploads: None }
    }

    /// Starts the commands in order.
    pub fn start(&mut self, mut commands: Vec<Command>) -> Result<()> {
        let started = self.upload(&mut commands).and_then(|()| self.start_uploaded(commands));
        self.deferral.all_is_started();
        started
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
        self.deferral.driver.upload(address, &all)?;
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
                let address = self.deferral.driver.allocate(size)?;
                self.uploads = Some((address, size));
                Ok(address)
            }
        }
    }

    fn free_uploads(&mut self) {
        if let Some((address, size)) = self.uploads.take() {
            self.deferral.driver.free(address, size);
        }
    }

    fn start_uploaded(&mut self, commands: Vec<Command>) -> Result<()> {
        let driver = &self.deferral.driver;
        if commands.len() < LEAST {
            return commands.iter().try_for_each(|command| command.run(&**driver));
        }
        let known = self.sequences.iter().position(|sequence| sequence.is_like(&commands));
        let mut sequence = match known {
            Some(known) => self.sequences.remove(known),
            None => {
                self.sequences.truncate(MOST - 1);
                Sequence { commands: Vec::new(), graph: None, made: 0, runs: 0 }
            }
        };
        let started = sequence.start(driver, commands);
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

    /// Gives the graph of the commands `before` the parameters of the present ones, and says whether that could be done.
    fn change(&self, before: &[Command], graph: &mut dyn Replay) -> Result<bool> {
        for (i, (before, now)) in before.iter().zip(&self.commands).enumerate() {
            if before != now && !graph.change(i, now)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
