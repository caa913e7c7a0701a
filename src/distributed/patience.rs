//! How long ranks wait for each other.

use std::time::Duration;

/// How long ranks wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For all to be there, at the start.
    pub meeting: Duration,
    /// For any sign of life: a process that was stopped, a machine that went, a cable that was cut. Ranks that live say
    /// so every second, whatever they compute.
    pub silence: Duration,
    /// For a rank that lives to come to the exchange that the others are at: the first one may draw and measure
    /// meanwhile.
    pub work: Duration,
}

impl Default for Patience {
    /// Five minutes to meet, thirty seconds of silence, an hour of work.
    fn default() -> Self {
        Patience {
            meeting: Duration::from_secs(300),
            silence: Duration::from_secs(30),
            work: Duration::from_secs(3600),
        }
    }
}
