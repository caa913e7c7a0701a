//! How far a loop is, on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use veridical::escape::escaped_lines;
use veridical::figures::fixed;

/// Before this a rate is a guess.
const FIRST_RATE: Duration = Duration::from_millis(500);
/// Between two lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Whether neither progress nor accounts are wanted.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From here on there is no progress, and no [`note`]s.
pub fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

pub struct Progress {
    what: &'static str,
    first: u64,
    total: u64,
    started: Instant,
    /// A running mean of the loss over some fifty steps, and its weight.
    mean: (f64, f64),
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Progress {
    pub fn new(what: &'static str, total: u64) -> Self {
        Self::from(what, 0, total)
    }

    /// The bar of a loop that goes on where `first` were done before.
    pub fn from(what: &'static str, first: u64, total: u64) -> Self {
        let bar = (std::io::stderr().is_terminal() && !is_quiet()).then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{prefix:<10} {bar:32} {pos:>5}/{len} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(what);
            bar
        });
        Progress { what, first, total, started: Instant::now(), mean: (0.0, 0.0), bar, last_line: None }
    }

    /// After `done` of the steps, the last of which had this loss, if there is such a thing.
    pub fn tick(&mut self, done: u64, loss: Option<f64>) {
        if let Some(loss) = loss {
            self.mean = (0.98 * self.mean.0 + 0.02 * loss, 0.98 * self.mean.1 + 0.02);
        }
        if is_quiet() {
            return;
        }
        let elapsed = self.started.elapsed();
        let now = done.saturating_sub(self.first);
        let left = elapsed.mul_f64((self.total - done.min(self.total)) as f64 / now.max(1) as f64);
        let rate = now as f64 / elapsed.as_secs_f64().max(1e-9);
        let mut state = match elapsed >= FIRST_RATE {
            true => format!("{rate:.1}/s  ETA {}", clock(left)),
            false => String::new(),
        };
        if self.mean.1 > 0.0 {
            state = format!("loss {}  {state}", fixed(self.mean.0 / self.mean.1, 3));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(state);
        } else if done == self.total || self.last_line.is_none_or(|last| last.elapsed() >= QUIET) {
            self.last_line = Some(Instant::now());
            let _ = writeln!(std::io::stderr(), "{} {done}/{}  {state}", self.what, self.total);
        }
    }

    /// Leaves the bar as it stands and goes to the next line.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.abandon();
        }
    }
}

/// A line of news on standard error, in which nothing that stood in a file acts on the terminal. Who asked for quiet is
/// not told.
pub fn note(text: &str) {
    if !is_quiet() {
        warn(text);
    }
}

/// The same of what is told in any case: that a result is not whole.
pub fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escaped_lines(text));
}

/// Minutes and seconds.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}
