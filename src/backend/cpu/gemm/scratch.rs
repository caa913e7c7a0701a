//! Memory for packed panels and partial sums, kept by each thread for the next product.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::RefCell;

use bytemuck::Pod;

use crate::backend::cpu::CpuBuffer;

/// Buffers that a thread keeps; the largest product has three alive on one thread.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<CpuBuffer>> = const { RefCell::new(Vec::new()) };
}

/// A buffer aligned to cache lines. It holds zeros or what an earlier user left; it returns to its thread when dropped.
pub(super) struct Scratch {
    /// Taken out when dropped.
    buffer: Option<CpuBuffer>,
}

impl Scratch {
    /// A buffer of at least `elements` of `S`.
    pub fn of<S: Pod>(elements: usize) -> Scratch {
        let needed = (elements * size_of::<S>()).max(1);
        // The smallest that is large enough, otherwise the largest.
        let kept = FREE.with_borrow_mut(|free| {
            let best = (0..free.len()).min_by_key(|&i| {
                let length = free[i].len();
                if length >= needed { (0, length) } else { (1, usize::MAX - length) }
            });
            best.map(|i| free.swap_remove(i))
        });
        let buffer = kept.filter(|buffer| buffer.len() >= needed).unwrap_or_else(|| {
            // As for a `Vec`: a product that is under way has no way back.
            CpuBuffer::new(needed).unwrap_or_else(|_| handle_alloc_error(Layout::new::<S>()))
        });
        Scratch { buffer: Some(buffer) }
    }

    /// The buffer as elements.
    pub fn as_ref<S: Pod>(&self) -> &[S] {
        self.buffer.as_ref().map_or(&[], CpuBuffer::as_slice)
    }

    /// The buffer as elements, to write.
    pub fn as_mut<S: Pod>(&mut self) -> &mut [S] {
        self.buffer.as_mut().map_or(&mut [], CpuBuffer::as_mut_slice)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        // When the thread is ending its buffers are gone already, and this one goes too.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}
