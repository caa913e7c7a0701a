//! The register kernel that runs on any CPU, and what others finish with.

use crate::backend::cpu::isa::Isa;

use super::kernel::{Along, Base, DEPTH, Kernel, TRANSPOSED_AT_ONCE, Tile};
use super::rows::Sum;

pub(super) fn transpose<S: Copy>(from: &[S], columns: usize, to: &mut [S], stride: usize) {
    for c in 0..columns {
        let to = &mut to[c * stride..c * stride + TRANSPOSED_AT_ONCE];
        for (r, to) in to.iter_mut().enumerate() {
            *to = from[r * DEPTH + c];
        }
    }
}

const ROWS: usize = 4;
const COLUMNS: usize = 16;

pub(super) const fn kernel<S: Sum>() -> Kernel<S> {
    Kernel::new(Isa::Portable, ROWS, COLUMNS, portable_tile::<S>, transpose::<S>)
}

/// # Safety
/// See [`Kernel::tile`].
unsafe fn portable_tile<S: Sum>(t: &Tile<S>) {
    let (row_step, depth_step) = match t.along {
        Along::Depth => (DEPTH, 1),
        Along::Rows => (1, ROWS),
    };
    let mut sums = [[S::ZERO; COLUMNS]; ROWS];
    for k in 0..t.depth {
        // SAFETY: the panels are whole, even where the tile is not.
        let right = unsafe { &*t.right.add(k * COLUMNS).cast::<[S; COLUMNS]>() };
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as above.
            let left = unsafe { *t.left.add(r * row_step + k * depth_step) };
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum += left * *right;
            }
        }
    }
    // SAFETY: the sums cover the tile.
    unsafe { finish(t, sums.as_flattened().as_ptr(), COLUMNS) };
}

/// Writes the tile from sums in memory, `stride` apart.
///
/// # Safety
/// See [`Kernel::tile`]; `sums` must cover the tile.
pub(super) unsafe fn finish<S: Sum>(t: &Tile<S>, sums: *const S, stride: usize) {
    for r in 0..t.rows {
        for c in 0..t.columns {
            // SAFETY: inside the tile by the loops' bounds.
            unsafe {
                let to = t.c.add(r * t.c_stride + c);
                let sum = t.alpha * *sums.add(r * stride + c);
                *to = match t.base {
                    Base::Zero => sum,
                    Base::Result => *to + sum,
                    Base::Columns(base) => *base.add(c) + sum,
                };
            }
        }
    }
}
