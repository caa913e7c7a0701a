//! The register kernel for 256-bit vectors: 6 rows by 16 columns, 12 of the 16 registers hold sums.

use std::arch::x86_64::*;

use crate::backend::cpu::isa::Isa;

use super::kernel::{Along, Base, DEPTH, Kernel, Tile, finish, transpose};

const ROWS: usize = 6;
const LANES: usize = 8;
const COLUMNS: usize = 2 * LANES;

pub(super) const KERNEL: Kernel<f32> =
    Kernel { isa: Isa::Avx2, rows: ROWS, columns: COLUMNS, tile, transpose: transpose::<f32> };

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
            let mut b = [_mm256_setzero_ps(); V];
            for (v, b) in b.iter_mut().enumerate() {
                *b = _mm256_loadu_ps(right.add(v * LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_set1_ps(*left.add(r * ROW_STEP));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm256_fmadd_ps(a, b, *sum);
                }
            }
        }
        left = left.wrapping_add(DEPTH_STEP);
        right = right.wrapping_add(COLUMNS);
    }

    if t.columns < V * LANES {
        // Stored one by one: were the sums themselves addressed, they would live in memory throughout the loop above.
        let mut stored = [[[0.0f32; LANES]; V]; R];
        for r in 0..R {
            for v in 0..V {
                // SAFETY: one vector fills one innermost array.
                unsafe { _mm256_storeu_ps(stored[r][v].as_mut_ptr(), sums[r][v]) };
            }
        }
        // SAFETY: the sums cover the tile.
        return unsafe { finish(t, stored.as_ptr().cast(), V * LANES) };
    }
    let alpha = _mm256_set1_ps(t.alpha);
    for (r, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: the tile has all `V * LANES` columns.
            unsafe {
                let to = t.c.add(r * t.c_stride + v * LANES);
                let sum = _mm256_mul_ps(alpha, sum);
                let sum = match t.base {
                    Base::Zero => sum,
                    Base::Result => _mm256_add_ps(_mm256_loadu_ps(to), sum),
                    Base::Columns(bias) => _mm256_add_ps(_mm256_loadu_ps(bias.add(v * LANES)), sum),
                    Base::Rows(bias) => _mm256_add_ps(_mm256_set1_ps(*bias.add(r)), sum),
                };
                _mm256_storeu_ps(to, sum);
            }
        }
    }
}
