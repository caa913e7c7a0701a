//! The threads that the CPU's kernels run on: all processors, or as many as `RAYON_NUM_THREADS` says. Results do not
//! depend on it.
//!
//! They are rayon's. Where a process may start fewer than are wanted, rayon would panic at its first use; [`start`]
//! finds out how many can be had, and makes do with them, down to the calling thread alone. The first tensor on the CPU
//! calls it, if nobody did before. Between the loops of a network they stay together (`backend/cpu/team`): when
//! there have been some, threads look for the next one for 2 ms, and let others pass meanwhile. A program whose main
//! thread does the work calls [`start_here`] first: a loop is then begun and ended without waking another thread, which
//! networks of small tensors feel (docs/performance.md).

use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::ThreadPoolBuilder;

use crate::error::{Error, Result};

/// The variable that says how many.
const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Threads for each processor that are still taken for meant; each takes stack and buffers.
const MOST_FOR_EACH: usize = 16;
/// As many are taken for meant on any machine.
const MOST_ANYWHERE: usize = 256;

/// Whether there are threads, started here or by others.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether the first of them is the thread that started the others.
static FIRST_IS_CALLERS: AtomicBool = AtomicBool::new(false);

/// Starts the threads, unless somebody has. Returns what is worth a line: a number that was not taken as it stands, or
/// threads that could not be had.
///
/// Errors if `RAYON_NUM_THREADS` is no number, and if not even the threads can be had that could be a moment before.
pub fn start() -> Result<Vec<String>> {
    start_by(Caller::Waits)
}

/// As [`start`], with the calling thread as one of them. It must be one that lasts as long as the process does, and it
/// should not wait for other threads that use tensors: with `RAYON_NUM_THREADS=1` it is the only one that serves them.
pub fn start_here() -> Result<Vec<String>> {
    start_by(Caller::WorksAlong)
}

/// What the thread that starts the others does while they work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Waits,
    WorksAlong,
}

