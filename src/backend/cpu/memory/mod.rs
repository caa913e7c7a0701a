//! Aligned host memory for tensors and for the scratch space of kernels, from one pool.
//!
//! A training step with fixed shapes asks for the same sizes again and again, and a page that is fresh from the
//! operating system costs more than most kernels that fill it: the system writes zeros to it first. So the pool keeps
//! what is freed and hands it out again; once a step has been made, the next one touches no page that is new. It holds
//! stretches of large pages, of which the smallest free part that is large enough serves a request, whatever size that
//! part had before ([`ranges`]).
//!
//! * Bounded: when more is kept free than was ever in use at once, all of it goes back before the pool grows.
//! * Given back: by [`give_back`], which a run calls when it ends.
//! * Initialised but not cleared: a buffer holds the zeros of the system or what its last user left. Kernels write all
//!   of a result; those that add to it ask for zeros.
//! * Poisoned: in tests a buffer is filled with bytes 0xFF (NaN in every dtype) when it is handed out; see [`poison`].

mod derived;
mod ranges;
mod system;

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;

use crate::backend::usage::Usage;
use crate::error::{Error, Result};
pub use derived::Part;
use ranges::Ranges;
use system::{HUGE_PAGE, Mapping, discard};

/// Every buffer starts on a cache line, which is also the width of the widest vector register.
const ALIGN: usize = 64;
/// Buffers below this size come from stretches of their own: the long-lived ones among them would break up the large
/// ones.
const SMALL: usize = 64 << 10;
/// Sizes of larger buffers are rounded up to multiples of this.
const PAGE: usize = 4 << 10;
/// The least that is asked of the system for large buffers at a time. What is not touched of it costs nothing.
const LEAST_MAPPING: usize = 64 << 20;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());
/// The memory of live buffers; what is kept for reuse is not in use.
pub(crate) static USAGE: Usage = Usage::new();
/// Whether buffers are poisoned.
static POISON: LazyLock<AtomicBool> = LazyLock::new(|| {
    let asked_for = std::env::var_os("VERIDICAL_POISON").is_some_and(|value| !value.is_empty() && value != "0");
    AtomicBool::new(cfg!(any(test, debug_assertions)) || asked_for)
});

/// From now on, whether buffers are handed out full of bytes 0xFF, NaN in every floating-point dtype, so that a test of
/// an operation sees when it reads what it has not written. On from the start in debug builds and with
/// `VERIDICAL_POISON=1` in the environment.
pub fn poison(on: bool) {
    POISON.store(on, Relaxed);
}

/// Whether buffers are poisoned.
pub(crate) fn poisons() -> bool {
    POISON.load(Relaxed)
}

/// Returns what is kept for reuse to the operating system.
pub(crate) fn give_back() {
    pool().give_back();
}

fn pool() -> MutexGuard<'static, Pool> {
    // No code that holds the lock can panic half-way through a change.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory of the process, in use and kept for reuse.
struct Pool {
    small: Kept,
    large: Kept,
    /// Bytes in use, and the most that there were since memory was last given back on request.
    used: usize,
    peak: usize,
}

/// Mappings, and what of them is free.
struct Kept {
    free: Ranges,
    mappings: Vec<Mapping>,
    least_mapping: usize,
}

impl Pool {
    const fn new() -> Self {
        Pool { small: Kept::new(HUGE_PAGE), large: Kept::new(LEAST_MAPPING), used: 0, peak: 0 }
    }

    /// The start of `bytes` bytes (not zero), with unspecified contents.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let length = rounded(bytes);
        let found = self.kept(bytes).free.take(length);
        let start = match found {
            Some(start) => start,
            None => {
                if self.free_bytes() > self.peak.max(self.used + length) {
                    self.discard();
                }
                let grown = self.kept(bytes).grow(length) || {
                    self.discard();
                    self.kept(bytes).grow(length)
                };
                if grown { self.kept(bytes).free.take(length)? } else { return None }
            }
        };
        self.used += length;
        self.peak = self.peak.max(self.used);
        Some(start)
    }

    /// Takes back what [`take`](Self::take) gave for `bytes`.
    fn put(&mut self, start: usize, bytes: usize) {
        let length = rounded(bytes);
        self.used -= length;
        self.kept(bytes).free.put(start, length);
    }

    fn give_back(&mut self) {
        self.discard();
        self.peak = self.used;
    }

    fn discard(&mut self) {
        self.small.discard();
        self.large.discard();
    }

    fn free_bytes(&self) -> usize {
        self.small.free.bytes() + self.large.free.bytes()
    }

    fn kept(&mut self, bytes: usize) -> &mut Kept {
        if bytes < SMALL { &mut self.small } else { &mut self.large }
    }
}

