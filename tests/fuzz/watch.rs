//! What an input costs: memory counted by thread, and an end to what does not end.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The system's, counting what the calling thread has in use and the most that it ever had.
pub struct Counting;

thread_local! {
    static USED: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let used = USED.get().wrapping_add(bytes);
    USED.set(used);
    MOST.set(MOST.get().max(used));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The most that the calling thread held at once in `work`, beyond what it held before.
pub fn memory_of(work: impl FnOnce()) -> usize {
    let before = USED.get();
    MOST.set(before);
    work();
    (MOST.get() - before).max(0) as usize
}

/// Ends the process if it is not told within `limit` that there is progress: a test that hangs would say nothing.
pub struct Watchdog {
    /// What is under way, and a count that changes with it; `None` at the end.
    state: Arc<(Mutex<Option<(u64, String)>>, Condvar)>,
}

impl Watchdog {
    pub fn new(limit: Duration) -> Watchdog {
        let state = Arc::new((Mutex::new(Some((0, String::new()))), Condvar::new()));
        let watched = state.clone();
        std::thread::spawn(move || {
            let (now, told) = &*watched;
            let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some((before, _)) = now.clone() {
                let waited = told.wait_timeout(now, limit).unwrap_or_else(PoisonError::into_inner);
                now = waited.0;
                if let Some((count, what)) = &*now
                    && *count == before
                    && waited.1.timed_out()
                {
                    let _ = writeln!(std::io::stderr(), "not done after {} s: {what}", limit.as_secs());
                    std::process::abort();
                }
            }
        });
        Watchdog { state }
    }

    pub fn begin(&self, what: impl FnOnce() -> String) {
        if let Some((count, words)) = &mut *self.state.0.lock().unwrap_or_else(PoisonError::into_inner) {
            *count += 1;
            *words = what();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.state.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.state.1.notify_all();
    }
}
