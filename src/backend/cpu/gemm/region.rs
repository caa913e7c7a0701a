//! The inner loops: a block of the result, from packed panels and register tiles.

use std::ops::Range;

use rayon::prelude::*;

use super::kernel::{Along, Base, DEPTH, Kernel, Tile};
use super::pack::by;
use super::rows::Sum;
use super::scratch::Scratch;
use super::{Factor, Product};
use crate::backend::cpu::OnTeam;
use crate::error::Result;

/// Rows of the left factor, [`DEPTH`] deep, that are multiplied with a right panel before the next one: packed they
/// take 320 KB of the second-level cache.
const BLOCK_ROWS: usize = 320;
/// Elements of right panels that the second-level cache holds beside the left ones (512 KB).
const RIGHT_IN_CACHE: usize = 1 << 17;
/// Panels that a thread packs together, so that it reads whole stretches of a row and not one panel's columns.
const PANELS_PACKED_AT_ONCE: usize = 8;
/// Elements that are worth packing on several threads.
const PACKED_BY_ALL: usize = 1 << 17;

/// The blocks that the depth is packed and multiplied in, and for how many steps panels then have room.
fn depth_blocks<S>(kernel: &Kernel<S>, depth: Range<usize>) -> (impl Iterator<Item = Range<usize>>, usize) {
    let block = kernel.block_depth(depth.len());
    (by(block, depth), kernel.panel_depth(block))
}

/// How many lines make a block whose panels, `width` lines each, have room for `room` steps: two panels at least.
pub(super) fn block_lines(width: usize, room: usize) -> usize {
    (BLOCK_ROWS * DEPTH / room.max(DEPTH) / width).max(2) * width
}

/// Which factor is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Lines (rows of the left factor or columns of the right one) packed in their whole depth, for all tasks to read.
pub(super) struct Shared<S> {
    memory: Scratch,
    /// Lines of a panel, and for how many steps there is room.
    width: usize,
    room: usize,
    /// Panels of each depth block.
    panels: usize,
    first_line: usize,
    of: std::marker::PhantomData<S>,
}

impl<S: Sum> Shared<S> {
    /// Packs `lines` of a factor of depth `depth`. Errors if there is no memory for them.
    pub fn pack(
        kernel: &Kernel<S>,
        factor: &Factor<S>,
        side: Side,
        lines: Range<usize>,
        depth: usize,
        parallel: bool,
    ) -> Result<Self> {
        let width = match side {
            Side::Left => kernel.rows,
            Side::Right => kernel.columns,
        };
        let (blocks, room) = depth_blocks(kernel, 0..depth);
        let blocks: Vec<_> = blocks.collect();
        let (panel, panels) = (width * room, lines.len().div_ceil(width));
        let mut memory = Scratch::of::<S>(blocks.len() * panels * panel)?;
        let pack = |(depth, lines, to): (&Range<usize>, Range<usize>, &mut [S])| match side {
            Side::Left => factor.pack_left(kernel, lines, depth.clone(), to, room),
            Side::Right => factor.pack_right(kernel, lines, depth.clone(), to, room),
        };
        let tasks = memory.as_mut::<S>()[..blocks.len() * panels * panel].chunks_mut(panels * panel);
        let mut tasks = tasks.zip(&blocks).flat_map(|(to, depth)| {
            let lines = by(PANELS_PACKED_AT_ONCE * width, lines.clone());
            lines.zip(to.chunks_mut(PANELS_PACKED_AT_ONCE * panel)).map(move |(lines, to)| (depth, lines, to))
        });
        if parallel && lines.len() * depth >= PACKED_BY_ALL {
            tasks.collect::<Vec<_>>().into_par_iter().try_each_on_team(pack)?;
        } else {
            tasks.try_for_each(pack)?;
        }
        Ok(Shared { memory, width, room, panels, first_line: lines.start, of: std::marker::PhantomData })
    }

    /// The panels of a depth block from the one that starts with `line` onwards.
    fn panels(&self, block: usize, line: usize) -> &[S] {
        let first = (line - self.first_line) / self.width;
        debug_assert_eq!(first * self.width, line - self.first_line);
        let panel = self.width * self.room;
        &self.memory.as_ref()[(block * self.panels + first) * panel..(block + 1) * self.panels * panel]
    }
}

/// A block of the result, in part or all of the depth. It starts where panels of the shared factor start.
pub(super) struct Region<'a, S: 'static> {
    pub product: &'a Product<'a, S>,
    pub kernel: &'static Kernel<S>,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub depth: Range<usize>,
    /// The left factor, if it is packed already.
    pub left: Option<&'a Shared<S>>,
    /// The right factor, if it is packed already.
    pub right: Option<&'a Shared<S>>,
}

