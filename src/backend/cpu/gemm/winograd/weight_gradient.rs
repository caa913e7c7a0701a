//! The gradient of the weights: tiles of the result's gradient are filters over windows of the input, and the products
//! sum over the tiles.

use std::ops::Range;

use rayon::prelude::*;

use super::lanes::{self, Between, Matrices, Pixels, Results, Taps};
use super::windows::Windows;
use super::{FREQUENCIES, TILE};
use crate::backend::cpu::OnTeam;
use crate::backend::cpu::gemm::kernel::{Along, Base, DEPTH, Kernel, Tile};
use crate::backend::cpu::gemm::pack::by;
use crate::backend::cpu::gemm::rows::{Stored, Sum};
use crate::backend::cpu::gemm::scratch::Scratch;
use crate::backend::cpu::isa::Isa;
use crate::backend::cpu::vector::{InVectors, LANES, Vector, VectorKernel};
use crate::error::{Error, Result};
use crate::stop;

/// Tiles that are transformed together, and summed over in one go, or those of a band if there are more.
const AT_ONCE: usize = 64;
/// Elements of the transforms that are there at a time (4 MB, which the caches hold), unless the threads need more for
/// a part each.
const IN_MEMORY: usize = 1 << 20;

/// As [`gemm::weight_gradient`](crate::backend::cpu::gemm::weight_gradient), with windows of `x`.
pub fn compute<T: Stored>(windows: &Windows<T>, dy: &[T], outputs: usize, dw: &mut [T], isa: Isa) -> Result<()> {
    let kernel = <T::Sum as Sum>::kernel(isa);
    let (tiles, inputs) = (windows.tiles, windows.channels);
    assert!(dy.len() >= tiles.batch * tiles.height * tiles.width * outputs && dw.len() >= outputs * 9 * inputs);
    let bands_at_once = (AT_ONCE / tiles.across()).max(1);
    let layout = Layout::new(bands_at_once * tiles.across(), inputs, outputs, kernel);
    let threads = rayon::current_num_threads();
    let lots = (IN_MEMORY / layout.part() / threads).max(1) * threads;
    let stride = inputs.next_multiple_of(LANES);
    let product = outputs * stride + LANES;
    let mut products = Scratch::of::<T::Sum>(FREQUENCIES * product)?;
    let products = &mut products.as_mut::<T::Sum>()[..FREQUENCIES * product];
    let stopped = stop::watch();
    let all: Vec<Range<usize>> = by(bands_at_once, 0..tiles.bands()).collect();
    let mut memory = Scratch::of::<T::Sum>(lots.min(all.len()) * layout.part())?;
    for (lot, bands) in all.chunks(lots).enumerate() {
        let memory = &mut memory.as_mut::<T::Sum>()[..bands.len() * layout.part()];
        memory.par_chunks_mut(layout.part()).zip(bands).each_on_team(|(to, bands)| {
            T::Sum::run(isa, Transform { windows, dy, layout, bands: bands.clone(), to });
        });
        let memory = &*memory;
        products.par_chunks_exact_mut(product).enumerate().try_each_on_team(|(frequency, product)| {
            if stopped() {
                return Err(Error::Stopped);
            }
            for (i, (part, bands)) in memory.chunks_exact(layout.part()).zip(bands).enumerate() {
                let base = if (lot, i) == (0, 0) { Base::Zero } else { Base::Result };
                let depth = bands.len() * tiles.across();
                layout.multiply(kernel, part, frequency, depth, base, product, stride);
            }
            Ok(())
        })?;
    }
    let products = &*products;
    dw[..outputs * 9 * inputs].par_chunks_exact_mut(9 * inputs).enumerate().each_on_team(|(output, dw)| {
        T::Sum::run(isa, ToWeights { products, first: output * stride, inputs, dw });
    });
    Ok(())
}

/// Where the transforms of some tiles are: those of the result's gradient as left panels, then those of the input as
/// right panels; in each the 36 matrices, in each the panels, in each the tiles.
#[derive(Clone, Copy)]
struct Layout {
    tiles: usize,
    inputs: usize,
    outputs: usize,
    /// Channels of a left and of a right panel.
    rows: usize,
    columns: usize,
}

impl Layout {
    fn new<S>(tiles: usize, inputs: usize, outputs: usize, kernel: &Kernel<S>) -> Self {
        Layout { tiles, inputs, outputs, rows: kernel.rows, columns: kernel.columns }
    }

    /// Elements of a left panel. Whole vectors are written, whatever a panel's width; the next tile's come over what is
    /// too much, and the last one's needs room.
    fn left_panel(&self) -> usize {
        self.tiles * self.rows + LANES
    }

    fn left_matrix(&self) -> usize {
        self.outputs.div_ceil(self.rows) * self.left_panel()
    }

    fn right_panel(&self) -> usize {
        self.tiles * self.columns
    }

    /// A little apart, so that the 36 do not share the places of a cache.
    fn right_matrix(&self) -> usize {
        self.inputs.div_ceil(self.columns) * self.right_panel() + LANES
    }

    /// Elements of all.
    fn part(&self) -> usize {
        FREQUENCIES * (self.left_matrix() + self.right_matrix())
    }

