//! Factors of bf16 for kernels that multiply pairs of them.

use std::ops::Range;

use half::bf16;

use super::rows::Rows;
use crate::backend::cpu::isa::{Isa, Kernel};

/// bf16 rows of which two neighbours in depth are read as one number: the bits of both, the first in the low half, in
/// an f32, which is only ever copied. A depth that is odd ends with a zero.
pub(super) struct Pairs<'a> {
    source: &'a dyn Rows<bf16>,
    /// Whether depth runs along the source's rows, or from row to row.
    along_rows: bool,
}

/// Rows and columns that are put together at a time where depth runs from row to row.
const ROWS: usize = 64;
const COLUMNS: usize = 32;

impl<'a> Pairs<'a> {
    pub fn new(source: &'a dyn Rows<bf16>, along_rows: bool) -> Self {
        Pairs { source, along_rows }
    }

    fn copy_along(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, out: &mut [f32], stride: usize) {
        let end = (2 * columns.end).min(self.source.columns());
        let halves: &mut [bf16] = bytemuck::cast_slice_mut(out);
        let count = rows.len();
        self.source.copy(isa, rows, 2 * columns.start..end, halves, 2 * stride);
        if end < 2 * columns.end {
            for row in halves.chunks_mut(2 * stride).take(count) {
                row[end - 2 * columns.start] = bf16::ZERO;
            }
        }
    }

    fn copy_across(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, out: &mut [f32], stride: usize) {
        let mut some = [bf16::ZERO; ROWS * COLUMNS];
        for (i, first) in rows.clone().step_by(ROWS / 2).enumerate() {
            let lines = 2 * first..(2 * rows.end.min(first + ROWS / 2)).min(self.source.rows());
            for (j, column) in columns.clone().step_by(COLUMNS).enumerate() {
                let width = COLUMNS.min(columns.end - column);
                self.source.copy(isa, lines.clone(), column..column + width, &mut some, COLUMNS);
                if lines.len() % 2 == 1 {
                    some[lines.len() * COLUMNS..][..COLUMNS].fill(bf16::ZERO);
                }
                let out = &mut out[i * ROWS / 2 * stride + j * COLUMNS..];
                isa.run_kernel(Join { some: &some, pairs: lines.len().div_ceil(2), width, out, stride });
            }
        }
    }
}

impl Rows<f32> for Pairs<'_> {
    fn rows(&self) -> usize {
        if self.along_rows { self.source.rows() } else { self.source.rows().div_ceil(2) }
    }

    fn columns(&self) -> usize {
        if self.along_rows { self.source.columns().div_ceil(2) } else { self.source.columns() }
    }

    fn copy(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, out: &mut [f32], stride: usize) {
        if columns.is_empty() {
            return;
        }
        match self.along_rows {
            true => self.copy_along(isa, rows, columns, out, stride),
            false => self.copy_across(isa, rows, columns, out, stride),
        }
    }

    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>> {
        None
    }
}

/// Puts rows together, two and two.
struct Join<'a> {
    /// Rows [`COLUMNS`] apart.
    some: &'a [bf16],
    pairs: usize,
    width: usize,
    out: &'a mut [f32],
    stride: usize,
}

impl Kernel for Join<'_> {
    #[inline(always)]
    fn run(self) {
        for (lines, out) in self.some.chunks_exact(2 * COLUMNS).take(self.pairs).zip(self.out.chunks_mut(self.stride)) {
            let (low, high) = lines.split_at(COLUMNS);
            for ((out, low), high) in out[..self.width].iter_mut().zip(low).zip(high) {
                *out = f32::from_bits(u32::from(low.to_bits()) | u32::from(high.to_bits()) << 16);
            }
        }
    }
}
