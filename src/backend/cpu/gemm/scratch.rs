//! Memory for packed panels and partial sums, kept by each thread for the next product.

use std::cell::RefCell;

use bytemuck::{Pod, Zeroable};

/// A cache line, which is also the widest vector register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

// SAFETY: bytes, and no padding between or after them.
unsafe impl Zeroable for Line {}
// SAFETY: as above.
unsafe impl Pod for Line {}

/// Buffers that a thread keeps; the largest product has three alive on one thread.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer aligned to cache lines. It holds zeros or what an earlier user left; it returns to its thread when dropped.
pub(super) struct Scratch {
    lines: Vec<Line>,
}

impl Scratch {
    /// A buffer of at least `elements` of `S`.
    pub fn of<S: Pod>(elements: usize) -> Scratch {
        let needed = (elements * size_of::<S>()).div_ceil(size_of::<Line>());
        // The smallest that is large enough, otherwise the largest.
        let kept = FREE.with_borrow_mut(|free| {
            let best = (0..free.len()).min_by_key(|&i| {
                let length = free[i].len();
                if length >= needed { (0, length) } else { (1, usize::MAX - length) }
            });
            best.map(|i| free.swap_remove(i))
        });
        let mut lines = kept.unwrap_or_default();
        if lines.len() < needed {
            // Not resized: that would copy what nobody reads.
            lines = vec![Line::zeroed(); needed];
        }
        Scratch { lines }
    }

    /// The buffer as elements.
    pub fn as_ref<S: Pod>(&self) -> &[S] {
        bytemuck::cast_slice(&self.lines)
    }

    /// The buffer as elements, to write.
    pub fn as_mut<S: Pod>(&mut self) -> &mut [S] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // When the thread is ending its buffers are gone already, and this one goes too.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(lines);
            }
        });
    }
}
