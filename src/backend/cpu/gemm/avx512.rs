//! The register kernel for 512-bit vectors: 14 rows by 32 columns, 28 of the 32 registers hold sums.
//!
//! A step costs 28 multiply-adds, 14 cycles on CPUs with two 512-bit units, against 2 loads and 14 broadcasts, 8 cycles
//! of the load units.

use std::arch::x86_64::*;

use crate::backend::cpu::isa::Isa;

use super::kernel::{Along, Base, DEPTH, Kernel, TRANSPOSED_AT_ONCE, Tile, unrolled};

const ROWS: usize = 14;
const LANES: usize = 16;
const COLUMNS: usize = 2 * LANES;

pub(super) const KERNEL: Kernel<f32> = Kernel::new(Isa::Avx512, ROWS, COLUMNS, tile::<false>, transpose);

/// The same for panels of [`Pairs`](super::pairs::Pairs).
pub(super) const PAIRS: Kernel<f32> = Kernel::new(Isa::Avx512Bf16, ROWS, COLUMNS, tile::<true>, transpose);

/// # Safety
/// See [`Kernel::tile`].
unsafe fn tile<const PAIRS: bool>(t: &Tile<f32>) {
    macro_rules! by_rows {
        ($vectors:literal, $row_step:expr, $depth_step:expr; $($rows:literal)*) => {
            match t.rows {
                $(
                    // SAFETY: passed on from the caller; the tile has so many rows and no more columns than vectors
                    // hold.
                    $rows if PAIRS => unsafe { pairs_of::<$rows, $vectors, $row_step, $depth_step>(t) },
                    // SAFETY: as above.
                    $rows => unsafe { tile_of::<$rows, $vectors, $row_step, $depth_step>(t) },
                )*
                _ => debug_assert!(false, "a tile of {} rows", t.rows),
            }
        };
    }
    match (t.along, t.columns > LANES) {
        (Along::Depth, true) => by_rows!(2, DEPTH, 1; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        (Along::Depth, false) => by_rows!(1, DEPTH, 1; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        (Along::Rows, true) => by_rows!(2, 1, ROWS; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        (Along::Rows, false) => by_rows!(1, 1, ROWS; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
    }
}

/// The sum plus the products of each lane's pair of bf16, in whose bits the numbers of `a` and `b` are.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn plus_products_of_pairs(a: __m512, b: __m512, sum: __m512) -> __m512 {
    // SAFETY: all of these are 512 bits.
    let [a, b]: [__m512bh; 2] = unsafe { std::mem::transmute([a, b]) };
    _mm512_dpbf16_ps(sum, a, b)
}

/// A function that computes a tile, with these instructions and this way to add a product.
macro_rules! tile_by {
    ($name:ident, $features:literal, $plus_product:ident) => {
        /// # Safety
        /// See [`Kernel::tile`]; `t.rows == R` and `t.columns` is over `16 * (V - 1)` and at most `16 * V`.
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const V: usize, const ROW_STEP: usize, const DEPTH_STEP: usize>(t: &Tile<f32>) {
            let mut sums = [[_mm512_setzero_ps(); V]; R];
            let (mut left, mut right) = (t.left, t.right);
            for r in 0..R {
                // The result is needed only at the end; fetch it meanwhile. Prefetching cannot fault.
                for v in 0..V {
                    _mm_prefetch::<_MM_HINT_T0>(t.c.wrapping_add(r * t.c_stride + v * LANES).cast());
                }
            }
            for _ in 0..t.depth {
                // SAFETY: one step of the panels, which hold `depth` of them.
                unsafe {
                    let low = _mm512_loadu_ps(right);
                    let high = if V > 1 { _mm512_loadu_ps(right.add(LANES)) } else { low };
                    unrolled!(r in 0..R {
                        let a = _mm512_set1_ps(*left.add(r * ROW_STEP));
                        sums[r][0] = $plus_product(a, low, sums[r][0]);
                        if V > 1 {
                            sums[r][V - 1] = $plus_product(a, high, sums[r][V - 1]);
                        }
                    });
                }
                left = left.wrapping_add(DEPTH_STEP);
                right = right.wrapping_add(COLUMNS);
            }
            // SAFETY: passed on.
            unsafe { finish::<R, V>(t, sums) }
        }
    };
}

tile_by!(tile_of, "avx512f", _mm512_fmadd_ps);
tile_by!(pairs_of, "avx512f,avx512bf16", plus_products_of_pairs);

/// Writes the sums of a tile.
///
/// # Safety
/// See [`Kernel::tile`]; `t.rows == R` and `t.columns` is over `16 * (V - 1)` and at most `16 * V`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn finish<const R: usize, const V: usize>(t: &Tile<f32>, sums: [[__m512; V]; R]) {
    // Rows of a bias are all the same one.
    let (base, base_stride, added) = match t.base {
        Base::Zero => (t.c.cast_const(), 0, false),
        Base::Result => (t.c.cast_const(), t.c_stride, true),
        Base::Columns(bias) => (bias, 0, true),
    };
    let alpha = _mm512_set1_ps(t.alpha);
    let bits = u64::MAX >> (64 - t.columns);
    let store = |r: usize, v: usize| {
        let (column, mask) = (v * LANES, bits.wrapping_shr((v * LANES) as u32) as __mmask16);
        let mut sum = _mm512_mul_ps(alpha, sums[r][v]);
        // SAFETY: the mask ends where the tile does, and the base has what the tile has.
        unsafe {
            if added {
                sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, base.add(r * base_stride + column)), sum);
            }
            _mm512_mask_storeu_ps(t.c.add(r * t.c_stride + column), mask, sum);
        }
    };
    // Not a loop in the loop: what is written out twice is compiled 196 times.
    unrolled!(r in 0..R {
        store(r, 0);
        if V > 1 {
            store(r, V - 1);
        }
    });
}

