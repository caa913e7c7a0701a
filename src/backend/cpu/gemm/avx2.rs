//! The register kernel for 256-bit vectors: 6 rows by 16 columns, 12 of the 16 registers hold sums.

use std::arch::x86_64::*;

use crate::backend::cpu::isa::Isa;

use super::kernel::{Along, Base, DEPTH, Kernel, TRANSPOSED_AT_ONCE, Tile, unrolled};
use super::portable;

const ROWS: usize = 6;
const LANES: usize = 8;
const COLUMNS: usize = 2 * LANES;

pub(super) const KERNEL: Kernel<f32> = Kernel::new(Isa::Avx2, ROWS, COLUMNS, tile, transpose);

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
    // SAFETY: passed on.
    unsafe { finish::<R, V>(t, sums) }
}

/// Writes the sums of a tile.
///
/// # Safety
/// See [`Kernel::tile`]; `t.rows == R` and `t.columns` is over `8 * (V - 1)` and at most `8 * V`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn finish<const R: usize, const V: usize>(t: &Tile<f32>, sums: [[__m256; V]; R]) {
    if t.columns < V * LANES {
        // By way of memory: masked stores take longer.
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
        return unsafe { portable::finish(t, stored.as_ptr().cast(), V * LANES) };
    }
    // Rows of a bias are all the same one.
    let (base, base_stride, added) = match t.base {
        Base::Zero => (t.c.cast_const(), 0, false),
        Base::Result => (t.c.cast_const(), t.c_stride, true),
        Base::Columns(bias) => (bias, 0, true),
    };
    let alpha = _mm256_set1_ps(t.alpha);
    let store = |r: usize, v: usize| {
        let mut sum = _mm256_mul_ps(alpha, sums[r][v]);
        // SAFETY: the vector lies in the tile, whose columns are whole vectors, and the base has what the tile has.
        unsafe {
            if added {
                sum = _mm256_add_ps(_mm256_loadu_ps(base.add(r * base_stride + v * LANES)), sum);
            }
            _mm256_storeu_ps(t.c.add(r * t.c_stride + v * LANES), sum);
        }
    };
    // Not a loop in the loop: what is written out twice is compiled for every number of rows.
    unrolled!(r in 0..R {
        store(r, 0);
        if V > 1 {
            store(r, V - 1);
        }
    });
}

/// Columns that [`transpose_16x4`] takes.
const TURNED: usize = 4;

/// See [`Kernel::transpose`].
fn transpose(from: &[f32], columns: usize, to: &mut [f32], stride: usize) {
    let whole = columns / TURNED * TURNED;
    if whole > 0 {
        assert!(from.len() >= (TRANSPOSED_AT_ONCE - 1) * DEPTH + whole && whole <= DEPTH);
        assert!(to.len() >= (whole - 1) * stride + TRANSPOSED_AT_ONCE);
        // SAFETY: this function is reached only through the kernel, whose users have checked the CPU; the lengths are
        // checked above.
        unsafe {
            for c in (0..whole).step_by(TURNED) {
                transpose_16x4(from.as_ptr().add(c), to.as_mut_ptr().add(c * stride), stride);
            }
        }
    }
    if whole < columns {
        portable::transpose(&from[whole..], columns - whole, &mut to[whole * stride..], stride);
    }
}

/// # Safety
/// `from` has 16 rows of 4, [`DEPTH`] apart; `to` 4 rows of 16, `stride` apart.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_16x4(from: *const f32, to: *mut f32, stride: usize) {
    for half in (0..TRANSPOSED_AT_ONCE).step_by(LANES) {
        // Rows r and r + 4 become one vector, so that what is left are two 4x4 transposes side by side.
        let row = |r: usize| {
            // SAFETY: rows below 16, of which four numbers are read.
            let [low, high] = [r, r + 4].map(|r| unsafe { _mm_loadu_ps(from.add((half + r) * DEPTH)) });
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
        };
        let rows = [row(0), row(1), row(2), row(3)];
        let low01 = _mm256_castps_pd(_mm256_unpacklo_ps(rows[0], rows[1]));
        let low23 = _mm256_castps_pd(_mm256_unpacklo_ps(rows[2], rows[3]));
        let high01 = _mm256_castps_pd(_mm256_unpackhi_ps(rows[0], rows[1]));
        let high23 = _mm256_castps_pd(_mm256_unpackhi_ps(rows[2], rows[3]));
        let columns = [
            _mm256_unpacklo_pd(low01, low23),
            _mm256_unpackhi_pd(low01, low23),
            _mm256_unpacklo_pd(high01, high23),
            _mm256_unpackhi_pd(high01, high23),
        ];
        for (c, column) in columns.into_iter().enumerate() {
            // SAFETY: column c < 4, and half a row of it.
            unsafe { _mm256_storeu_ps(to.add(c * stride + half), _mm256_castpd_ps(column)) };
        }
    }
}
