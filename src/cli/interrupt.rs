//! Ctrl-C: the first asks for a clean stop, the second ends the process.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use veridical::{Error, Result};

use super::Ended;

static STOP: AtomicBool = AtomicBool::new(false);

/// Catches Ctrl-C and, where there are such signals, SIGTERM and SIGHUP.
pub fn catch() -> Result<()> {
    let caught = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Ended::INTERRUPTED));
        }
        let _ = writeln!(
            std::io::stderr(),
            "\nstopping after this step and keeping what there is; Ctrl-C again quits at once"
        );
    });
    caught.map_err(|e| Error::Config(format!("cannot catch Ctrl-C: {e}")))
}

/// Whether a stop was asked for; loops look at it once a step.
pub fn requested() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// How a command that heeds [`requested`] came to its end.
pub fn ended() -> Ended {
    if requested() { Ended::Interrupted } else { Ended::Done }
}
