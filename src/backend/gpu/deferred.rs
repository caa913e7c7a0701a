//! Work whose parts a device is told of all at once, as a CUDA graph where it was told the same before.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::driver::{self, Command, Driver, Replay};
use super::pool::Pool;
use super::watches::Watches;
use super::{Gpu, capture};
use crate::backend::switch;
use crate::error::{Error, Result};

/// So many commands at first are gathered before they are started, so that the device begins soon; then twice as many
/// each time, up to the latter number.
const FIRST: usize = 32;
const LARGEST: usize = 256;
/// Fewer commands are started one by one, which takes no longer than to start a graph.
const LEAST: usize = 16;
/// Bytes of an upload that are kept until the commands around it are started; more are uploaded at once.
const MOST_KEPT: usize = 1 << 16;
/// Sequences of commands that are remembered.
const REMEMBERED: usize = 64;
/// How often a sequence's graph is made anew before it was of use.
const TRIES: usize = 3;
/// Runs after which it was.
const OF_USE: usize = 16;
/// What a driver's addresses are multiples of.
const ALIGNMENT: usize = 256;

/// What a piece of work that is done over and over, such as a training step, asked of a GPU before.
///
/// [`Gpu::deferred`] gathers what the work asks for, some hundred commands at a time, and until it reads something back
/// or ends. If they are what was gathered before, but for the parameters of kernels, they are a graph whose parameters
/// are changed and which is started once. Nothing need be the same from one time to the next: whatever was asked for is
/// done, in order, with the parameters that were given. The host still does its part of the work; what it is spared are
/// the driver's calls, for launches and for memory, which take longer than its own.
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
    /// It is done as it comes where the calling thread captures already, where another thread defers work on this
    /// device, and with `VERIDICAL_GRAPHS=off`. Other threads may use the device and what the work made: what was
    /// gathered until then is started before.
    pub(crate) fn deferred<R>(&self, deferred: &mut Deferred, work: impl FnOnce() -> Result<R>) -> Result<R> {
        /// Ends it also where `work` panics.
        struct End<'a>(&'a Deferral);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        if capture::is_on() || !graphs_are_allowed() || !self.deferral.begin(deferred) {
            return work();
        }
        let end = End(&self.deferral);
        let worked = capture::deferring(&self.driver, &self.deferral.pool, work);
        // Also after an error: what was asked for until then is done.
        let started = self.deferral.start();
        deferred.0 = self.deferral.end();
        drop(end);
        worked.and_then(|result| started.map(|()| result))
    }

    /// Does `work` as it comes in the midst of what is [deferred](Self::deferred), all of which is started before.
    pub(crate) fn undeferred<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        self.deferral.start()?;
        Ok(capture::paused(work))
    }

    /// Has the command done by `now`, or later.
    pub(super) fn ask(
        &self,
        command: impl FnOnce() -> Command,
        now: impl FnOnce(&dyn Driver) -> Result<()>,
    ) -> Result<()> {
        if capture::defers(&self.driver) {
            return self.deferral.gather(command());
        }
        capture::note(&self.driver, command);
        self.deferral.start()?;
        now(&*self.driver)
    }

    /// Has bytes uploaded, at once or later.
    pub(super) fn ask_to_upload(&self, to: u64, from: &[u8]) -> Result<()> {
        if from.len() > MOST_KEPT && capture::defers(&self.driver) {
            self.deferral.start()?;
            return self.driver.upload(to, from);
        }
        self.ask(|| Command::Upload { to, from: from.into() }, |driver| driver.upload(to, from))
    }

    /// Is called before something is done that a device cannot do again on its own, and before which it must have been
    /// told of everything.
    pub(super) fn before_the_host_needs_it(&self, why: &'static str) -> Result<()> {
        capture::refuse(&self.driver, why);
        self.deferral.start()
    }
}

/// Whether `VERIDICAL_GRAPHS` allows graphs: it does unless it is `off`.
pub(crate) fn graphs_are_allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| switch::is_on("VERIDICAL_GRAPHS", true))
}