    /// Adds one of the 36 products: of `depth` tiles.
    #[expect(clippy::too_many_arguments)]
    fn multiply<S: Sum>(
        &self,
        kernel: &Kernel<S>,
        part: &[S],
        frequency: usize,
        depth: usize,
        base: Base<S>,
        product: &mut [S],
        stride: usize,
    ) {
        let (left, right) = part.split_at(FREQUENCIES * self.left_matrix());
        let left = &left[frequency * self.left_matrix()..][..self.left_matrix()];
        let right = &right[frequency * self.right_matrix()..][..self.right_matrix()];
        assert!(depth <= self.tiles && product.len() >= (self.outputs - 1) * stride + self.inputs);
        assert!(kernel.rows == self.rows && kernel.columns == self.columns && stride >= self.inputs);
        // Deeper than a tile sums in one go where a band is longer than that.
        for steps in by(DEPTH, 0..depth) {
            let base = if steps.start == 0 { base } else { Base::Result };
            for (column, right) in (0..self.inputs).step_by(self.columns).zip(right.chunks_exact(self.right_panel())) {
                for (row, left) in (0..self.outputs).step_by(self.rows).zip(left.chunks_exact(self.left_panel())) {
                    let tile = Tile {
                        left: left[steps.start * self.rows..].as_ptr(),
                        along: Along::Rows,
                        right: right[steps.start * self.columns..].as_ptr(),
                        depth: steps.len(),
                        rows: self.rows.min(self.outputs - row),
                        columns: self.columns.min(self.inputs - column),
                        c: product[row * stride + column..].as_mut_ptr(),
                        c_stride: stride,
                        alpha: S::ONE,
                        base,
                    };
                    debug_assert_eq!(kernel.steps, 1, "nothing is done before or after its tiles");
                    // SAFETY: panels have `tiles` steps, of which `depth` are read; the tile lies in the product, which
                    // is borrowed here; the CPU has the kernel's level.
                    unsafe { (kernel.tile)(&tile) };
                }
            }
        }
    }
}

/// Transforms tiles and packs them.
struct Transform<'a, T: Stored> {
    windows: &'a Windows<'a, T>,
    dy: &'a [T],
    layout: Layout,
    bands: Range<usize>,
    to: &'a mut [T::Sum],
}

impl<T: Stored> VectorKernel<T::Sum> for Transform<'_, T> {
    #[inline(always)]
    fn run<V: Vector<Number = T::Sum>>(self) {
        let Transform { windows, dy, layout, bands, to } = self;
        let (tiles, across, outputs) = (windows.tiles, windows.tiles.across(), layout.outputs);
        let [of_left, of_right] = [layout.left_matrix(), layout.right_matrix()].map(|size| Matrices { size });
        let (left, right) = to.split_at_mut(FREQUENCIES * of_left.size);
        let mut between = Between::<V>::new();
        let all = bands.flat_map(|band| (0..across).map(move |i| (band, i)));
        for (tile, (band, i)) in all.enumerate() {
            let (image, top) = tiles.place(band);
            let pixel = |y: usize, x: usize| match top + y < tiles.height && i * TILE + x < tiles.width {
                true => Some(((image * tiles.height + top + y) * tiles.width + i * TILE + x) * outputs),
                false => None,
            };
            for (panel, channel) in (0..outputs).step_by(layout.rows).enumerate() {
                let at = panel * layout.left_panel() + tile * layout.rows;
                for x in 0..TILE {
                    let mut column = [lanes::zero(); TILE];
                    for (y, gradient) in column.iter_mut().enumerate() {
                        if let Some(pixel) = pixel(y, x) {
                            *gradient = lanes::load(&dy[pixel + channel..pixel + outputs]);
                        }
                    }
                    between.column::<Taps, TILE, 6>(x, column);
                }
                of_left.rows::<Taps, V, TILE>(&between, left, at);
            }
            let window = windows.window(band, i);
            for channel in (0..layout.inputs).step_by(LANES) {
                let (panel, lane) = (channel / layout.columns, channel % layout.columns);
                let at = panel * layout.right_panel() + tile * layout.columns + lane;
                window.transform_columns(channel, &mut between);
                of_right.rows::<Pixels, V, 6>(&between, right, at);
            }
        }
    }
}

/// Makes the gradients of an output's weights of the products.
struct ToWeights<'a, T: Stored> {
    products: &'a [T::Sum],
    /// Where the output's row is in each.
    first: usize,
    inputs: usize,
    /// `[3, 3, inputs]`
    dw: &'a mut [T],
}

impl<T: Stored> VectorKernel<T::Sum> for ToWeights<'_, T> {
    #[inline(always)]
    fn run<V: Vector<Number = T::Sum>>(self) {
        let ToWeights { products, first, inputs, dw } = self;
        let matrices = Matrices { size: products.len() / FREQUENCIES };
        let mut between = Between::<V>::new();
        for channel in (0..inputs).step_by(LANES) {
            matrices.columns::<Results, V, 3>(products, first + channel, &mut between);
            for row in 0..3 {
                for (j, vector) in between.row::<Results, 6, 3>(row).into_iter().enumerate() {
                    let tap = 3 * row + j;
                    lanes::store(vector, &mut dw[tap * inputs + channel..(tap + 1) * inputs]);
                }
            }
        }
    }
}