pub(super) fn transpose(from: &[f32], columns: usize, to: &mut [f32], stride: usize) {
    let whole = columns / LANES * LANES;
    if whole > 0 {
        assert!(from.len() >= (TRANSPOSED_AT_ONCE - 1) * DEPTH + whole && whole <= DEPTH);
        assert!(to.len() >= (whole - 1) * stride + LANES);
        // SAFETY: this function is reached only through the kernel, whose users have checked the CPU; the lengths are
        // checked above.
        unsafe {
            for c in (0..whole).step_by(LANES) {
                transpose_16x16(from.as_ptr().add(c), to.as_mut_ptr().add(c * stride), stride);
            }
        }
    }
    if whole < columns {
        super::portable::transpose(&from[whole..], columns - whole, &mut to[whole * stride..], stride);
    }
}

/// # Safety
/// `from` has 16 rows of 16, [`DEPTH`] apart; `to` the same, `stride` apart.
#[target_feature(enable = "avx512f")]
unsafe fn transpose_16x16(from: *const f32, to: *mut f32, stride: usize) {
    // Quarter q of rows r, r + 4, r + 8, r + 12 becomes one vector, so that what is left are sixteen 4x4 transposes
    // side by side.
    for q in 0..4 {
        let mut rows = [_mm512_setzero_ps(); 4];
        for (r, row) in rows.iter_mut().enumerate() {
            // SAFETY: rows r, r + 4, r + 8, r + 12 < 16, and quarter q of each is inside it.
            unsafe {
                let quarter = |n: usize| _mm_loadu_ps(from.add((r + 4 * n) * DEPTH + 4 * q));
                let v = _mm512_castps128_ps512(quarter(0));
                let v = _mm512_insertf32x4::<1>(v, quarter(1));
                let v = _mm512_insertf32x4::<2>(v, quarter(2));
                *row = _mm512_insertf32x4::<3>(v, quarter(3));
            }
        }
        let low01 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
        let low23 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
        let high01 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
        let high23 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
        let columns = [
            _mm512_unpacklo_pd(low01, low23),
            _mm512_unpackhi_pd(low01, low23),
            _mm512_unpacklo_pd(high01, high23),
            _mm512_unpackhi_pd(high01, high23),
        ];
        for (c, column) in columns.into_iter().enumerate() {
            // SAFETY: column 4 q + c < 16.
            unsafe { _mm512_storeu_ps(to.add((4 * q + c) * stride), _mm512_castpd_ps(column)) };
        }
    }
}
