//! A convolution: windows to products to pixels, some bands of tiles at a time, so that what is between stays in cache.

use std::ops::Range;

use rayon::prelude::*;

use super::filter::{Depth, Filter, Packed};
use super::lanes::{Between, LANES, Lanes, Pixels, Results};
use super::windows::{Tiles, Windows};
use super::{FREQUENCIES, TILE, WINDOW};
use crate::backend::cpu::gemm::kernel::{Along, Base, DEPTH, Kernel, Tile};
use crate::backend::cpu::gemm::pack::by;
use crate::backend::cpu::gemm::rows::{Stored, Sum};
use crate::backend::cpu::gemm::scratch::Scratch;
use crate::backend::cpu::isa::{self, Isa};
use crate::error::{Error, Result};
use crate::stop;

/// Tiles that are handled together, or those of a band if there are more: with 256 channels their transforms take 2 MB
/// and the products as much again, and each part of the weights that is fetched is used for so many rows.
const AT_ONCE: usize = 56;

/// Channels that are summed in one go. Of all that is rounded, these sums weigh most: in goes of 256 channels results
/// would be a third further off.
const SUMMED: usize = 128;

/// As [`gemm::convolve`](crate::backend::cpu::gemm::convolve).
pub fn convolve<T: Stored>(
    windows: &Windows<T>,
    filter: &Filter<T>,
    bias: Option<&[T::Sum]>,
    y: &mut [T],
    isa: Isa,
) -> Result<()> {
    let kernel = <T::Sum as Sum>::kernel(isa);
    let packed = filter.pack(kernel)?;
    let tiles = windows.tiles;
    assert!(bias.is_none_or(|bias| bias.len() == filter.columns), "one bias per column");
    let share = (tiles.bands() * tiles.across()).div_ceil(rayon::current_num_threads());
    let bands_at_once = (AT_ONCE.min(share) / tiles.across()).max(1);
    let mut rest = y;
    let mut tasks = Vec::new();
    for bands in by(bands_at_once, 0..tiles.bands()) {
        let (own, others) = rest.split_at_mut(tiles.pixels(bands.clone()) * filter.columns);
        tasks.push((bands, own));
        rest = others;
    }
    let work = |(bands, y): (Range<usize>, &mut [T])| {
        Bands { windows, packed: &packed, kernel, columns: filter.columns, bias, bands, y }.compute()
    };
    let stopped = stop::watch();
    let work = |task| if stopped() { Err(Error::Stopped) } else { work(task) };
    tasks.into_par_iter().with_max_len(1).try_for_each(work)
}

/// Some bands.
struct Bands<'a, T: Stored> {
    windows: &'a Windows<'a, T>,
    packed: &'a Packed,
    kernel: &'static Kernel<T::Sum>,
    columns: usize,
    bias: Option<&'a [T::Sum]>,
    bands: Range<usize>,
    /// Their pixels.
    y: &'a mut [T],
}

/// How the tiles of some bands are packed as rows of left factors: 36 of them, in each the blocks of the depth, in each
/// the panels.
#[derive(Clone, Copy)]
struct LeftLayout {
    tiles: usize,
    panels: usize,
    /// Tiles of a panel: as even as that goes, for a panel of few is not much faster than a full one.
    of_panel: usize,
    /// Elements of a panel.
    panel: usize,
    depth: Depth,
}

impl LeftLayout {
    fn new<S>(tiles: usize, depth: Depth, kernel: &Kernel<S>) -> Self {
        let panels = tiles.div_ceil(kernel.rows);
        LeftLayout { tiles, panels, of_panel: tiles.div_ceil(panels), panel: kernel.rows * DEPTH, depth }
    }

    /// Elements of one of the 36; a little apart, so that they do not share the places of a cache.
    fn matrix(&self) -> usize {
        self.depth.blocks() * self.panels * self.panel + LANES
    }

    /// Where a tile's channel is in each of them.
    fn place(&self, tile: usize, channel: usize) -> usize {
        let (block, panel) = (channel / self.depth.block, tile / self.of_panel);
        (block * self.panels + panel) * self.panel + tile % self.of_panel * DEPTH + channel % self.depth.block
    }
}

