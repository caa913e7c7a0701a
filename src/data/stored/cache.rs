//! Images that were read or are about to be wanted, in no more memory than was allowed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Row;
use crate::Result;

/// Reads single images of a set from its files.
pub trait Reader: Send + Sync {
    /// The image at this place. Errors where its file does not give it.
    fn read(&self, index: u32) -> Result<Row>;
}

/// Threads that read ahead are half as many as the machine has cores, between one and so many.
const MOST_THREADS: usize = 8;

/// A bounded memory of images, which goes first in first out: training comes back to an image after half of the set at
/// the earliest.
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    reader: Box<dyn Reader>,
    limit: usize,
    state: Mutex<State>,
    /// An image was read, or given up.
    read: Condvar,
    /// There is something to read ahead, or the end.
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    held: HashMap<u32, Arc<Row>>,
    /// The images that are held, the oldest first, and what they take.
    order: VecDeque<u32>,
    takes: usize,
    /// What is to be read ahead, and what is being read.
    wanted: VecDeque<u32>,
    reading: HashSet<u32>,
    threads: usize,
    closed: bool,
}

impl Cache {
    pub fn new(reader: Box<dyn Reader>, limit: usize) -> Self {
        let (state, read, wanted) = Default::default();
        Cache { inner: Arc::new(Inner { reader, limit, state, read, wanted }) }
    }

    pub fn limit(&self) -> usize {
        self.inner.limit
    }

    /// An image past the cache.
    pub fn read(&self, index: u32) -> Result<Row> {
        self.inner.reader.read(index)
    }

    /// An image: held, waited for where a thread is at it, else read here.
    pub fn get(&self, index: u32) -> Result<Arc<Row>> {
        let inner = &self.inner;
        let mut state = inner.state();
        loop {
            if let Some(row) = state.held.get(&index) {
                return Ok(row.clone());
            }
            if !state.reading.contains(&index) {
                break;
            }
            state = inner.read.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let row = Arc::new(inner.reader.read(index)?);
        inner.state().hold(index, &row, inner.limit);
        Ok(row)
    }

    /// Has threads read these images, in this order, as far as half of the cache holds them.
    pub fn ahead(&self, indices: impl Iterator<Item = u32>) {
        let mut state = self.inner.state();
        let each = state.takes.checked_div(state.order.len()).unwrap_or(0);
        let room = (self.inner.limit / 2).checked_div(each).unwrap_or(usize::MAX);
        for index in indices {
            if state.wanted.len() < room && !state.held.contains_key(&index) && !state.wanted.contains(&index) {
                state.wanted.push_back(index);
            }
        }
        if state.threads == 0 && !state.wanted.is_empty() {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..(cores / 2).clamp(1, MOST_THREADS) {
                let inner = self.inner.clone();
                // Where no thread can be had, images are read when they are wanted.
                let started = thread::Builder::new().name("read-ahead".into()).spawn(move || inner.work());
                state.threads += usize::from(started.is_ok());
            }
        }
        drop(state);
        self.inner.wanted.notify_all();
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.inner.state().closed = true;
        self.inner.wanted.notify_all();
    }
}

impl Inner {
    /// The state; a thread that panicked left it whole, for nothing else is done while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is wanted until there is an end.
    fn work(&self) {
        let mut state = self.state();
        while !state.closed {
            let Some(index) = state.wanted.pop_front() else {
                state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if state.held.contains_key(&index) || !state.reading.insert(index) {
                continue;
            }
            drop(state);
            // Whoever wants an image that cannot be read tries again, and has the error.
            let row = self.reader.read(index).ok().map(Arc::new);
            state = self.state();
            state.reading.remove(&index);
            row.iter().for_each(|row| state.hold(index, row, self.limit));
            self.read.notify_all();
        }
    }
}

impl State {
    fn hold(&mut self, index: u32, row: &Arc<Row>, limit: usize) {
        let takes = row.takes();
        if takes > limit || self.held.contains_key(&index) {
            return;
        }
        while self.takes + takes > limit {
            let Some(oldest) = self.order.pop_front() else { break };
            self.takes -= self.held.remove(&oldest).map_or(0, |row| row.takes());
        }
        self.takes += takes;
        self.order.push_back(index);
        self.held.insert(index, row.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Error;

    /// Images of ten bytes that are their place; those from 100 on cannot be read.
    struct Counting(Arc<AtomicUsize>);

    impl Reader for Counting {
        fn read(&self, index: u32) -> Result<Row> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match index < 100 {
                true => Ok(Row::Bytes(vec![index as u8; 10])),
                false => Err(Error::Config(format!("no image {index}"))),
            }
        }
    }

    fn cache(limit: usize) -> (Cache, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        (Cache::new(Box::new(Counting(count.clone())), limit), count)
    }

    #[test]
    fn no_more_is_held_than_was_allowed() {
        let (cache, count) = cache(35);
        for index in [1, 2, 3, 2, 1, 4, 2, 1] {
            assert_eq!(*cache.get(index).unwrap(), Row::Bytes(vec![index as u8; 10]));
            assert!(cache.inner.state().takes <= 35);
        }
        // The fourth took the place of the first, which was read once more.
        assert_eq!(count.load(Ordering::Relaxed), 5);
        let (none, count) = self::cache(9);
        assert!(none.get(1).is_ok() && none.get(1).is_ok() && count.load(Ordering::Relaxed) == 2);
    }

    #[test]
    fn what_was_read_ahead_is_not_read_again() {
        let (cache, count) = cache(10_000);
        for start in [0, 20, 40] {
            cache.ahead(start..start + 40);
            for index in start..start + 20 {
                assert_eq!(*cache.get(index).unwrap(), Row::Bytes(vec![index as u8; 10]));
            }
        }
        while !(cache.inner.state().wanted.is_empty() && cache.inner.state().reading.is_empty()) {
            thread::yield_now();
        }
        let held = cache.inner.state().held.len();
        // A thread and its caller may come to the same image at the same time.
        assert!(held == 80 && (80..=140).contains(&count.load(Ordering::Relaxed)));
    }

    #[test]
    fn an_image_that_cannot_be_read_is_an_error_where_it_is_wanted() {
        let (cache, _) = cache(1000);
        cache.ahead(98..102);
        assert!(cache.get(99).is_ok());
        assert_eq!(cache.get(101).unwrap_err().to_string(), "no image 101");
        let inner = cache.inner.clone();
        drop(cache);
        while Arc::strong_count(&inner) > 1 {
            thread::yield_now(); // its threads go
        }
    }
}
