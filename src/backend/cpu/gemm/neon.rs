//! The register kernel for the 128-bit vectors of 64-bit Arm: 6 rows by 16 columns, 24 of the 32 registers hold sums.

use std::arch::aarch64::*;

use crate::backend::cpu::isa::Isa;

use super::kernel::{Along, DEPTH, Kernel, Tile, unrolled};
use super::portable::{finish, transpose};

const ROWS: usize = 6;
const LANES: usize = 4;
const VECTORS: usize = 4;
const COLUMNS: usize = VECTORS * LANES;

pub(super) const KERNEL: Kernel<f32> = Kernel::new(Isa::Neon, ROWS, COLUMNS, tile, transpose::<f32>);

/// # Safety
/// See [`Kernel::tile`].
unsafe fn tile(t: &Tile<f32>) {
    macro_rules! by_rows {
        ($row_step:expr, $depth_step:expr; $($rows:literal)*) => {
            match t.rows {
                // SAFETY: passed on from the caller; the tile has so many rows.
                $($rows => unsafe { tile_of::<$rows, $row_step, $depth_step>(t) },)*
                _ => debug_assert!(false, "a tile of {} rows", t.rows),
            }
        };
    }
    match t.along {
        Along::Depth => by_rows!(DEPTH, 1; 1 2 3 4 5 6),
        Along::Rows => by_rows!(1, ROWS; 1 2 3 4 5 6),
    }
}

/// # Safety
/// See [`Kernel::tile`]; `t.rows == R`.
#[target_feature(enable = "neon")]
unsafe fn tile_of<const R: usize, const ROW_STEP: usize, const DEPTH_STEP: usize>(t: &Tile<f32>) {
    let mut sums = [[vdupq_n_f32(0.0); VECTORS]; R];
    let (mut left, mut right) = (t.left, t.right);
    for _ in 0..t.depth {
        // SAFETY: one step of the panels, which hold `depth` of them.
        unsafe {
            let b = [
                vld1q_f32(right),
                vld1q_f32(right.add(LANES)),
                vld1q_f32(right.add(2 * LANES)),
                vld1q_f32(right.add(3 * LANES)),
            ];
            unrolled!(r in 0..R {
                let a = vdupq_n_f32(*left.add(r * ROW_STEP));
                sums[r][0] = vfmaq_f32(sums[r][0], a, b[0]);
                sums[r][1] = vfmaq_f32(sums[r][1], a, b[1]);
                sums[r][2] = vfmaq_f32(sums[r][2], a, b[2]);
                sums[r][3] = vfmaq_f32(sums[r][3], a, b[3]);
            });
        }
        left = left.wrapping_add(DEPTH_STEP);
        right = right.wrapping_add(COLUMNS);
    }
    let mut stored = [[[0.0f32; LANES]; VECTORS]; R];
    unrolled!(r in 0..R {
        for (stored, sum) in stored[r].iter_mut().zip(sums[r]) {
            // SAFETY: one vector fills one innermost array.
            unsafe { vst1q_f32(stored.as_mut_ptr(), sum) };
        }
    });
    // SAFETY: the sums cover the tile.
    unsafe { finish(t, stored.as_ptr().cast(), COLUMNS) };
}
