//! Work whose parts a device is told of all at once, as a CUDA graph where it was told the same before.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::driver::{Command, Driver};
use super::pool::Pool;
use super::starter::Starter;
use super::watches::Watches;
use super::{Gpu, capture};
use crate::backend::switch;
use crate::error::Result;

/// So many commands at first are gathered before they are started, so that the device begins soon; then twice as many
/// each time, up to the latter number.
const FIRST: usize = 32;
const LARGEST: usize = 256;
/// Bytes of an upload that are kept until the commands around it are started; more are uploaded at once.
const MOST_KEPT: usize = 1 << 16;

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
        write!(f, "{} graphs", self.0.as_ref().map_or(0, Starter::graphs))
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
        let known = deferred.0.take().filter(|known| known.is_of(&self.driver));
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
