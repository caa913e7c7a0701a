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
    /// How panels of this factor are packed when it stands on the left, by copying what is contiguous; unless the
    /// kernel takes several [steps](Kernel::steps) at a time.
    pub(super) fn along(&self) -> Along {
        if self.transposed { Along::Rows } else { Along::Depth }
    }

    /// Packs a part of a left factor: panels of [`Kernel::rows`] rows, each with room for `room` steps.
    /// Errors if there is no memory for the lines that it transposes.
    pub(super) fn pack_left(
        &self,
        kernel: &Kernel<S>,
        rows: Range<usize>,
        depth: Range<usize>,
        to: &mut [S],
        room: usize,
    ) -> Result<()> {
        let panel = kernel.rows * room;
        match (kernel.steps > 1, self.along()) {
            (false, Along::Depth) => self.source.copy(kernel.isa, rows, depth, to, DEPTH),
            (false, Along::Rows) => self.copy_columns(kernel, kernel.rows, rows, depth, to, panel),
            (true, Along::Depth) => self.copy_in_steps(kernel, rows, depth, to, panel),
            (true, Along::Rows) => self.transpose_in_steps(kernel, rows, depth, to, panel)?,
        }
        Ok(())
    }

    /// Packs a part of a right factor: panels of [`Kernel::columns`] columns, each with room for `room` steps.
    /// Errors if there is no memory for the lines that it transposes.
    pub(super) fn pack_right(
        &self,
        kernel: &Kernel<S>,
        columns: Range<usize>,
        depth: Range<usize>,
        to: &mut [S],
        room: usize,
    ) -> Result<()> {
        let (width, panel) = (kernel.columns, kernel.columns * room);
        if self.transposed {
            for (lines, to) in by(width, columns.clone()).zip(to.chunks_mut(panel)) {
                self.copy_transposed(kernel, lines, depth.clone(), to, width)?;
            }
        } else {
            self.copy_columns(kernel, width, columns.clone(), depth.clone(), to, panel);
        }
        let rest = depth.len() * width..depth.len().next_multiple_of(kernel.steps) * width;
        if !rest.is_empty() {
            to.chunks_mut(panel).take(columns.len().div_ceil(width)).for_each(|to| to[rest.clone()].fill(S::ZERO));
        }
        Ok(())
    }

    /// Writes the transpose of some lines of the source: number `n` of line `l` goes to `to[n * stride + l]`. Beyond
    /// the last line, up to a multiple of [`TRANSPOSED_AT_ONCE`], it writes anything. Errors if there is no memory for
    /// the lines.
    fn copy_transposed(
        &self,
        kernel: &Kernel<S>,
        lines: Range<usize>,
        numbers: Range<usize>,
        to: &mut [S],
        stride: usize,
    ) -> Result<()> {
        let mut scratch = Scratch::of::<S>(TRANSPOSED_AT_ONCE * DEPTH)?;
        let scratch = scratch.as_mut::<S>();
        for (i, lines) in by(TRANSPOSED_AT_ONCE, lines).enumerate() {
            for some in by(DEPTH, numbers.clone()) {
                self.source.copy(kernel.isa, lines.clone(), some.clone(), scratch, DEPTH);
                let to = &mut to[(some.start - numbers.start) * stride + i * TRANSPOSED_AT_ONCE..];
                (kernel.transpose)(scratch, some.len(), to, stride);
            }
        }
        Ok(())
    }

    /// Packs columns of the source, whose rows are steps in depth, in panels of `width`.
    fn copy_columns(
        &self,
        kernel: &Kernel<S>,
        width: usize,
        columns: Range<usize>,
        depth: Range<usize>,
        to: &mut [S],
        panel: usize,
    ) {
        // A few rows at a time, so that they are still in the first-level cache when the next panel takes its columns
        // from them.
        for steps in by(ROWS_AT_ONCE, depth.clone()) {
            let first = (steps.start - depth.start) * width;
            for (columns, to) in by(width, columns.clone()).zip(to.chunks_mut(panel)) {
                self.source.copy(kernel.isa, steps.clone(), columns, &mut to[first..], width);
            }
        }
    }

    /// Packs rows of the source for a kernel that takes several steps at a time.
    fn copy_in_steps(&self, kernel: &Kernel<S>, rows: Range<usize>, depth: Range<usize>, to: &mut [S], panel: usize) {
        let at_once = kernel.steps;
        for (rows, to) in by(kernel.rows, rows).zip(to.chunks_mut(panel)) {
            for (steps, to) in by(at_once, depth.clone()).zip(to.chunks_mut(kernel.rows * at_once)) {
                let taken = steps.len();
                self.source.copy(kernel.isa, rows.clone(), steps, to, at_once);
                if taken < at_once {
                    to.chunks_mut(at_once).take(rows.len()).for_each(|row| row[taken..].fill(S::ZERO));
                }
            }
        }
    }

    /// Packs columns of the source, whose rows are steps in depth, for a kernel that takes several at a time. Errors if
    /// there is no memory for the lines that it transposes.
    fn transpose_in_steps(
        &self,
        kernel: &Kernel<S>,
        rows: Range<usize>,
        depth: Range<usize>,
        to: &mut [S],
        panel: usize,
    ) -> Result<()> {
        let at_once = kernel.steps;
        assert_eq!(at_once, TRANSPOSED_AT_ONCE, "steps that are transposed at once");
        let mut scratch = Scratch::of::<S>(TRANSPOSED_AT_ONCE * DEPTH)?;
        let scratch = &mut scratch.as_mut::<S>()[..TRANSPOSED_AT_ONCE * DEPTH];
        for (step, steps) in by(at_once, depth).enumerate() {
            for some in by(DEPTH / kernel.rows * kernel.rows, rows.clone()) {
                self.source.copy(kernel.isa, steps.clone(), some.clone(), scratch, DEPTH);
                scratch[steps.len() * DEPTH..].fill(S::ZERO);
                let first = (some.start - rows.start) / kernel.rows;
                for (i, lines) in by(kernel.rows, 0..some.len()).enumerate() {
                    let to = &mut to[(first + i) * panel + step * at_once * kernel.rows..];
                    (kernel.transpose)(&scratch[lines.start..], lines.len(), to, at_once);
                }
            }
        }
        Ok(())
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
