//! The register kernel for 256-bit vectors: 6 rows by 16 columns, 12 of the 16 registers hold sums.

use std::arch::x86_64::*;

use crate::backend::cpu::isa::Isa;

use super::kernel::{Along, DEPTH, Kernel, Tile, unrolled};
use super::portable::{finish, transpose};

const ROWS: usize = 6;
const LANES: usize = 8;
const COLUMNS: usize = 2 * LANES;

pub(super) const KERNEL: Kernel<f32> = Kernel::new(Isa::Avx2, ROWS, COLUMNS, tile, transpose::<f32>);

/// # Safety
/// See [`Kernel::tile`].
unsafe fn tile(t: &Tile<f32>) {
    macro_rules! by_rows {
        ($vectors:literal, $row_step:expr, $depth_step:expr; $($rows:literal)*) => {
            match t.rows {
                // SAFETY: passed on from the caller; the tile has so many rows and no more columns than vectors hold.
                $($rows => unsafe { tile_of::<$rows, $vectors, $row_step, $depth_step>(t) },)*
                _ => debug_assert!(false, "a tile of {} rows", t.rows),
            }
        };
    }
    match (t.along, t.columns > LANES) {
        (Along::Depth, true) => by_rows!(2, DEPTH, 1; 1 2 3 4 5 6),
        (Along::Depth, false) => by_rows!(1, DEPTH, 1; 1 2 3 4 5 6),
        (Along::Rows, true) => by_rows!(2, 1, ROWS; 1 2 3 4 5 6),
        (Along::Rows, false) => by_rows!(1, 1, ROWS; 1 2 3 4 5 6),
    }
}

/// # Safety
/// See [`Kernel::tile`]; `t.rows == R` and `t.columns` is over `8 * (V - 1)` and at most `8 * V`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_of<const R: usize, const V: usize, const ROW_STEP: usize, const DEPTH_STEP: usize>(t: &Tile<f32>) {
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    let (mut left, mut right) = (t.left, t.right);
    for _ in 0..t.depth {
        // SAFETY: one step of the panels, which hold `depth` of them.
        unsafe {
            let low = _mm256_loadu_ps(right);
            let high = if V > 1 { _mm256_loadu_ps(right.add(LANES)) } else { low };
            unrolled!(r in 0..R {
                let a = _mm256_set1_ps(*left.add(r * ROW_STEP));
                sums[r][0] = _mm256_fmadd_ps(a, low, sums[r][0]);
                if V > 1 {
                    sums[r][V - 1] = _mm256_fmadd_ps(a, high, sums[r][V - 1]);
                }
            });
        }
        left = left.wrapping_add(DEPTH_STEP);
        right = right.wrapping_add(COLUMNS);
    }
    let mut stored = [[[0.0f32; LANES]; V]; R];
    unrolled!(r in 0..R {
        // SAFETY: one vector fills one innermost array.
        unsafe {
            _mm256_storeu_ps(stored[r][0].as_mut_ptr(), sums[r][0]);
            if V > 1 {
                _mm256_storeu_ps(stored[r][V - 1].as_mut_ptr(), sums[r][V - 1]);
            }
        }
    });
    // SAFETY: the sums cover the tile.
    unsafe { finish(t, stored.as_ptr().cast(), V * LANES) };
}
