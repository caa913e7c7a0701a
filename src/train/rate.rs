//! How fast a run is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Images a second over the last some seconds.
pub(super) struct Recent {
    marks: VecDeque<(Instant, u64)>,
}

impl Recent {
    pub fn new(seen: u64) -> Self {
        Recent { marks: [(Instant::now(), seen)].into() }
    }

    pub fn rate(&mut self, seen: u64) -> f64 {
        const WINDOW: Duration = Duration::from_secs(20);
        let now = Instant::now();
        self.marks.push_back((now, seen));
        while self.marks.len() > 2 && now - self.marks[0].0 > WINDOW {
            self.marks.pop_front();
        }
        let (from, first) = self.marks[0];
        (seen - first) as f64 / (now - from).as_secs_f64().max(1e-9)
    }
}
