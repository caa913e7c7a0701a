//! Loops over large chunks on all processors, compiled for the vector instructions at hand.

use rayon::prelude::*;

/// Elements per chunk: enough work to hide the cost of handing it out. Fixed, so that chunk boundaries (and with them the
/// order of sums) do not depend on the number of threads.
pub const GRAIN: usize = 1 << 14;

/// Runs `f` compiled for the widest vector instructions that the processor has. `f` and what it calls must be small
/// enough to be inlined.
#[inline]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the processor has the features.
            return unsafe { with_avx512(f) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the features.
            return unsafe { with_avx2(f) };
        }
    }
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// A loop too large for the compiler to inline as a closure of its own accord, which [`vectorized`] relies on.
pub trait Kernel {
    /// Does the work. Must be `#[inline(always)]`, and so must what it calls.
    fn run(self);
}

/// As [`vectorized`], for a [`Kernel`] of any size.
pub fn with_vector_instructions<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the processor has the features.
            return unsafe { kernel_with_avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the features.
            return unsafe { kernel_with_avx2(kernel) };
        }
    }
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn kernel_with_avx512<K: Kernel>(kernel: K) {
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn kernel_with_avx2<K: Kernel>(kernel: K) {
    kernel.run();
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
    let size = row * (GRAIN / work.max(1)).max(1);
    if y.len() <= size {
        return vectorized(|| f(0, y));
    }
    y.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| vectorized(|| f(i * size, chunk)));
}
