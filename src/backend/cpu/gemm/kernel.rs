//! What the blocked product asks of a register kernel.

use crate::backend::cpu::isa::Isa;

/// Depth of one block, for most kernels: the panels that a tile reads then stay in the first-level cache. Also the
/// distance between the rows of a left panel packed [`Along::Depth`].
pub(super) const DEPTH: usize = 256;

/// How a left panel of [`Kernel::rows`] rows is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Along {
    /// Row after row, [`DEPTH`] apart: made by copying rows that are contiguous in depth.
    Depth,
    /// Step after step, [`Kernel::rows`] apart: made by copying columns.
    Rows,
}

/// What the sums of a tile are added to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<S> {
    /// Nothing.
    Zero,
    /// What the result holds.
    Result,
    /// One value per column.
    Columns(*const S),
}

/// `c = base + alpha * left * right` for one tile. The right panel is packed step after step, [`Kernel::columns`]
/// apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<S> {
    pub left: *const S,
    pub along: Along,
    pub right: *const S,
    /// At most [`Kernel::depth`].
    pub depth: usize,
    /// At most [`Kernel::rows`], and at least 1.
    pub rows: usize,
    /// At most [`Kernel::columns`], and at least 1.
    pub columns: usize,
    pub c: *mut S,
    pub c_stride: usize,
    pub alpha: S,
    pub base: Base<S>,
}

/// A loop over `0..$count`, at most 14 times, written out: an array that is only ever indexed by constants lives in
/// registers, while whether the compiler unrolls a loop by itself changes with how the crate is cut into units.
macro_rules! unrolled {
    ($i:ident in 0..$count:ident $body:block) => {
        $crate::backend::cpu::gemm::kernel::unrolled!(@ $i $count $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $i:ident $count:ident $body:block $($n:literal)*) => {
        $(if $n < $count {
            #[allow(non_upper_case_globals)]
            const $i: usize = $n;
            $body
        })*
    };
}
pub(super) use unrolled;

/// A register kernel: the size of its tile, and the function that computes one.
pub(crate) struct Kernel<S> {
    pub isa: Isa,
    pub rows: usize,
    pub columns: usize,
    /// Depth of a block at most.
    pub depth: usize,
    /// Steps of the depth that it takes at a time: panels go on with zeros up to a multiple of them, which divides
    /// `depth`. If they are more than one, left panels are packed so many steps at a time, of these row after row.
    pub steps: usize,
    /// Called before tiles are computed and after the last of them, on the thread that computes them. Safe if the CPU
    /// has `isa`.
    pub begin: unsafe fn(),
    pub end: unsafe fn(),
    /// Safe to call if the CPU has `isa` and
    /// * `begin` and not yet `end` was called on the thread, if they do anything,
    /// * `left` holds `depth` steps of a panel, `(rows - 1) * DEPTH + depth` elements [`Along::Depth`], `rows * depth`
    ///   [`Along::Rows`] and where `steps` are more than one, and `right` holds `columns * depth`, all initialised
    ///   (rows and columns the kernel's),
    /// * both go on with zeros, for the lines that the tile has, up to a multiple of `steps`,
    /// * `c` points to `rows` × `columns` (of the tile) elements that nobody else uses at the time,
    /// * the pointer in `base` points to as many elements as the tile has columns.
    pub tile: unsafe fn(&Tile<S>),
    /// Writes the transpose: `to[c * stride + r] = from[r * DEPTH + c]` for 16 rows and the given number of columns.
    pub transpose: fn(from: &[S], columns: usize, to: &mut [S], stride: usize),
}

impl<S> Kernel<S> {
    /// A kernel that takes the depth step by step and needs nothing done before or after.
    pub const fn new(
        isa: Isa,
        rows: usize,
        columns: usize,
        tile: unsafe fn(&Tile<S>),
        transpose: fn(from: &[S], columns: usize, to: &mut [S], stride: usize),
    ) -> Self {
        fn nothing() {}
        Kernel { isa, rows, columns, depth: DEPTH, steps: 1, begin: nothing, end: nothing, tile, transpose }
    }

    /// Into blocks of what depth a depth is cut: as few as possible, and even, but of whole multiples of the steps.
    pub fn block_depth(&self, depth: usize) -> usize {
        let blocks = depth.div_ceil(self.depth).max(1);
        depth.div_ceil(blocks).max(1).next_multiple_of(self.steps)
    }

    /// For how many steps panels have room where blocks are of the depth `block`.
    pub fn panel_depth(&self, block: usize) -> usize {
        if self.steps > 1 { block } else { DEPTH }
    }
}

/// Rows that [`Kernel::transpose`] takes.
pub(super) const TRANSPOSED_AT_ONCE: usize = 16;
