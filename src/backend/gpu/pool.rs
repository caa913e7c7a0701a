//! Memory for work that is captured or deferred: the same requests are given the same addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::driver::Driver;
use super::watches::Watches;
use crate::backend::usage::Usage;
use crate::error::Result;

/// Parts of a device's memory, of every size as many as were ever in use at once. They go back to the driver with the
/// pool, and what is made of them keeps it alive.
///
/// A request is served by the oldest part of its size that nobody has. So equal sequences of requests and returns are
/// given equal addresses if the same parts are in use when they begin, and so is the first sequence, which has parts
/// made: a new one is younger than all that are in use.
pub(crate) struct Pool {
    driver: Arc<dyn Driver>,
    usage: Arc<Usage>,
    watches: Arc<Watches>,
    parts: Mutex<BTreeMap<usize, Parts>>,
}

/// Parts of one size, by age.
#[derive(Default)]
struct Parts {
    /// How many were ever made: the age of the next one.
    next: usize,
    /// Ages by address.
    ages: BTreeMap<u64, usize>,
    /// What nobody has: age and address.
    free: BTreeSet<(usize, u64)>,
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
        if let Some((_, address)) = parts.free.pop_first() {
            return Ok(address);
        }
        let address = self.driver.allocate(bytes)?;
        self.usage.add(bytes);
        parts.ages.insert(address, parts.next);
        parts.next += 1;
        Ok(address)
    }

    /// Takes a part back.
    pub fn give(&self, address: u64, bytes: usize) {
        if let Some(parts) = self.parts().get_mut(&bytes)
            && let Some(&age) = parts.ages.get(&address)
        {
            parts.free.insert((age, address));
        }
    }

    /// Whether nothing of it is in use.
    pub fn is_idle(&self) -> bool {
        self.parts().values().all(|parts| parts.free.len() == parts.ages.len())
    }

    /// Whether all of these bytes lie in one part.
    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        let end = address.saturating_add(bytes as u64);
        let within = |(&size, parts): (&usize, &Parts)| {
            let below = parts.ages.range(..=address).next_back();
            below.is_some_and(|(&made, _)| end <= made.saturating_add(size as u64))
        };
        self.parts().iter().any(within)
    }

    /// Gives what is not in use back to the driver, and says whether there was anything. All that was asked for and
    /// addresses it must have been started.
    pub fn give_back(&self) -> bool {
        let mut any = false;
        self.parts().retain(|&bytes, parts| {
            for (_, address) in std::mem::take(&mut parts.free) {
                parts.ages.remove(&address);
                self.free(address, bytes);
                any = true;
            }
            !parts.ages.is_empty()
        });
        any
    }

    /// Gives memory back to the driver, be it the pool's or not.
    pub fn free(&self, address: u64, bytes: usize) {
        self.usage.remove(bytes);
        // What was kept from one capture may be read by another graph.
        self.watches.freed(address, bytes);
        self.driver.free(address, bytes);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (&bytes, parts) in self.parts().iter() {
            parts.ages.keys().for_each(|&address| self.free(address, bytes));
        }
    }
}
