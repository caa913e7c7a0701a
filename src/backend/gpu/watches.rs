//! Who must learn of memory that is freed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::driver::Command;

/// Compares memory that is freed with what a graph addresses.
#[derive(Default)]
pub(crate) struct Watch {
    found: Mutex<Found>,
    stale: AtomicBool,
}

#[derive(Default)]
struct Found {
    /// The words that may be addresses, rising; none until all are known.
    words: Option<Vec<u64>>,
    /// What was freed before that: addresses and sizes.
    freed: Vec<(u64, usize)>,
}

impl Watch {
    /// Whether memory was freed that is addressed.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares what was freed since the beginning, and what will be, with what these address, and with `mapped`.
    pub fn look_for(&self, commands: &[Command], mapped: &[u64]) {
        let mut words = mapped.to_vec();
        for command in commands {
            match command {
                // Any word of the struct: a size that passes for an address costs a new capture at worst.
                Command::Launch { params, .. } => {
                    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
                    words.extend(params.chunks_exact(8).map(word));
                }
                Command::Copy { to, from, .. } => words.extend([*to, *from]),
                Command::Zero { to, .. } | Command::Upload { to, .. } => words.push(*to),
            }
        }
        words.sort_unstable();
        words.dedup();
        let mut found = self.found();
        let freed = std::mem::take(&mut found.freed);
        self.compare(&words, &freed);
        found.words = Some(words);
    }

    fn freed(&self, address: u64, bytes: usize) {
        let mut found = self.found();
        match &found.words {
            Some(words) => self.compare(words, &[(address, bytes)]),
            None => found.freed.push((address, bytes)),
        }
    }

    fn compare(&self, words: &[u64], freed: &[(u64, usize)]) {
        let within = |&(address, bytes): &(u64, usize)| {
            let first = words.partition_point(|&word| word < address);
            words.get(first).is_some_and(|&word| word - address < bytes as u64)
        };
        if freed.iter().any(within) {
            self.stale.store(true, Ordering::Release);
        }
    }
}

/// The graphs that must learn of memory that is freed.
#[derive(Default)]
pub(crate) struct Watches {
    any: AtomicBool,
    all: Mutex<Vec<Weak<Watch>>>,
}

impl Watches {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<Watch>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, watch: &Arc<Watch>) {
        self.all().push(Arc::downgrade(watch));
        self.any.store(true, Ordering::Release);
    }

    /// Is called before the memory goes back to the driver.
    pub fn freed(&self, address: u64, bytes: usize) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut all = self.all();
        all.retain(|watch| watch.upgrade().inspect(|watch| watch.freed(address, bytes)).is_some());
        if all.is_empty() {
            self.any.store(false, Ordering::Release);
        }
    }
}
