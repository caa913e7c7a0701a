//! Memory from the operating system: zeros, and no page of it exists before it is touched.

use std::ptr::with_exposed_provenance_mut;

/// Large pages have this size: walking through them misses the address cache far less often than through pages of 4 KB.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// A stretch of memory, all zeros, that nothing else of this module ever adjoins.
#[derive(Debug)]
pub(super) struct Mapping {
    /// What the system gave, which [`unmap`](Self::unmap) returns.
    given: usize,
    given_bytes: usize,
    /// The part to use. It begins on a large page.
    pub start: usize,
    pub bytes: usize,
}

impl Mapping {
    /// `bytes` (whole large pages) of it. `None` if the system does not give them.
    pub fn new(bytes: usize) -> Option<Mapping> {
        // With room to move the start to a large page. At least a page of that room is left over, before the start or
        // behind the end.
        let given_bytes = bytes.checked_add(HUGE_PAGE)?;
        let given = give(given_bytes)?;
        let start = (given + 1).next_multiple_of(HUGE_PAGE);
        advise_huge_pages(start, bytes);
        Some(Mapping { given, given_bytes, start, bytes })
    }

    /// Gives it back.
    ///
    /// # Safety
    /// Nobody may use it any more.
    pub unsafe fn unmap(self) {
        // SAFETY: given by `give` with this size, and the caller's word.
        unsafe { take_back(self.given, self.given_bytes) };
    }
}

#[cfg(target_os = "linux")]
mod pages {
    use super::*;

    /// The address of so many bytes.
    pub fn give(bytes: usize) -> Option<usize> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the system's choice changes nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED { None } else { Some(start.expose_provenance()) }
    }

    /// # Safety
    /// As for [`Mapping::unmap`]; `start` and `bytes` are those of a call of [`give`].
    pub unsafe fn take_back(start: usize, bytes: usize) {
        // SAFETY: the caller's. Of a whole mapping it cannot fail.
        let _ = unsafe { libc::munmap(with_exposed_provenance_mut(start), bytes) };
    }

    /// Before the first touch, which decides what kind of page it is. A refusal costs speed only.
    pub fn advise_huge_pages(start: usize, bytes: usize) {
        // SAFETY: the range was mapped by the caller, and the advice does not change what it holds.
        let _ = unsafe { libc::madvise(with_exposed_provenance_mut(start), bytes, libc::MADV_HUGEPAGE) };
    }

    /// Gives back the pages of a part of a mapping, which holds zeros afterwards, until they are touched again.
    ///
    /// # Safety
    /// Nobody may use that part meanwhile, or rely on what it holds.
    pub unsafe fn discard(start: usize, bytes: usize) {
        // SAFETY: the caller's.
        let _ = unsafe { libc::madvise(with_exposed_provenance_mut(start), bytes, libc::MADV_DONTNEED) };
    }
}

/// By way of Rust's own allocator, which asks the system for fresh zeros where so much is wanted.
#[cfg(not(target_os = "linux"))]
mod pages {
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    use super::*;

    /// One, or the allocator writes zeros of its own.
    const ALIGN: usize = 1;

    /// The address of so many bytes.
    pub fn give(bytes: usize) -> Option<usize> {
        let layout = Layout::from_size_align(bytes, ALIGN).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() { None } else { Some(start.expose_provenance()) }
    }

    /// # Safety
    /// As for [`Mapping::unmap`]; `start` and `bytes` are those of a call of [`give`].
    pub unsafe fn take_back(start: usize, bytes: usize) {
        if let Ok(layout) = Layout::from_size_align(bytes, ALIGN) {
            // SAFETY: the caller's.
            unsafe { dealloc(with_exposed_provenance_mut(start), layout) };
        }
    }

    pub fn advise_huge_pages(_: usize, _: usize) {}

    /// Parts of an allocation cannot be given back.
    ///
    /// # Safety
    /// Nobody may use that part meanwhile, or rely on what it holds.
    pub unsafe fn discard(_: usize, _: usize) {}
}

pub(super) use pages::discard;
use pages::{advise_huge_pages, give, take_back};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_zeros_on_large_pages_and_do_not_adjoin() {
        let mappings: Vec<_> = (0..8).map(|_| Mapping::new(HUGE_PAGE).unwrap()).collect();
        for mapping in &mappings {
            assert_eq!((mapping.start % HUGE_PAGE, mapping.bytes), (0, HUGE_PAGE));
            let bytes = std::ptr::with_exposed_provenance::<u8>(mapping.start);
            // SAFETY: the mapping has so many bytes, which the system has set to zero.
            assert!(unsafe { std::slice::from_raw_parts(bytes, mapping.bytes) }.iter().all(|&byte| byte == 0));
        }
        for a in &mappings {
            assert!(mappings.iter().all(|b| a.start + a.bytes != b.start));
        }
        for mapping in mappings {
            // SAFETY: nobody has an address in it.
            unsafe { mapping.unmap() };
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Mapping::new(usize::MAX / 2 / HUGE_PAGE * HUGE_PAGE).is_none());
        assert!(Mapping::new(usize::MAX / HUGE_PAGE * HUGE_PAGE).is_none());
    }
}
