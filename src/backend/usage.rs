//! How much memory the buffers of a device hold.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes in live buffers, and the most that there were.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    live: AtomicUsize,
    peak: AtomicUsize,
}

impl Usage {
    pub const fn new() -> Self {
        Usage { live: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// A buffer was made.
    pub fn add(&self, bytes: usize) {
        let live = self.live.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(live, Relaxed);
    }

    /// A buffer was dropped that had been added.
    pub fn remove(&self, bytes: usize) {
        self.live.fetch_sub(bytes, Relaxed);
    }

    /// The most bytes that were live at once since the last reset.
    pub fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }

    /// Begins anew with what is live.
    pub fn reset_peak(&self) {
        self.peak.store(self.live.load(Relaxed), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_outlives_its_buffers_until_the_reset() {
        let usage = Usage::new();
        usage.add(5);
        usage.add(7);
        usage.remove(5);
        usage.add(2);
        assert_eq!(usage.peak(), 12);
        usage.reset_peak();
        assert_eq!(usage.peak(), 9);
        usage.add(1);
        assert_eq!(usage.peak(), 10);
    }
}