impl<T: Stored> Bands<'_, T> {
    fn compute(self) -> Result<()> {
        let (across, isa) = (self.windows.tiles.across(), self.kernel.isa);
        let rows = LeftLayout::new(self.bands.len() * across, self.packed.depth, self.kernel);
        let mut left = Scratch::of::<T::Sum>(FREQUENCIES * rows.matrix())?;
        let left = &mut left.as_mut::<T::Sum>()[..FREQUENCIES * rows.matrix()];
        isa.run_kernel(FromWindows { windows: self.windows, bands: self.bands.clone(), rows, to: left });
        // Rows of whole vectors, so that they can be read in such.
        let stride = self.columns.next_multiple_of(LANES);
        let product = rows.tiles * stride + LANES;
        let mut products = Scratch::of::<T::Sum>(FREQUENCIES * product)?;
        let products = &mut products.as_mut::<T::Sum>()[..FREQUENCIES * product];
        for (frequency, (left, product)) in
            left.chunks_exact(rows.matrix()).zip(products.chunks_exact_mut(product)).enumerate()
        {
            self.multiply(&rows, frequency, left, product, stride);
        }
        let Bands { windows, columns, bias, bands, y, .. } = self;
        isa.run_kernel(ToPixels { tiles: windows.tiles, columns, bias, bands, stride, products, y });
        Ok(())
    }

    /// One of the 36 products.
    fn multiply(&self, rows: &LeftLayout, frequency: usize, left: &[T::Sum], product: &mut [T::Sum], stride: usize) {
        let Bands { packed, kernel, columns, .. } = self;
        let width = packed.width;
        assert!(rows.tiles > 0 && rows.of_panel <= kernel.rows);
        assert!(product.len() >= (rows.tiles - 1) * stride + columns);
        for (block, steps) in (0..packed.depth.blocks())
            .flat_map(|block| by(SUMMED, 0..packed.depth.of_block(block)).map(move |steps| (block, steps)))
        {
            let base = if (block, steps.start) == (0, 0) { Base::Zero } else { Base::Result };
            for (panel, column) in (0..*columns).step_by(width).enumerate() {
                let right = &packed.of::<T::Sum>(panel, frequency, block)[steps.start * width..];
                for (i, first) in (0..rows.tiles).step_by(rows.of_panel).enumerate() {
                    let left = &left[(block * rows.panels + i) * rows.panel..][..rows.panel];
                    assert!(right.len() >= steps.len() * width && steps.end <= DEPTH);
                    assert!(rows.panel >= kernel.rows * DEPTH);
                    let tile = Tile {
                        left: left[steps.start..].as_ptr(),
                        along: Along::Depth,
                        right: right.as_ptr(),
                        depth: steps.len(),
                        rows: rows.of_panel.min(rows.tiles - first),
                        columns: width.min(columns - column),
                        c: product[first * stride + column..].as_mut_ptr(),
                        c_stride: stride,
                        alpha: T::Sum::ONE,
                        base,
                    };
                    // SAFETY: the panels are as long as asserted, the tile lies in the product, whose rows and columns
                    // there are by the first assertions, and which is borrowed here; the CPU has the kernel's level.
                    unsafe { (kernel.tile)(&tile) };
                }
            }
        }
    }
}

/// Transforms windows and packs them.
struct FromWindows<'a, T: Stored> {
    windows: &'a Windows<'a, T>,
    bands: Range<usize>,
    rows: LeftLayout,
    to: &'a mut [T::Sum],
}

impl<T: Stored> isa::Kernel for FromWindows<'_, T> {
    #[inline(always)]
    fn run(self) {
        let FromWindows { windows, bands, rows, to } = self;
        let across = windows.tiles.across();
        let (mut tile, matrix) = (0, rows.matrix());
        let mut between = Between::new();
        for band in bands {
            for i in 0..across {
                let window = windows.window(band, i);
                for channel in (0..windows.channels).step_by(LANES) {
                    let at = rows.place(tile, channel);
                    window.transform_columns(channel, &mut between);
                    for row in 0..WINDOW {
                        for (j, lanes) in between.row::<Pixels, 6, 6>(row).iter().enumerate() {
                            lanes.store(&mut to[(row * WINDOW + j) * matrix + at..][..LANES]);
                        }
                    }
                }
                tile += 1;
            }
        }
    }
}

/// Makes pixels of the products.
struct ToPixels<'a, T: Stored> {
    tiles: Tiles,
    columns: usize,
    bias: Option<&'a [T::Sum]>,
    bands: Range<usize>,
    /// Elements from a tile's row of a product to the next.
    stride: usize,
    products: &'a [T::Sum],
    y: &'a mut [T],
}

impl<T: Stored> isa::Kernel for ToPixels<'_, T> {
    #[inline(always)]
    fn run(self) {
        let ToPixels { tiles, columns, bias, bands, stride, products, y } = self;
        let (across, product) = (tiles.across(), products.len() / FREQUENCIES);
        let line = tiles.width * columns;
        let mut between = Between::new();
        let mut first = 0; // of the band's pixels
        for (i, band) in bands.enumerate() {
            let rows = tiles.rows_of(band);
            let y = &mut y[first..first + rows * line];
            first += rows * line;
            for tile in 0..across {
                let pixels = TILE.min(tiles.width - tile * TILE);
                for column in (0..columns).step_by(LANES) {
                    let bias = bias.map_or(Lanes::ZERO, |bias| Lanes::load(&bias[column..]));
                    let place = (i * across + tile) * stride + column;
                    for j in 0..WINDOW {
                        let mut lanes = [Lanes::ZERO; WINDOW];
                        for (row, lanes) in lanes.iter_mut().enumerate() {
                            *lanes = Lanes::load(&products[(row * WINDOW + j) * product + place..]);
                        }
                        between.column::<Results, 6, TILE>(j, lanes);
                    }
                    for row in 0..rows {
                        let results = between.row::<Results, 6, TILE>(row);
                        for (pixel, lanes) in results.iter().enumerate().take(pixels) {
                            let at = row * line + (tile * TILE + pixel) * columns;
                            lanes.add(bias).store(&mut y[at + column..at + columns]);
                        }
                    }
                }
            }
        }
    }
}
