//! How tiles are packed for the products, and where these go.

use std::ops::Range;

use super::FREQUENCIES;
use super::filter::Depth;
use crate::backend::cpu::gemm::kernel::{Along, Base, DEPTH, Kernel, Tile};
use crate::backend::cpu::gemm::rows::Sum;
use crate::backend::cpu::vector::LANES;

/// How tiles are packed as rows of left factors: 36 of them, in each the blocks of the depth, in each the panels.
#[derive(Clone, Copy)]
pub struct LeftLayout {
    tiles: usize,
    panels: usize,
    /// Tiles of a panel: as even as that goes, for a panel of few is not much faster than a full one.
    of_panel: usize,
    /// Elements of a panel.
    panel: usize,
    pub depth: Depth,
}

impl LeftLayout {
    /// Of one tile at least.
    pub fn new<S>(tiles: usize, depth: Depth, kernel: &Kernel<S>) -> Self {
        let panels = tiles.div_ceil(kernel.rows);
        LeftLayout { tiles, panels, of_panel: tiles.div_ceil(panels), panel: kernel.rows * DEPTH, depth }
    }

    /// Elements of one of the 36; a little apart, so that they do not share the places of a cache.
    pub fn matrix(&self) -> usize {
        self.depth.blocks() * self.panels * self.panel + LANES
    }

    /// Elements of all.
    pub fn all(&self) -> usize {
        FREQUENCIES * self.matrix()
    }

    /// Where a tile's channel is in each of them.
    pub fn place(&self, tile: usize, channel: usize) -> usize {
        let (block, panel) = (channel / self.depth.block, tile / self.of_panel);
        (block * self.panels + panel) * self.panel + tile % self.of_panel * DEPTH + channel % self.depth.block
    }
}

/// Where the products of tiles with a panel of columns are: 36 matrices, a tile a row.
#[derive(Clone, Copy)]
pub struct ResultLayout {
    pub tiles: usize,
    /// Columns of a panel.
    pub width: usize,
}

impl ResultLayout {
    /// Elements of one of the 36; a little apart, so that they do not share the places of a cache.
    pub fn matrix(&self) -> usize {
        self.tiles * self.width + LANES
    }

    /// Elements of all.
    pub fn panel(&self) -> usize {
        FREQUENCIES * self.matrix()
    }
}

/// One of the 36 products of tiles with a panel of columns, over some channels of a block of the depth: the first ones
/// replace what `product` holds, the others add to it. `right` is the panel from the first of these channels on.
pub fn multiply<S: Sum>(
    kernel: &Kernel<S>,
    (rows, left): (LeftLayout, &[S]),
    right: &[S],
    (block, steps): (usize, Range<usize>),
    (results, product): (ResultLayout, &mut [S]),
    columns: usize,
) {
    let base = if (block, steps.start) == (0, 0) { Base::Zero } else { Base::Result };
    let width = results.width;
    assert!(width == kernel.columns && (1..=width).contains(&columns) && rows.of_panel <= kernel.rows);
    assert!(right.len() >= steps.len() * width && steps.end <= DEPTH && rows.panel >= kernel.rows * DEPTH);
    assert!(results.tiles == rows.tiles && product.len() >= rows.tiles * width);
    for (i, first) in (0..rows.tiles).step_by(rows.of_panel).enumerate() {
        let left = &left[(block * rows.panels + i) * rows.panel..][..rows.panel];
        let tile = Tile {
            left: left[steps.start..].as_ptr(),
            along: Along::Depth,
            right: right.as_ptr(),
            depth: steps.len(),
            rows: rows.of_panel.min(rows.tiles - first),
            columns,
            c: product[first * width..].as_mut_ptr(),
            c_stride: width,
            alpha: S::ONE,
            base,
        };
        debug_assert_eq!(kernel.steps, 1, "nothing is done before or after its tiles");
        // SAFETY: the panels are as long as asserted, the tile lies in the product, whose rows and columns there are by
        // the last assertion, and which is borrowed here; the CPU has the kernel's level.
        unsafe { (kernel.tile)(&tile) };
    }
}
