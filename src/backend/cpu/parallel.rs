//! Loops over large chunks on all processors ([`team`]), compiled for the vector instructions at hand.

use super::isa::{Isa, Kernel};
use super::team;

/// Elements per chunk: enough work to hide the cost of handing it out. Fixed, so that chunk boundaries (and with them
/// the order of sums) do not depend on the number of threads.
pub const GRAIN: usize = 1 << 14;

/// Elements that a thread handles at least when several share a loop. Work of less than twice as many stays on the
/// calling thread: to wake another one and to wait for it takes longer (docs/performance.md has what was measured). Who
/// runs a chunk does not change what it computes.
pub const SHARE: usize = GRAIN / 2;

/// How many tasks of a loop a thread should be given at least at a time, where each handles `work` elements: what rayon
/// calls `with_min_len`.
pub fn tasks_per_share(work: usize) -> usize {
    (SHARE / work.max(1)).max(1)
}

/// Runs `f` compiled for the [vector instructions in use](Isa::current). `f` and what it calls must be small enough to
/// be inlined.
#[inline]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    Isa::current().run(f)
}

/// As [`vectorized`], for a [`Kernel`] of any size.
pub fn with_vector_instructions<K: Kernel>(kernel: K) {
    Isa::current().run_kernel(kernel);
}

/// Calls `f(first, chunk)` for consecutive chunks of `y`, where `first` is the chunk's first element. Chunks hold whole
/// rows of `row` elements, about [`GRAIN`] elements at a time; a single chunk runs on the calling thread.
pub fn chunks<T: Send>(y: &mut [T], row: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    weighted_chunks(y, row, row, f);
}

/// As [`chunks`], where making a row of `row` elements takes as long as handling `work` elements.
pub fn weighted_chunks<T: Send>(y: &mut [T], row: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if y.is_empty() {
        return;
    }
    let rows = (GRAIN / work.max(1)).max(1);
    let size = rows * row;
    parts(y, size, rows.saturating_mul(work), &|i, chunk| vectorized(|| f(i * size, chunk)));
}

/// Calls `f(i, part)` for the parts of `y` of `size` elements (the last may be shorter), on all processors if there is
/// enough to do: making a part takes as long as handling `work` elements.
pub fn parts<T: Send>(y: &mut [T], size: usize, work: usize, f: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let (len, start) = (y.len(), Start(y.as_mut_ptr()));
    let size = size.max(1);
    team::for_each(len.div_ceil(size), tasks_per_share(work), &|i| {
        let first = i * size;
        // SAFETY: `y` is borrowed for the whole of this function, each `i` below the count comes once, and parts of
        // different `i` do not overlap.
        let part = unsafe { std::slice::from_raw_parts_mut(start.at(first), size.min(len - first)) };
        f(i, part);
    });
}

/// Where a slice begins, for threads that each write their own part of it.
struct Start<T>(*mut T);

// SAFETY: a part of a slice may be written by another thread if its elements may be sent there.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    /// # Safety
    /// `first` must be within the slice.
    unsafe fn at(&self, first: usize) -> *mut T {
        // SAFETY: as above.
        unsafe { self.0.add(first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_slice_once() {
        for (len, size) in [(0, 3), (1, 3), (3, 3), (7, 3), (1000, 1), (5, 0), (5, usize::MAX)] {
            for work in [0, 1, SHARE / 4, usize::MAX] {
                let mut y = vec![0usize; len];
                parts(&mut y, size, work, &|i, part| {
                    for (k, y) in part.iter_mut().enumerate() {
                        *y += 1 + i * size.max(1) + k;
                    }
                });
                assert_eq!(y, (1..=len).collect::<Vec<_>>(), "{len} in parts of {size}, {work} each");
            }
        }
    }

    /// Who made each element of a slice, and which chunk it was in.
    fn makers(len: usize, work: usize) -> Vec<(Option<std::thread::ThreadId>, usize)> {
        let mut y = vec![(None, 0); len];
        weighted_chunks(&mut y, 1, work, |first, y| y.fill((Some(std::thread::current().id()), first)));
        y
    }

    #[test]
    fn little_work_stays_on_the_calling_thread_and_is_cut_as_ever() {
        let me = Some(std::thread::current().id());
        for (len, work) in [(1, 1), (GRAIN, 1), (GRAIN / 16, 16), (3, SHARE / 2), (1, usize::MAX)] {
            let size = (GRAIN / work).max(1);
            for (i, made) in makers(len, work).into_iter().enumerate() {
                assert_eq!(made, (me, i / size * size), "element {i} of {len}");
            }
        }
    }
}