impl<S: Sum> Region<'_, S> {
    /// `to = base + alpha * left * right`; `to` and the pointer in `base` stand at the region's corner. Errors if there
    /// is no memory for the panels that it packs.
    ///
    /// # Safety
    /// `to` must point to the region's rows, `stride` apart, which nobody else uses meanwhile; `base` to as many
    /// elements as the region has columns.
    pub unsafe fn multiply(&self, to: *mut S, stride: usize, alpha: S, base: Base<S>) -> Result<()> {
        let kernel = self.kernel;
        let (depth_blocks, room) = depth_blocks(kernel, self.depth.clone());
        // Rows packed together: a few, still in the first-level cache when they are used (for tiles in the second),
        // while the right panels come from the second level; many, if those do not fit there. Columns are packed from
        // whole rows of the source, so many are better in any case.
        let few = !self.product.left.transposed && self.columns.len() * room <= RIGHT_IN_CACHE;
        let block_rows = if few { 2 * kernel.rows } else { block_lines(kernel.rows, room) };
        let own_rows = self.rows.len().min(block_rows).next_multiple_of(kernel.rows);
        let mut own_left = self.left.is_none().then(|| Scratch::of::<S>(own_rows * room)).transpose()?;
        let own_columns = self.columns.len().next_multiple_of(kernel.columns);
        let mut own_right = self.right.is_none().then(|| Scratch::of::<S>(own_columns * room)).transpose()?;

        for (i, depth) in depth_blocks.enumerate() {
            let base = if i == 0 { base } else { Base::Result };
            if let Some(own) = &mut own_right {
                self.product.right.pack_right(kernel, self.columns.clone(), depth.clone(), own.as_mut(), room)?;
            }
            let right = match (&own_right, self.right) {
                (Some(own), _) => own.as_ref(),
                (_, Some(shared)) => shared.panels(i, self.columns.start),
                _ => &[],
            };
            for rows in by(block_rows, self.rows.clone()) {
                if let Some(own) = &mut own_left {
                    self.product.left.pack_left(kernel, rows.clone(), depth.clone(), own.as_mut(), room)?;
                }
                let left = match (&own_left, self.left) {
                    (Some(own), _) => own.as_ref(),
                    (_, Some(shared)) => shared.panels(i, rows.start),
                    _ => &[],
                };
                let along = self.product.left.along();
                let block = Block { left, right, along, room, depth: depth.len(), alpha };
                let first = rows.start - self.rows.start;
                // SAFETY: passed on; the block's rows are among the region's.
                unsafe {
                    block.multiply(kernel, rows.len(), self.columns.len(), to.add(first * stride), stride, base);
                }
            }
        }
        Ok(())
    }
}

/// Panels of one depth block.
struct Block<'a, S> {
    left: &'a [S],
    right: &'a [S],
    along: Along,
    /// Steps that panels have room for, and those that they have.
    room: usize,
    depth: usize,
    alpha: S,
}

impl<S: Sum> Block<'_, S> {
    /// # Safety
    /// As for [`Region::multiply`].
    unsafe fn multiply(
        &self,
        kernel: &Kernel<S>,
        rows: usize,
        columns: usize,
        to: *mut S,
        stride: usize,
        base: Base<S>,
    ) {
        let left_panels = self.left.chunks_exact(kernel.rows * self.room);
        let right_panels = self.right.chunks_exact(kernel.columns * self.room);
        assert!(left_panels.len() * kernel.rows >= rows && right_panels.len() * kernel.columns >= columns);
        assert!(self.depth <= self.room && self.room <= kernel.depth);
        // SAFETY: the kernel is one that the CPU can run, as every product's is.
        unsafe { (kernel.begin)() };
        for (column, right) in (0..columns).step_by(kernel.columns).zip(right_panels) {
            for (row, left) in (0..rows).step_by(kernel.rows).zip(left_panels.clone()) {
                let tile = Tile {
                    left: left.as_ptr(),
                    along: self.along,
                    right: right.as_ptr(),
                    depth: self.depth,
                    rows: kernel.rows.min(rows - row),
                    columns: kernel.columns.min(columns - column),
                    c: to.wrapping_add(row * stride + column),
                    c_stride: stride,
                    alpha: self.alpha,
                    base: match base {
                        Base::Columns(bias) => Base::Columns(bias.wrapping_add(column)),
                        other => other,
                    },
                };
                // SAFETY: the panels are whole and initialised; the tile lies in the block, which is the caller's; the
                // kernel is one that the CPU can run, as every product's is.
                unsafe { (kernel.tile)(&tile) };
            }
        }
        // SAFETY: as of `begin`, on the same thread.
        unsafe { (kernel.end)() };
    }
}
