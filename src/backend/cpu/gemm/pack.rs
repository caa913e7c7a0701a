//! Copies factors into panels, and sums into results.

use std::ops::Range;

use crate::backend::cpu::isa::{self, Isa};

use super::Factor;
use super::kernel::{Along, DEPTH, Kernel, TRANSPOSED_AT_ONCE};
use super::rows::{Stored, Sum};
use super::scratch::Scratch;
use crate::error::Result;

/// Rows of a source that are packed together.
const ROWS_AT_ONCE: usize = 32;

impl<S: Sum> Factor<'_, S> {
    /// How panels of this factor are packed when it stands on the left.
    pub(super) fn along(&self) -> Along {
        if self.transposed { Along::Rows } else { Along::Depth }
    }

    /// Packs a part of a left factor: panels of [`Kernel::rows`] rows, each `rows * DEPTH` long.
    pub(super) fn pack_left(&self, kernel: &Kernel<S>, rows: Range<usize>, depth: Range<usize>, to: &mut [S]) {
        match self.along() {
            Along::Depth => self.source.copy(kernel.isa, rows, depth, to, DEPTH),
            Along::Rows => self.copy_columns(kernel, kernel.rows, rows, depth, to),
        }
    }

    /// Packs a part of a right factor: panels of [`Kernel::columns`] columns, each `columns * DEPTH` long.
    /// Errors if there is no memory for the lines that it transposes.
    pub(super) fn pack_right(
        &self,
        kernel: &Kernel<S>,
        columns: Range<usize>,
        depth: Range<usize>,
        to: &mut [S],
    ) -> Result<()> {
        if !self.transposed {
            self.copy_columns(kernel, kernel.columns, columns, depth, to);
            return Ok(());
        }
        let mut scratch = Scratch::of::<S>(TRANSPOSED_AT_ONCE * DEPTH)?;
        let scratch = scratch.as_mut::<S>();
        for (panel, to) in by(kernel.columns, columns).zip(to.chunks_mut(kernel.columns * DEPTH)) {
            for (i, lines) in by(TRANSPOSED_AT_ONCE, panel).enumerate() {
                self.source.copy(kernel.isa, lines, depth.clone(), scratch, DEPTH);
                (kernel.transpose)(scratch, depth.len(), &mut to[i * TRANSPOSED_AT_ONCE..], kernel.columns);
            }
        }
        Ok(())
    }
}

impl<S: Sum> Factor<'_, S> {
    /// Packs columns of the source, whose rows are steps in depth, in panels of `width`.
    fn copy_columns(&self, kernel: &Kernel<S>, width: usize, columns: Range<usize>, depth: Range<usize>, to: &mut [S]) {
        // A few rows at a time, so that they are still in the first-level cache when the next panel takes its columns
        // from them.
        for steps in by(ROWS_AT_ONCE, depth.clone()) {
            let first = (steps.start - depth.start) * width;
            for (panel, to) in by(width, columns.clone()).zip(to.chunks_mut(width * DEPTH)) {
                self.source.copy(kernel.isa, steps.clone(), panel, &mut to[first..], width);
            }
        }
    }
}

/// `range` in pieces of `size`, the last one shorter.
pub(super) fn by(size: usize, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |start| start..(start + size).min(end))
}

/// `to (+)= sums`, rounded once.
pub(super) fn store<T: Stored>(isa: Isa, sums: &[T::Sum], to: &mut [T], accumulate: bool) {
    isa.run_kernel(Store { sums, to, accumulate });
}

struct Store<'a, T: Stored> {
    sums: &'a [T::Sum],
    to: &'a mut [T],
    accumulate: bool,
}

impl<T: Stored> isa::Kernel for Store<'_, T> {
    #[inline(always)]
    fn run(self) {
        if self.accumulate {
            for (to, &sum) in self.to.iter_mut().zip(self.sums) {
                *to = T::round(to.widen() + sum);
            }
        } else {
            for (to, &sum) in self.to.iter_mut().zip(self.sums) {
                *to = T::round(sum);
            }
        }
    }
}
