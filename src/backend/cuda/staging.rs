//! Uploads that nobody waits for.

use std::ffi::c_void;

use cudarc::driver::{DriverError, result};

/// Page-locked memory of the host. A copy from it may still be under way when the call that started it is back, which a
/// copy from memory that the caller may free must not be: that would have to wait for everything that was started
/// before.
pub(super) struct Staging {
    memory: *mut u8,
    used: usize,
}

/// Size of the whole.
const BYTES: usize = 32 << 20;
/// So that the next part starts as its elements need it.
const ALIGNMENT: usize = 16;

// The model of time knows which uploads are waited for.
const _: () = assert!(Staging::LARGEST == crate::backend::plan::STAGED);

// SAFETY: the memory belongs to this value alone, and page-locked memory is not bound to a thread.
unsafe impl Send for Staging {}

impl Staging {
    /// Larger uploads wait for themselves. A batch of 512 pictures of 32x32 pixels in colour has 6 MB.
    pub const LARGEST: usize = BYTES / 4;

    /// On the calling thread's context.
    pub fn new() -> Result<Self, DriverError> {
        // SAFETY: a plain allocation; `drop` frees it.
        let memory = unsafe { result::malloc_host(BYTES, 0) }?.cast();
        Ok(Staging { memory, used: 0 })
    }

    /// A copy of `bytes`, at most [`LARGEST`](Self::LARGEST). When the room is used up it calls `wait`, after which no
    /// earlier part may still be read.
    pub fn part(&mut self, bytes: &[u8], wait: impl FnOnce() -> Result<(), DriverError>) -> Result<&[u8], DriverError> {
        debug_assert!(bytes.len() <= Self::LARGEST);
        if self.used + bytes.len() > BYTES {
            wait()?;
            self.used = 0;
        }
        let first = self.used;
        self.used = (first + bytes.len()).next_multiple_of(ALIGNMENT);
        // SAFETY: `first + len` is within the allocation, nothing reads this part, and the result borrows `self`.
        unsafe {
            let at = self.memory.add(first);
            at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Ok(std::slice::from_raw_parts(at, bytes.len()))
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // SAFETY: it came from `malloc_host`. An error here would mean that the context is gone, and the memory with
        // it.
        let _ = unsafe { result::free_host(self.memory.cast::<c_void>()) };
    }
}
