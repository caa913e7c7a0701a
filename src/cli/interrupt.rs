//! Signals: the first ends a command with what there is, a later one ends the process.
//!
//! A thread waits for them, and all others block them. So a command ends whatever its threads are doing, be it a read
//! from a disk that does not answer or a kernel of seconds, and nothing has to be done in a signal handler, where
//! little may be.
//!
//! As long as there is nothing to keep the first signal ends the process, too. A command says from when on that is
//! otherwise: by [`keeping`], in which the library heeds the stop, or by [`writing`], which is short and not left
//! half-way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use veridical::stop::{self, Heeding, Stop};

use super::Ended;
use super::progress::note;

static STOP: LazyLock<Stop> = LazyLock::new(Stop::new);

/// What becomes of the work when a signal comes; `None`: there is nothing to keep.
static KEPT: Mutex<Option<&'static str>> = Mutex::new(None);

/// Whether a stop is heeded where somebody [asks](requested) for it, and nowhere else.
static IS_ASKED_FOR: AtomicBool = AtomicBool::new(false);

/// From here on a stop is heeded where somebody [asks](requested) for it, and nowhere else: processes that share their
/// work stop together, not each wherever it is.
pub fn is_asked_for() {
    IS_ASKED_FOR.store(true, Ordering::Relaxed);
}

/// Signals that follow each other faster are one: `timeout` sends its own twice.
const TWICE: Duration = Duration::from_millis(500);

/// As long as it lives a signal does not end the process but asks for a stop.
pub struct Keeping {
    before: Option<&'static str>,
    _heeding: Heeding,
}

impl Keeping {
    /// From here on something else is kept.
    pub fn now(&mut self, what: &'static str) {
        *kept() = Some(what);
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        *kept() = self.before;
    }
}

fn kept() -> MutexGuard<'static, Option<&'static str>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on a stop is heeded: what computes ends in [`Error::Stopped`](veridical::Error::Stopped), and `what` says
/// what is kept then.
pub fn keeping(what: &'static str) -> Keeping {
    let heeding = if IS_ASKED_FOR.load(Ordering::Relaxed) { stop::shield() } else { STOP.enter() };
    Keeping { before: kept().replace(what), _heeding: heeding }
}

/// From here on results are written, which a stop waits for.
pub fn writing() -> Keeping {
    Keeping { before: kept().replace("what is being written is finished"), _heeding: stop::shield() }
}

/// Whether a stop was asked for.
pub fn requested() -> bool {
    STOP.is_requested()
}

/// How a command that was not ended by a stop, but may have seen one, came to its end.
pub fn ended() -> Ended {
    if requested() { Ended::Interrupted } else { Ended::Done }
}

/// Begins to wait for Ctrl-C, SIGTERM and SIGHUP. Those that are ignored, as `nohup` and a shell's `&` have it, stay
/// so.
pub fn catch() {
    if let Err(error) = signals::wait(signalled) {
        note(&format!("no thread to wait for signals can be had ({error}): they end the command at once"));
    }
}

fn signalled() {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    if let Some(first) = FIRST.get() {
        if first.elapsed() >= TWICE {
            signals::quit();
        }
        return;
    }
    let _ = FIRST.set(Instant::now());
    let kept = kept();
    let Some(what) = *kept else {
        // With the lock held: nothing that is to be kept is begun any more.
        signals::say("stopped: nothing more is written\n");
        signals::quit();
    };
    drop(kept);
    STOP.request();
    signals::say(&format!("stopping: {what}; another signal ends the command at once\n"));
}

#[cfg(unix)]
mod signals {
    use std::io::{self, IsTerminal};
    use std::mem::zeroed;
    use std::ptr::{null, null_mut};

    use super::Ended;

    const STOPPING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

    /// Calls `signalled` for each signal, on a thread of its own. To be called before other threads are started, which
    /// block the signals then.
    pub fn wait(signalled: fn()) -> io::Result<()> {
        // A file that grows beyond its limit (ulimit -f) is an error of the call that writes, not the end of the
        // process. SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let set = left_to_us();
        mask(libc::SIG_BLOCK, &set);
        let wait = move || {
            let mut signal = 0;
            loop {
                // SAFETY: both are valid for the call, and the set holds blocked signals.
                if unsafe { libc::sigwait(&set, &mut signal) } == 0 {
                    signalled();
                }
            }
        };
        let started = std::thread::Builder::new().name("signals".into()).stack_size(1 << 18).spawn(wait);
        if started.is_err() {
            mask(libc::SIG_UNBLOCK, &set);
        }
        started.map(drop)
    }

    /// The signals that whoever started the process has neither ignored nor blocked.
    fn left_to_us() -> libc::sigset_t {
        // SAFETY: plain old data, filled below.
        let (mut set, mut blocked): (libc::sigset_t, libc::sigset_t) = unsafe { (zeroed(), zeroed()) };
        // SAFETY: sets and actions are valid for the calls, which only read what the process has.
        unsafe {
            libc::sigemptyset(&mut set);
            libc::pthread_sigmask(libc::SIG_BLOCK, null(), &mut blocked);
            for signal in STOPPING {
                let mut action: libc::sigaction = zeroed();
                libc::sigaction(signal, null(), &mut action);
                if action.sa_sigaction != libc::SIG_IGN && libc::sigismember(&blocked, signal) == 0 {
                    libc::sigaddset(&mut set, signal);
                }
            }
        }
        set
    }

    fn mask(how: libc::c_int, set: &libc::sigset_t) {
        // SAFETY: the set is valid for the call.
        unsafe { libc::pthread_sigmask(how, set, null_mut()) };
    }

    /// Writes to standard error unless that would wait: whoever waits for signals waits for nothing else, be it a
    /// reader that is slow or another thread's hold on the stream.
    pub fn say(text: &str) {
        // After the terminal's ^C.
        let text = if io::stderr().is_terminal() { format!("\n{text}") } else { text.into() };
        let mut ready = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, and the text's own bytes.
        unsafe {
            if libc::poll(&mut ready, 1, 0) == 1 && ready.revents & libc::POLLOUT != 0 {
                libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
            }
        }
    }

    /// Ends the process, without waiting for anything.
    pub fn quit() -> ! {
        // SAFETY: what it leaves out, destructors and buffers, is of no use any more.
        unsafe { libc::_exit(Ended::INTERRUPTED.into()) }
    }
}

#[cfg(not(unix))]
mod signals {
    use std::io::{self, Write};

    use super::Ended;

    /// Calls `signalled` for each Ctrl-C, on a thread of its own.
    pub fn wait(signalled: fn()) -> io::Result<()> {
        ctrlc::set_handler(signalled).map_err(io::Error::other)
    }

    /// Writes to standard error.
    pub fn say(text: &str) {
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Ends the process.
    pub fn quit() -> ! {
        std::process::exit(Ended::INTERRUPTED.into())
    }
}
