//! The register kernel for tiles: 32 rows by 32 columns of sums in four tiles, from panels of pairs of bf16.
//!
//! A step of 16 pairs costs four products of tiles, 16 cycles each, against four loads of 1 KB. The shapes of the tiles
//! never change: panels end with zeros where their depth is no multiple of 16 pairs, and lines that a panel has beyond
//! its factor give sums that are not written.

pub(super) mod convolution;
#[cfg(test)]
mod tests;

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use crate::backend::cpu::amx::{self, LANES};
use crate::backend::cpu::isa::Isa;

use super::avx512;
use super::kernel::{Base, Kernel, Tile};

const ROWS: usize = 2 * amx::ROWS;
const COLUMNS: usize = 2 * LANES;

/// Pairs of a block's depth: tiles come from the second-level cache as fast as from the first, and sums that are not
/// taken up again are worth more.
const DEPTH: usize = 576;

/// Where each step of panels is: one after the other.
static STEPS: [amx::Step; DEPTH / amx::ROWS] = {
    let mut steps = [amx::Step { left: 0, right: 0 }; DEPTH / amx::ROWS];
    let mut step = 0;
    while step < steps.len() {
        steps[step] = amx::Step { left: step * amx::BYTES, right: step * amx::BYTES };
        step += 1;
    }
    steps
};

/// For panels of [`Pairs`](super::pairs::Pairs).
///
/// The tiles get their shape before a block of the result and are emptied behind it, some tens of products later: a
/// configuration takes a share of a product's time that way, and threads that have nothing to multiply, or do something
/// else, never carry 8 KB of tiles about, which would be saved whenever another thread gets the processor.
pub(super) const PAIRS: Kernel<f32> = Kernel {
    depth: DEPTH,
    steps: amx::ROWS,
    begin: amx::configure,
    end: amx::release,
    ..Kernel::new(Isa::Amx, ROWS, COLUMNS, tile, avx512::transpose)
};

/// # Safety
/// See [`Kernel::tile`].
unsafe fn tile(t: &Tile<f32>) {
    // What is stored as it comes needs no second pass; the bits are the same.
    let whole = t.rows == ROWS && t.columns == COLUMNS;
    let straight = whole && t.alpha == 1.0 && matches!(t.base, Base::Zero);
    let mut sums = MaybeUninit::<[f32; ROWS * COLUMNS]>::uninit();
    let (to, to_stride) = if straight { (t.c, t.c_stride) } else { (sums.as_mut_ptr().cast(), COLUMNS) };
    let block = amx::Block {
        left: t.left,
        right: t.right,
        steps: &STEPS[..t.depth.div_ceil(amx::ROWS)],
        to,
        to_stride: to_stride * size_of::<f32>(),
    };
    // SAFETY: whoever uses the kernel has checked the CPU and called `begin`; the panels are whole, with zeros up to a
    // multiple of the steps, and there is room for the sums: all of the tile, or those beside it.
    unsafe { multiply(&block, (t.rows, t.columns)) };
    if !straight {
        // SAFETY: the block has written the tiles that hold the rows and columns of `t`.
        unsafe { finish(t, to) };
    }
}

/// Computes so many rows and columns of a block, up to whole tiles.
///
/// # Safety
/// The CPU has the level `amx` and the thread's tiles are configured; the factors have what the steps name, and there
/// is room for the sums.
unsafe fn multiply(block: &amx::Block, (rows, columns): (usize, usize)) {
    // SAFETY: the caller's.
    unsafe {
        match (rows > amx::ROWS, columns > LANES) {
            (true, true) => amx::two_by_two(block),
            (false, true) => amx::one_by_two(block),
            (true, false) => amx::two_by_one(block),
            (false, false) => amx::one_by_one(block),
        }
    }
}

/// Writes the tile from sums in memory, [`COLUMNS`] apart.
///
/// # Safety
/// See [`Kernel::tile`]; `sums` must cover the tile, in whole vectors.
#[target_feature(enable = "avx512f")]
unsafe fn finish(t: &Tile<f32>, sums: *const f32) {
    // Rows of a bias are all the same one.
    let (base, base_stride, added) = match t.base {
        Base::Zero => (t.c.cast_const(), 0, false),
        Base::Result => (t.c.cast_const(), t.c_stride, true),
        Base::Columns(bias) => (bias, 0, true),
    };
    let alpha = _mm512_set1_ps(t.alpha);
    let bits = u64::MAX >> (64 - t.columns);
    for r in 0..t.rows {
        for column in (0..t.columns).step_by(LANES) {
            let mask = (bits >> column) as __mmask16;
            // SAFETY: the mask ends where the tile does, the base has what the tile has, and the sums are there up to
            // the end of a vector.
            unsafe {
                let mut sum = _mm512_mul_ps(alpha, _mm512_loadu_ps(sums.add(r * COLUMNS + column)));
                if added {
                    sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, base.add(r * base_stride + column)), sum);
                }
                _mm512_mask_storeu_ps(t.c.add(r * t.c_stride + column), mask, sum);
            }
        }
    }
}
