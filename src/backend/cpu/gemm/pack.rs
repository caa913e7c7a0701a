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
    /// How panels of this factor are packed when it stands on the left: as the kernel wants it, or by copying what is
    /// contiguous.
    pub(super) fn along(&self, kernel: &Kernel<S>) -> Along {
        kernel.left_along.unwrap_or(if self.transposed { Along::Rows } else { Along::Depth })
    }

    /// Packs a part of a left factor: panels of [`Kernel::rows`] rows, each `rows * DEPTH` long.
    /// Errors if there is no memory for the lines that it transposes.
    pub(super) fn pack_left(
        &self,
        kernel: &Kernel<S>,
        rows: Range<usize>,
        depth: Range<usize>,
        to: &mut [S],
    ) -> Result<()> {
        let along = self.along(kernel);
        match (along, self.transposed) {
            (Along::Depth, false) => self.source.copy(kernel.isa, rows.clone(), depth.clone(), to, DEPTH),
            (Along::Depth, true) => {
                for (rows, to) in by(DEPTH, rows.clone()).zip(to.chunks_mut(DEPTH * DEPTH)) {
                    self.copy_transposed(kernel, depth.clone(), rows, to, DEPTH)?;
                }
            }
            (Along::Rows, _) => self.copy_columns(kernel, kernel.rows, rows.clone(), depth.clone(), to),
        }
        match (along, depth.len()..depth.len().next_multiple_of(kernel.steps)) {
            (_, steps) if steps.is_empty() => {}
            (Along::Depth, steps) => {
                to.chunks_mut(DEPTH).take(rows.len()).for_each(|row| row[steps.clone()].fill(S::ZERO));
            }
            (Along::Rows, steps) => zero_steps(kernel.rows, rows, steps, to),
        }
        Ok(())
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
        if self.transposed {
            for (panel, to) in by(kernel.columns, columns.clone()).zip(to.chunks_mut(kernel.columns * DEPTH)) {
                self.copy_transposed(kernel, panel, depth.clone(), to, kernel.columns)?;
            }
        } else {
            self.copy_columns(kernel, kernel.columns, columns.clone(), depth.clone(), to);
        }
        let steps = depth.len()..depth.len().next_multiple_of(kernel.steps);
        if !steps.is_empty() {
            zero_steps(kernel.columns, columns, steps, to);
        }
        Ok(())
    }

    /// Writes the transpose of some lines of the source, of at most [`DEPTH`] numbers each: number `n` of line `l`
    /// goes to `to[n * stride + l]`. Beyond the last line, up to a multiple of [`TRANSPOSED_AT_ONCE`], it writes
    /// anything. Errors if there is no memory for the lines.
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
            self.source.copy(kernel.isa, lines, numbers.clone(), scratch, DEPTH);
            (kernel.transpose)(scratch, numbers.len(), &mut to[i * TRANSPOSED_AT_ONCE..], stride);
        }
        Ok(())
    }
}

/// Zeros steps of panels of `width` lines, whose steps are `width` apart.
fn zero_steps<S: Sum>(width: usize, lines: Range<usize>, steps: Range<usize>, to: &mut [S]) {
    let steps = steps.start * width..steps.end * width;
    to.chunks_mut(width * DEPTH).take(lines.len().div_ceil(width)).for_each(|to| to[steps.clone()].fill(S::ZERO));
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
