//! Memory for packed panels and partial sums, kept for the next product that runs on the same thread of rayon's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;

use crate::backend::cpu::CpuBuffer;
use crate::backend::cpu::memory::poisons;
use crate::error::Result;

/// Buffers that a thread keeps; no product has more alive on one thread.
const KEPT: usize = 4;

/// What threads keep, so that a small product need not wait for the pool's lock: one place for each of rayon's threads
/// (beyond so many, some share one), the first for all others.
static PLACES: [Mutex<Vec<CpuBuffer>>; 64] = [const { Mutex::new(Vec::new()) }; 64];

/// The place of the calling thread.
fn place() -> MutexGuard<'static, Vec<CpuBuffer>> {
    let place = rayon::current_thread_index().map_or(0, |thread| 1 + thread % (PLACES.len() - 1));
    locked(&PLACES[place])
}

fn locked(place: &Mutex<Vec<CpuBuffer>>) -> MutexGuard<'_, Vec<CpuBuffer>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns what threads keep to the pool.
pub fn give_back() {
    for place in &PLACES {
        locked(place).clear();
    }
}

/// A buffer aligned to cache lines. It holds zeros or what an earlier user left; it goes back to the place of its
/// thread when dropped.
pub(crate) struct Scratch {
    /// Taken out when dropped.
    buffer: Option<CpuBuffer>,
}

impl Scratch {
    /// A buffer of at least `elements` of `S`. Errors if the memory cannot be had.
    pub fn of<S: Pod>(elements: usize) -> Result<Scratch> {
        let needed = elements.saturating_mul(size_of::<S>()).max(1);
        // The smallest that is large enough, otherwise the largest.
        let kept = {
            let mut free = place();
            let best = (0..free.len()).min_by_key(|&i| {
                let length = free[i].len();
                if length >= needed { (0, length) } else { (1, usize::MAX - length) }
            });
            best.map(|i| free.swap_remove(i))
        };
        let buffer = match kept.filter(|buffer| buffer.len() >= needed) {
            Some(mut buffer) => {
                if poisons() {
                    buffer.as_mut_slice::<u8>()[..needed].fill(0xFF);
                }
                buffer
            }
            None => CpuBuffer::new(needed)?,
        };
        Ok(Scratch { buffer: Some(buffer) })
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
        let mut free = place();
        if free.len() < KEPT {
            free.push(buffer);
        }
    }
}
