//! Memory for work that is captured: the same requests are given the same addresses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::driver::Driver;
use super::watches::Watches;
use crate::backend::usage::Usage;
use crate::error::Result;

/// Parts of a device's memory, of every size as many as were ever in use at once. They go back to the driver with the
/// pool, and what is made of them keeps it alive.
///
/// From a pool of which nothing is in use, equal sequences of requests and returns are given equal addresses, and so is
/// the first one, which has the parts made: a request is served by the part of its size that was returned last, and if
/// none was, by the oldest that nobody had since the beginning.
pub(crate) struct Pool {
    driver: Arc<dyn Driver>,
    usage: Arc<Usage>,
    watches: Arc<Watches>,
    parts: Mutex<BTreeMap<usize, Parts>>,
}

/// Parts of one size.
#[derive(Default)]
struct Parts {
    /// Every address, oldest first.
    made: Vec<u64>,
    /// What nobody has, that which is given next at the end.
    free: Vec<u64>,
}

impl Pool {
    pub fn new(driver: Arc<dyn Driver>, usage: Arc<Usage>, watches: Arc<Watches>) -> Self {
        Pool { driver, usage, watches, parts: Mutex::default() }
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<usize, Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `bytes` bytes, more than none, aligned as the driver's are.
    pub fn take(&self, bytes: usize) -> Result<u64> {
        let mut all = self.parts();
        let parts = all.entry(bytes).or_default();
        if let Some(address) = parts.free.pop() {
            return Ok(address);
        }
        let address = self.driver.allocate(bytes)?;
        self.usage.add(bytes);
        parts.made.push(address);
        Ok(address)
    }

    /// Takes a part back.
    pub fn give(&self, address: u64, bytes: usize) {
        if let Some(parts) = self.parts().get_mut(&bytes) {
            parts.free.push(address);
        }
    }

    /// Whether nothing of it is in use. Then it is as in the beginning, but that its parts are made.
    pub fn start_over(&self) -> bool {
        let mut all = self.parts();
        if all.values().any(|parts| parts.free.len() < parts.made.len()) {
            return false;
        }
        for parts in all.values_mut() {
            parts.free.clear();
            parts.free.extend(parts.made.iter().rev());
        }
        true
    }

    /// Whether all of these bytes lie in one part.
    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        let end = address.saturating_add(bytes as u64);
        let within = |(&size, parts): (&usize, &Parts)| {
            parts.made.iter().any(|&made| made <= address && end <= made.saturating_add(size as u64))
        };
        self.parts().iter().any(within)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (&bytes, parts) in self.parts().iter() {
            for &address in &parts.made {
                self.usage.remove(bytes);
                // What was kept from one capture may be read by another graph.
                self.watches.freed(address, bytes);
                self.driver.free(address, bytes);
            }
        }
    }
}
