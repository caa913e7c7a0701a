//! Stopping a computation from outside: a request that is heeded wherever the computation is.
//!
//! A [`Stop`] is made by whoever may want to stop, and the thread that computes [enters](Stop::enter) it. Once the stop
//! is requested, from any other thread, the next operation, gradient, step of an optimiser, metric or checksum on the
//! thread that entered ends in [`Error::Stopped`]; so any call into this crate is left within about the time of one
//! operation, be it the sampler of a large network or a training run. A training step that is left so has changed
//! nothing, and a [run](crate::train::run()) that is stopped writes the checkpoint of its last whole step, from which
//! it goes on bit for bit.
//!
//! ```
//! use veridical::stop::Stop;
//! use veridical::{Device, Error, Tensor, ops};
//! # fn main() -> veridical::Result<()> {
//! let stop = Stop::new();
//! let remote = stop.clone(); // for the thread that will request it
//! let x = Tensor::zeros([3], veridical::DType::F32, &Device::Cpu)?;
//! {
//!     let _heeding = stop.enter();
//!     assert!(ops::silu(&x).is_ok());
//!     std::thread::spawn(move || remote.request()).join().ok();
//!     assert!(matches!(ops::silu(&x), Err(Error::Stopped)));
//! }
//! assert!(ops::silu(&x).is_ok()); // outside of the scope nothing is heeded
//! # Ok(())
//! # }
//! ```
//!
//! What is heeded belongs to the thread. Whoever computes on threads of their own enters on each of them.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::error::{Error, Result};

thread_local! {
    static HEEDED: RefCell<Option<Stop>> = const { RefCell::new(None) };
}

/// A request to stop, once for good. Cheap to clone; clones are the same request.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that nobody has requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that heeds it to stop. It cannot be taken back.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Makes the calling thread heed this stop, in place of any other, until the guard is dropped.
    pub fn enter(&self) -> Heeding {
        heed(Some(self.clone()))
    }

    /// What the calling thread heeds, to be entered on another one.
    pub fn current() -> Option<Self> {
        HEEDED.with_borrow(Clone::clone)
    }
}

/// As long as it lives the thread heeds a stop; then what it heeded before. Guards are to be dropped in the reverse
/// order of their making, as scopes do by themselves.
#[derive(Debug)]
#[must_use = "nothing is heeded once the guard is dropped"]
pub struct Heeding {
    before: Option<Stop>,
    /// Belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl Drop for Heeding {
    fn drop(&mut self) {
        // A thread that is coming to its end heeds nothing any more.
        let _ = HEEDED.try_with(|heeded| heeded.replace(self.before.take()));
    }
}

/// Makes the calling thread heed nothing until the guard is dropped: for what is done whole or not at all, such as a
/// file or an update in place.
pub fn shield() -> Heeding {
    heed(None)
}

/// Makes the calling thread heed `stop`, or nothing.
pub(crate) fn heed(stop: Option<Stop>) -> Heeding {
    Heeding { before: HEEDED.replace(stop), _thread: PhantomData }
}

/// [`Error::Stopped`] once what the calling thread heeds was requested. To be asked in long loops of your own;
/// operations ask it themselves.
#[inline]
pub fn check() -> Result<()> {
    match HEEDED.with_borrow(|heeded| heeded.as_ref().is_some_and(Stop::is_requested)) {
        true => Err(Error::Stopped),
        false => Ok(()),
    }
}

/// Runs `work` behind a [`shield`].
pub fn shielded<R>(work: impl FnOnce() -> R) -> R {
    let _shield = shield();
    work()
}

/// For tasks on other threads: whether the calling thread is to stop. Once it says so a task may leave its part undone,
/// because a request stands for good: the calling thread's [`check`] after the tasks then makes the whole an error.
pub(crate) fn watch() -> impl Fn() -> bool + Send + Sync {
    let stop = Stop::current();
    move || stop.as_ref().is_some_and(Stop::is_requested)
}

/// How often a thread that waits for [`or_leave`]'s work looks up.
const GLANCE: Duration = Duration::from_millis(20);

/// Runs `work` that cannot be interrupted, such as a decomposition of a large matrix by another crate, so that the
/// caller can leave it: on a thread of its own, which is left to itself once the calling thread is to stop.
///
/// On the calling thread where that heeds no stop, and where no thread can be had. `work` must not use rayon's threads:
/// the calling one may be among them, and does not serve while it waits. Errors if the calling thread is to stop.
pub fn or_leave<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    check()?;
    if Stop::current().is_none() {
        return Ok(work());
    }
    // Shared, so that the work is still there if no thread can be had.
    let work = Arc::new(Mutex::new(Some(work)));
    let taken = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (send, receive) = mpsc::channel();
    let there = work.clone();
    let started = std::thread::Builder::new().name("left to itself".into()).spawn(move || {
        if let Some(work) = taken(&there) {
            let _ = send.send(work());
        }
    });
    if started.is_err() {
        return taken(&work).map(|work| work()).ok_or(Error::Stopped);
    }
    loop {
        match receive.recv_timeout(GLANCE) {
            Ok(done) => return Ok(done),
            Err(mpsc::RecvTimeoutError::Timeout) => check()?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::argument("or_leave", "the work ended in a panic"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::Stopped))
    }

    #[test]
    fn a_stop_is_heeded_in_its_scope_and_on_its_thread() {
        let (outer, inner) = (Stop::new(), Stop::new());
        outer.request();
        assert!(check().is_ok());
        let outside = outer.enter();
        assert!(stopped(check()));
        {
            let _heeding = inner.enter();
            assert!(check().is_ok(), "the inner stop stands in place of the outer one");
            inner.clone().request();
            assert!(stopped(check()) && shielded(check).is_ok() && stopped(check()));
        }
        assert!(stopped(check()));
        assert!(std::thread::spawn(check).join().unwrap().is_ok(), "another thread heeds nothing");
        drop(outside);
        assert!(check().is_ok() && Stop::current().is_none());
    }

    #[test]
    fn what_cannot_be_interrupted_is_left() {
        assert_eq!(or_leave(|| 7).unwrap(), 7);
        let stop = Stop::new();
        let _heeding = stop.enter();
        let caller = std::thread::current().id();
        assert_ne!(or_leave(|| std::thread::current().id()).unwrap(), caller);
        // Work that waits for what comes after it has been left.
        let (go_on, wait) = mpsc::channel::<()>();
        let remote = stop.clone();
        let left = or_leave(move || {
            remote.request();
            wait.recv()
        });
        assert!(stopped(left));
        drop(go_on);
        assert!(stopped(or_leave(|| 7)), "nothing is begun any more");
    }

    /// Where a worker works along, it leaves such work as any other thread does.
    #[test]
    fn a_worker_leaves_what_cannot_be_interrupted() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| {
            let stop = Stop::new();
            let _heeding = stop.enter();
            let caller = std::thread::current().id();
            assert_ne!(or_leave(|| std::thread::current().id()).unwrap(), caller);
            let (go_on, wait) = mpsc::channel::<()>();
            let left = or_leave(move || {
                stop.request();
                wait.recv()
            });
            assert!(stopped(left));
            drop(go_on);
        });
    }

    #[test]
    fn work_that_panics_is_an_error() {
        let stop = Stop::new();
        let _heeding = stop.enter();
        let error = or_leave(|| assert!(std::hint::black_box(1) > 1, "on purpose")).unwrap_err().to_string();
        assert!(error.contains("panic"), "{error}");
    }
}
