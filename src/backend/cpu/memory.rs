//! Aligned host memory, kept for reuse: a training step with fixed shapes asks for the same sizes again and again, and
//! fresh pages from the operating system would cost more than many of the kernels that fill them.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytemuck::Pod;

use crate::backend::usage::Usage;
use crate::error::{Error, Result};

/// Every buffer starts on a cache line, which is also the width of the widest vector register.
const ALIGN: usize = 64;
/// Buffers of this size and more are made of pages of this size: walking through them then misses the address cache far less often.
const HUGE_PAGE: usize = 2 << 20;
/// Freed memory beyond this many bytes goes back to the operating system.
const KEPT_AT_MOST: usize = 1 << 30;

/// Host memory, 64-byte aligned and always initialised (with zeros, or with what its last user left).
pub struct CpuBuffer {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the buffer owns its memory; shared access is read-only.
unsafe impl Send for CpuBuffer {}
// SAFETY: as above.
unsafe impl Sync for CpuBuffer {}

#[derive(Default)]
struct Free {
    by_size: HashMap<usize, Vec<usize>>,
    bytes: usize,
}

static FREE: LazyLock<Mutex<Free>> = LazyLock::new(Mutex::default);
/// Of live buffers; what is kept for reuse is not in use.
pub(crate) static USAGE: Usage = Usage::new();

/// Sizes are rounded up to a power of two or one and a half times one, so that few classes serve many sizes.
fn size_class(bytes: usize) -> usize {
    let power = bytes.max(ALIGN).next_power_of_two();
    let between = power / 4 * 3;
    if bytes <= between && between.is_multiple_of(ALIGN) { between } else { power }
}

/// What a size class is allocated with. `None` if there is no such layout.
fn layout(class: usize) -> Option<Layout> {
    Layout::from_size_align(class, if class >= HUGE_PAGE { HUGE_PAGE } else { ALIGN }).ok()
}

/// Fresh memory of this layout, all zeros.
fn zeroed(layout: Layout) -> Option<NonNull<u8>> {
    if layout.align() < HUGE_PAGE {
        // SAFETY: a size class is never zero.
        return NonNull::new(unsafe { alloc_zeroed(layout) });
    }
    // SAFETY: as above.
    let start = NonNull::new(unsafe { alloc(layout) })?;
    // Before the first touch, which decides what kind of page it is. A refusal costs speed only.
    #[cfg(target_os = "linux")]
    // SAFETY: the range was allocated above, and the advice does not change what it holds.
    let _ = unsafe { libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
    // SAFETY: allocated above with this size.
    unsafe { start.as_ptr().write_bytes(0, layout.size()) };
    Some(start)
}

/// Returns what is kept for reuse to the operating system: no size class may starve another.
fn give_back() {
    let free = std::mem::take(&mut *FREE.lock().unwrap_or_else(PoisonError::into_inner));
    for (class, starts) in free.by_size {
        let Some(layout) = layout(class) else { continue };
        for start in starts {
            // SAFETY: allocated in `new` with the layout of this size class, and no buffer's any more.
            unsafe { dealloc(start as *mut u8, layout) };
        }
    }
}

impl CpuBuffer {
    /// A buffer of `bytes` with unspecified contents. Errors if the memory cannot be had.
    pub fn new(bytes: usize) -> Result<Self> {
        let refused =
            || Error::OutOfMemory { device: "the CPU".into(), bytes, why: "the system does not give them".into() };
        if bytes > isize::MAX as usize / 4 {
            return Err(refused());
        }
        let class = size_class(bytes);
        let kept = {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            let start = free.by_size.get_mut(&class).and_then(Vec::pop);
            if start.is_some() {
                free.bytes -= class;
            }
            start
        };
        let start = match kept {
            Some(address) => NonNull::new(address as *mut u8),
            None => layout(class).and_then(|layout| {
                zeroed(layout).or_else(|| {
                    give_back();
                    zeroed(layout)
                })
            }),
        };
        let start = start.ok_or_else(refused)?;
        USAGE.add(bytes);
        Ok(CpuBuffer { start, bytes })
    }

    /// A copy of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut buffer = Self::new(bytes.len())?;
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

    /// As [`as_slice`](Self::as_slice), for writing.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        const { assert!(align_of::<T>() <= ALIGN && size_of::<T>() > 0) };
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        USAGE.remove(self.bytes);
        let class = size_class(self.bytes);
        let Some(layout) = layout(class) else { return };
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.bytes + class <= KEPT_AT_MOST {
            free.bytes += class;
            free.by_size.entry(class).or_default().push(self.start.as_ptr() as usize);
        } else {
            drop(free);
            // SAFETY: allocated in `new` with the layout of this size class.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_hold_what_was_asked_for() {
        for bytes in (0..5000).chain([1 << 20, (1 << 20) + 1, 3 << 19, (3 << 19) + 1]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGN), "{bytes} -> {class}");
            assert!(class <= (2 * bytes).max(ALIGN), "{bytes} -> {class}");
        }
    }

    #[test]
    fn buffers_are_aligned_and_hold_their_bytes() {
        let buffer = CpuBuffer::from_bytes(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(buffer.as_slice::<u32>(), [0x04030201, 0x08070605]);
        assert_eq!(buffer.as_slice::<u8>().as_ptr() as usize % ALIGN, 0);
    }

    #[test]
    fn an_absurd_size_is_an_error() {
        let bytes = usize::MAX / 2;
        assert!(matches!(CpuBuffer::new(bytes), Err(Error::OutOfMemory { bytes: asked, .. }) if asked == bytes));
    }
}
