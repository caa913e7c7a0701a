//! Memory for work that is captured or deferred: the same requests are given the same addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::driver::Driver;
use super::watches::Watches;
use crate::backend::usage::Usage;
use crate::error::Result;

/// Parts of a device's memory, as many as were ever in use at once. They go back to the driver with the pool, and what
/// is made of them keeps it alive.
///
/// A request is served by the oldest part of its size that nobody has, and by a new one if there is none. So equal
/// sequences of requests and returns are given equal addresses if the same parts are in use when they begin, and so is
/// the first sequence, which has parts made: a new one is younger than all that are in use.
///
/// A [sharing](Pool::sharing) pool serves a request by a larger part before it makes one. Equal sequences are then
/// given equal addresses once a sequence has made none.
pub(crate) struct Pool {
    driver: Arc<dyn Driver>,
    usage: Arc<Usage>,
    watches: Arc<Watches>,
    /// How many times as large as what it serves a part may be.
    times: usize,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    /// Size and age by address.
    made: BTreeMap<u64, (usize, usize)>,
    /// How many were ever made: the age of the next one.
    next: usize,
    /// What nobody has, by size: age and address. None is empty.
    free: BTreeMap<usize, BTreeSet<(usize, u64)>>,
}

impl Pool {
    pub fn new(driver: Arc<dyn Driver>, usage: Arc<Usage>, watches: Arc<Watches>) -> Self {
        Pool { driver, usage, watches, times: 1, parts: Mutex::default() }
    }

    /// The same, with parts for requests of half their size and more.
    pub fn sharing(mut self) -> Self {
        self.times = 2;
        self
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `bytes` bytes, more than none, aligned as the driver's are.
    pub fn take(&self, bytes: usize) -> Result<u64> {
        let mut parts = self.parts();
        if let Some((&size, free)) = parts.free.range_mut(bytes..=bytes.saturating_mul(self.times)).next()
            && let Some((_, address)) = free.pop_first()
        {
            if free.is_empty() {
                parts.free.remove(&size);
            }
            return Ok(address);
        }
        let address = self.driver.allocate(bytes)?;
        self.usage.add(bytes);
        let age = parts.next;
        parts.next += 1;
        parts.made.insert(address, (bytes, age));
        Ok(address)
    }

    /// Takes a part back.
    pub fn put_back(&self, address: u64) {
        let mut parts = self.parts();
        if let Some(&(size, age)) = parts.made.get(&address) {
            parts.free.entry(size).or_default().insert((age, address));
        }
    }

    /// Whether nothing of it is in use.
    pub fn is_idle(&self) -> bool {
        let parts = self.parts();
        parts.free.values().map(BTreeSet::len).sum::<usize>() == parts.made.len()
    }

    /// Whether all of these bytes lie in one part.
    pub fn holds(&self, address: u64, bytes: usize) -> bool {
        let end = address.saturating_add(bytes as u64);
        let below = self.parts().made.range(..=address).next_back().map(|(&made, &(size, _))| made + size as u64);
        below.is_some_and(|part_end| end <= part_end)
    }

    /// Gives what is not in use back to the driver, and says whether there was anything. All that was asked for and
    /// addresses it must have been started.
    pub fn trim(&self) -> bool {
        let mut parts = self.parts();
        let free = std::mem::take(&mut parts.free);
        for (&size, free) in &free {
            for (_, address) in free {
                parts.made.remove(address);
                self.free(*address, size);
            }
        }
        !free.is_empty()
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
        for (&address, &(size, _)) in &self.parts().made {
            self.free(address, size);
        }
    }
}