impl Kept {
    const fn new(least_mapping: usize) -> Self {
        Kept { free: Ranges::new(), mappings: Vec::new(), least_mapping }
    }

    /// Makes room for `length` bytes; whether that was possible.
    fn grow(&mut self, length: usize) -> bool {
        // An eighth more than there is, so that many small steps do not make many mappings; just enough if that is too
        // much.
        let mapped: usize = self.mappings.iter().map(|mapping| mapping.bytes).sum();
        let generous = length.max(self.least_mapping).max(mapped / 8);
        let mapping = [generous, length]
            .into_iter()
            .filter_map(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE))
            .find_map(Mapping::new);
        let Some(mapping) = mapping else { return false };
        self.free.put(mapping.start, mapping.bytes);
        self.mappings.push(mapping);
        true
    }

    /// Returns mappings that are free as a whole, and the large pages inside the free parts of others.
    fn discard(&mut self) {
        let free = &mut self.free;
        for mapping in self.mappings.extract_if(.., |mapping| free.take_whole(mapping.start, mapping.bytes)) {
            // SAFETY: it was free, and is no longer among what can be handed out.
            unsafe { mapping.unmap() };
        }
        for (start, length) in self.free.iter() {
            let first = start.next_multiple_of(HUGE_PAGE);
            let end = (start + length) / HUGE_PAGE * HUGE_PAGE;
            if first < end {
                // SAFETY: these pages are free, and who gets them next relies on nothing that they hold.
                unsafe { discard(first, end - first) };
            }
        }
    }
}

/// What a buffer of `bytes` bytes takes.
fn rounded(bytes: usize) -> usize {
    bytes.next_multiple_of(if bytes < SMALL { ALIGN } else { PAGE })
}

/// Host memory, 64-byte aligned and always initialised (with zeros, or with what its last user left).
pub struct CpuBuffer {
    start: NonNull<u8>,
    bytes: usize,
    derived: derived::Derived,
}

// SAFETY: the buffer owns its memory; shared access is read-only.
unsafe impl Send for CpuBuffer {}
// SAFETY: as above.
unsafe impl Sync for CpuBuffer {}

/// Where buffers of no bytes are said to start.
#[repr(align(64))]
struct Line;
const _: () = assert!(align_of::<Line>() == ALIGN);

impl CpuBuffer {
    /// A buffer of `bytes` with unspecified contents. Errors if the memory cannot be had.
    pub fn new(bytes: usize) -> Result<Self> {
        let mut buffer = Self::unpoisoned(bytes)?;
        if poisons() {
            buffer.as_mut_slice::<u8>().fill(0xFF);
        }
        Ok(buffer)
    }

    /// As [`new`](Self::new), for a caller that writes all of it at once.
    fn unpoisoned(bytes: usize) -> Result<Self> {
        let refused =
            || Error::OutOfMemory { device: "the CPU".into(), bytes, why: "the system does not give them".into() };
        if bytes > isize::MAX as usize / 4 {
            return Err(refused());
        }
        let start = match bytes {
            0 => NonNull::<Line>::dangling().cast(),
            _ => {
                let start = pool().take(bytes).ok_or_else(refused)?;
                NonNull::new(std::ptr::with_exposed_provenance_mut(start)).ok_or_else(refused)?
            }
        };
        USAGE.add(bytes);
        Ok(CpuBuffer { start, bytes, derived: Default::default() })
    }

    /// A copy of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut buffer = Self::unpoisoned(bytes.len())?;
        buffer.as_mut_slice::<u8>().copy_from_slice(bytes);
        Ok(buffer)
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether the buffer holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The contents as elements of `T`; trailing bytes that make no whole element are left out.
    pub fn as_slice<T: Pod>(&self) -> &[T] {
        const { assert!(align_of::<T>() <= ALIGN && size_of::<T>() > 0) };
        // SAFETY: aligned, initialised, in bounds, and `Pod` admits any bytes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }

    /// The part from byte `at` on, in whose forms kernels may find what they have made of it.
    pub fn part(&self, at: usize) -> Part<'_> {
        Part { derived: &self.derived, at }
    }

    /// As [`as_slice`](Self::as_slice), for writing: what was made of the contents is dropped.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        const { assert!(align_of::<T>() <= ALIGN && size_of::<T>() > 0) };
        self.derived.clear();
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        USAGE.remove(self.bytes);
        if self.bytes > 0 {
            pool().put(self.start.as_ptr().addr(), self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