fn start_by(caller: Caller) -> Result<Vec<String>> {
    static STARTING: Mutex<()> = Mutex::new(());
    // In a pool of the caller's own there are threads already, and rayon takes those.
    if rayon::current_thread_index().is_some() {
        return Ok(Vec::new());
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if STARTED.load(Ordering::Acquire) {
        return Ok(Vec::new());
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let (wanted, mut notes) = wanted(std::env::var_os(VARIABLE).as_deref(), processors)?;
    // To be started besides the calling thread.
    let besides = match caller {
        Caller::Waits => wanted,
        Caller::WorksAlong => wanted - 1,
    };
    let had = match can_be_had(besides) {
        all if all == besides => all,
        // What the limit leaves is for the rest of the process and of the user, too.
        some => some / 2,
    };
    let all = wanted - besides + had;
    if all < wanted {
        let those = if had == 0 { "the calling one".into() } else { format!("{all}") };
        notes.push(format!(
            "{wanted} threads were to be started, which the system does not give (ulimit -u, pids.max, memory): going on with {those}"
        ));
    }
    let pool = match (caller, had) {
        (Caller::Waits, 1..) => ThreadPoolBuilder::new().num_threads(had),
        _ => ThreadPoolBuilder::new().num_threads(1 + had).use_current_thread(),
    };
    let built = pool.build_global();
    STARTED.store(true, Ordering::Release);
    match built {
        Err(error) if std::error::Error::source(&error).is_some() => Err(Error::Unavailable {
            device: "cpu".into(),
            why: format!("{had} threads cannot be started: {error}; raise ulimit -u, or set {VARIABLE}=1"),
        }),
        // Somebody else's threads are as good.
        Err(_) => Ok(Vec::new()),
        Ok(()) => {
            FIRST_IS_CALLERS.store(caller == Caller::WorksAlong || had == 0, Ordering::Release);
            Ok(notes)
        }
    }
}

/// Whether the first of rayon's threads is a program's own, which [`start_here`] was called on.
pub(crate) fn first_is_callers() -> bool {
    FIRST_IS_CALLERS.load(Ordering::Acquire)
}

/// As [`start`], for whoever is about to use the threads and has nowhere to write a line.
#[inline]
pub(crate) fn ensure() -> Result<()> {
    if STARTED.load(Ordering::Acquire) { Ok(()) } else { start().map(drop) }
}

/// How many threads the variable asks for, and what is worth saying about that. Errors if it holds anything but digits.
fn wanted(text: Option<&OsStr>, processors: usize) -> Result<(usize, Vec<String>)> {
    let Some(text) = text else { return Ok((processors, Vec::new())) };
    let shown = text.to_string_lossy();
    let all = |what: &str| {
        let note = format!("{VARIABLE} is {what}: a thread for each of {processors} processors, as without it");
        Ok((processors, vec![note]))
    };
    if text.is_empty() {
        return all("empty");
    }
    if !shown.bytes().all(|byte| byte.is_ascii_digit()) {
        let shown = shown.escape_debug();
        let what = format!("{VARIABLE} is `{shown}`, which is no number of threads; set it to 1 or more, or unset it");
        return Err(Error::Config(what));
    }
    let most = MOST_ANYWHERE.max(MOST_FOR_EACH * processors);
    // What does not fit is more than enough.
    match shown.parse().unwrap_or(usize::MAX) {
        0 => all("0"),
        number if number > most => {
            let note =
                format!("{VARIABLE} is {shown}, far more than the {processors} processors: {most} threads are started");
            Ok((most, vec![note]))
        }
        number if number > processors => {
            let note = format!("{VARIABLE} is {shown}, more than the {processors} processors, which they share");
            Ok((number, vec![note]))
        }
        number => Ok((number, Vec::new())),
    }
}

/// How many of so many threads can be had at once.
fn can_be_had(wanted: usize) -> usize {
    // They wait at a gate that opens when all are there.
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let closed = gate.lock();
        let wait = || drop(gate.lock());
        let started = (0..wanted).map_while(|_| std::thread::Builder::new().spawn_scoped(scope, wait).ok()).count();
        drop(closed);
        started
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_taken_at_its_word_or_said() {
        let of = |text: &str| wanted(Some(OsStr::new(text)), 4);
        let said = |text: &str| -> (usize, String) {
            let (count, notes) = of(text).unwrap();
            (count, notes.concat())
        };
        assert_eq!(wanted(None, 4).unwrap(), (4, vec![]));
        for (text, count) in [("1", 1), ("3", 3), ("004", 4)] {
            assert_eq!(said(text), (count, String::new()), "{text}");
        }
        for (text, count, says) in [
            ("", 4, "is empty"),
            ("0", 4, "is 0"),
            ("007", 7, "is 007, more than the 4 processors"),
            ("256", 256, "more than the 4 processors"),
            ("257", 256, "is 257"),
            ("100000", 256, "256 threads are started"),
            ("99999999999999999999999", 256, "is 99999999999999999999999"),
        ] {
            let (found, note) = said(text);
            assert!(found == count && note.contains(says) && note.starts_with(VARIABLE), "{text}: {found}, {note}");
        }
        assert_eq!(wanted(Some(OsStr::new("1000")), 1000).unwrap(), (1000, vec![]));
        let (count, notes) = wanted(Some(OsStr::new("1000")), 100).unwrap();
        assert!(count == 1000 && notes.len() == 1, "{notes:?}");
        for text in ["abc", "-1", "+2", "1.5", "4 ", "0x4", "\u{664}", "two\nlines"] {
            let error = of(text).unwrap_err();
            assert!(
                matches!(&error, Error::Config(what) if what.starts_with(VARIABLE) && !what.contains('\n')),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_no_number() {
        use std::os::unix::ffi::OsStrExt;
        assert!(wanted(Some(OsStr::from_bytes(b"2\xff")), 4).is_err());
    }

    #[test]
    fn threads_are_counted_and_started_once() {
        assert_eq!((can_be_had(0), can_be_had(3)), (0, 3));
        start().unwrap();
        assert_eq!(start().unwrap(), Vec::<String>::new());
        ensure().unwrap();
    }
}
