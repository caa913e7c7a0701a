//! Work on a thread of its own: Python's lock is released, and Ctrl-C is heeded.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use veridical::Result;
use veridical::stop::Stop;

use crate::errors::{OrRaise, raised};

/// Between two looks at what signals have come.
const GLANCE: Duration = Duration::from_millis(100);
/// What the main thread of a program has, for networks of any depth.
const STACK: usize = 8 << 20;

/// Does `work` without Python's lock. Where a signal's handler raises meanwhile, as that of Ctrl-C does, the work is
/// [stopped](veridical::stop), and what the handler raised is raised once it has ended: within about the time of one
/// operation, and what it keeps is kept.
pub fn released<T: Send>(py: Python, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    unforked(py)?;
    let stop = Stop::new();
    let done = Arc::new((Mutex::new(false), Condvar::new()));
    std::thread::scope(|scope| {
        let (heeded, ending) = (stop.clone(), Done(done.clone()));
        let worker = Builder::new().name("veridical".into()).stack_size(STACK).spawn_scoped(scope, move || {
            let _ending = ending;
            let _heeding = heeded.enter();
            work()
        })?;
        let mut interrupted = None;
        while !py.detach(|| is_done(&done)) {
            if let Err(raised) = py.check_signals() {
                stop.request();
                interrupted.get_or_insert(raised);
            }
        }
        let ended = py.detach(|| worker.join());
        match (interrupted, ended) {
            (Some(raised), _) => Err(raised),
            (None, Ok(result)) => result.or_raise(py),
            (None, Err(_)) => Err(PyRuntimeError::new_err("veridical: the work ended in a panic, which is a bug")),
        }
    })
}

/// Waits a moment for the end.
fn is_done((done, ended): &(Mutex<bool>, Condvar)) -> bool {
    let guard = done.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = ended.wait_timeout_while(guard, GLANCE, |done| !*done);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Says that the thread comes to its end, also by a panic.
struct Done(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Done {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

/// Errors in a process that was forked after the threads of the CPU's kernels were started: they are not in it, and it
/// would wait for them for ever.
fn unforked(py: Python) -> PyResult<()> {
    static FIRST: OnceLock<u32> = OnceLock::new();
    match *FIRST.get_or_init(std::process::id) == std::process::id() {
        true => Ok(()),
        false => Err(raised(
            py,
            "VeridicalError",
            "this process was forked from one that used veridical, whose threads are not in it; start it by \
             multiprocessing.get_context(\"spawn\"), or use veridical in the children only",
        )),
    }
}