/// What a device's deferred work has: memory, and what was gathered.
pub(super) struct Deferral {
    driver: Arc<dyn Driver>,
    watches: Arc<Watches>,
    pool: Arc<Pool>,
    /// Whether a thread defers work. One at a time may.
    is_on: AtomicBool,
    queue: Mutex<Option<Queue>>,
    /// Memory that was given up meanwhile, and which commands that are yet to be started may address: addresses and
    /// sizes.
    freed: Mutex<Vec<(u64, usize)>>,
}

/// Commands that wait, and what starts them.
struct Queue {
    commands: Vec<Command>,
    /// How many of them are started together.
    lot: usize,
    starter: Starter,
}

impl Deferral {
    pub fn new(driver: Arc<dyn Driver>, watches: Arc<Watches>, pool: Pool) -> Self {
        let (queue, freed) = (Mutex::default(), Mutex::default());
        Deferral { driver, watches, pool: Arc::new(pool), is_on: AtomicBool::new(false), queue, freed }
    }

    /// Begins with what is known from before. Says whether it could, as one thread at a time may.
    fn begin(self: &Arc<Self>, deferred: &mut Deferred) -> bool {
        let mut queue = locked(&self.queue);
        if queue.is_some() {
            return false;
        }
        let known = deferred.0.take().filter(|known| Arc::ptr_eq(&known.driver, &self.driver));
        let starter = known.unwrap_or_else(|| Starter::new(self.driver.clone()));
        *queue = Some(Queue { commands: Vec::new(), lot: FIRST, starter });
        self.is_on.store(true, Ordering::Release);
        true
    }

    /// Ends it, and gives back what is known. What has not been started then is lost.
    fn end(&self) -> Option<Starter> {
        let mut queue = locked(&self.queue);
        let mut freed = locked(&self.freed);
        self.is_on.store(false, Ordering::Release);
        self.give_back(&mut freed);
        queue.take().map(|queue| queue.starter)
    }

    fn give_back(&self, freed: &mut Vec<(u64, usize)>) {
        freed.drain(..).for_each(|(address, bytes)| self.pool.free(address, bytes));
    }

    /// Takes a command over from the thread that defers.
    fn gather(&self, command: Command) -> Result<()> {
        let mut queue = locked(&self.queue);
        let Some(Queue { commands, lot, .. }) = queue.as_mut() else { return command.run(&*self.driver) };
        commands.push(command);
        if commands.len() < *lot {
            return Ok(());
        }
        let next = (2 * *lot).min(LARGEST);
        let started = self.start_locked(&mut queue);
        if let Some(queue) = queue.as_mut() {
            queue.lot = next;
        }
        started
    }

    /// Starts what was gathered, by whichever thread.
    fn start(&self) -> Result<()> {
        if !self.is_on.load(Ordering::Acquire) {
            return Ok(());
        }
        self.start_locked(&mut locked(&self.queue))
    }

    fn start_locked(&self, queue: &mut Option<Queue>) -> Result<()> {
        let Some(Queue { commands, lot, starter }) = queue else { return Ok(()) };
        *lot = FIRST;
        let started = starter.start(mem::take(commands));
        self.give_back(&mut locked(&self.freed));
        started
    }

    /// Gives memory that is not the pool's back to the driver: later, where commands that address it may be waiting.
    pub fn free(&self, address: u64, bytes: usize) {
        let mut freed = locked(&self.freed);
        if self.is_on.load(Ordering::Acquire) {
            self.watches.freed(address, bytes);
            return freed.push((address, bytes));
        }
        drop(freed);
        self.pool.free(address, bytes);
    }

    /// Whether this is the pool of deferred work.
    pub fn has(&self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// Gives the driver back what deferred work has and does not need, and says whether there was anything.
    pub fn make_room(&self) -> Result<bool> {
        // Held, so that nothing is gathered meanwhile.
        let mut queue = locked(&self.queue);
        let waiting = !locked(&self.freed).is_empty();
        self.start_locked(&mut queue)?;
        Ok(self.pool.trim() | waiting)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts what was gathered.
struct Starter {
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
    fn new(driver: Arc<dyn Driver>) -> Self {
        Starter { sequences: Vec::new(), uploads: None, driver }
    }

    /// Starts the commands in order.
    fn start(&mut self, mut commands: Vec<Command>) -> Result<()> {
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
