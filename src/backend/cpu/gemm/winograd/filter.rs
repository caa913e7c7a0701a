//! The transform of weights, packed for the products.

use rayon::prelude::*;

use super::lanes::{Between, LANES, Lanes, Taps};
use super::{FREQUENCIES, WINDOW};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::gemm::kernel::{DEPTH, Kernel};
use crate::backend::cpu::gemm::rows::{Stored, Sum};
use crate::backend::cpu::gemm::scratch::Scratch;
use crate::backend::cpu::isa;
use crate::error::Result;

/// Weights of a pair of channels.
const TAPS: usize = 9;

/// How the channels that are summed over are cut into blocks, each no deeper than panels are.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    pub channels: usize,
    /// Channels of a block, whole [`LANES`]; the last block has what is left.
    pub block: usize,
}

impl Depth {
    pub fn of(channels: usize) -> Self {
        let blocks = channels.div_ceil(DEPTH).max(1);
        Depth { channels, block: channels.div_ceil(blocks).next_multiple_of(LANES) }
    }

    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(self.block)
    }

    /// Channels of this block.
    pub fn of_block(&self, block: usize) -> usize {
        self.block.min(self.channels - block * self.block)
    }
}

/// A weight `[out, 3, 3, in]`, as the forward pass or the gradient of the input reads it.
#[derive(Clone, Copy)]
pub struct Filter<'a, T> {
    weight: &'a [T],
    /// `in` of the weight.
    inner: usize,
    /// Channels that are summed over.
    depth: usize,
    /// Channels of the result.
    pub columns: usize,
    /// Whether the channels of the result are `in`, and the taps in reverse.
    backward: bool,
}

impl<'a, T: Stored> Filter<'a, T> {
    pub fn forward(shape: &Convolution, weight: &'a [T]) -> Self {
        let (inner, columns) = (shape.inputs, shape.outputs);
        assert!(weight.len() >= TAPS * inner * columns, "{shape:?} of {} weights", weight.len());
        Filter { weight, inner, depth: inner, columns, backward: false }
    }

    pub fn backward(shape: &Convolution, weight: &'a [T]) -> Self {
        let (inner, depth) = (shape.inputs, shape.outputs);
        assert!(weight.len() >= TAPS * inner * depth, "{shape:?} of {} weights", weight.len());
        Filter { weight, inner, depth, columns: inner, backward: true }
    }

    /// Transforms and packs the weights in panels of the kernel's columns. Errors if there is no memory for them.
    pub fn pack(&self, kernel: &Kernel<T::Sum>) -> Result<Packed> {
        let (depth, width) = (Depth::of(self.depth), kernel.columns);
        let packed = Packed { memory: None, depth, width };
        let panels = self.columns.div_ceil(width);
        let mut memory = Scratch::of::<T::Sum>(panels * packed.panel())?;
        let pack = |(i, to): (usize, &mut [T::Sum])| -> Result<()> {
            let mut room = Scratch::of::<T::Sum>(FREQUENCIES * LANES * width + LANES * DEPTH + TAPS * LANES * LANES)?;
            let (rows, room) = room.as_mut().split_at_mut(LANES * DEPTH);
            let (taps, some) = room.split_at_mut(TAPS * LANES * LANES);
            let some = &mut some[..FREQUENCIES * LANES * width];
            kernel.isa.run_kernel(PackPanel { of: self, first: i * width, kernel, rows, taps, some, to });
            Ok(())
        };
        let parts = memory.as_mut::<T::Sum>()[..panels * packed.panel()].chunks_mut(packed.panel()).enumerate();
        parts.collect::<Vec<_>>().into_par_iter().try_for_each(pack)?;
        Ok(Packed { memory: Some(memory), ..packed })
    }
}

/// What [`Filter::pack`] makes: panels of columns, in each the 36 matrices, in each the channels, in each the columns.
pub struct Packed {
    memory: Option<Scratch>,
    pub depth: Depth,
    /// Columns of a panel.
    pub width: usize,
}

impl Packed {
    /// Elements of a panel's matrix; a little apart, so that the 36 do not share the places of a cache.
    fn matrix(&self) -> usize {
        self.depth.channels * self.width + LANES
    }

    /// Elements of a panel.
    fn panel(&self) -> usize {
        FREQUENCIES * self.matrix()
    }

    /// Some columns of a matrix, from a block of the depth on.
    pub fn of<S: Sum>(&self, panel: usize, frequency: usize, block: usize) -> &[S] {
        let start = panel * self.panel() + frequency * self.matrix();
        let memory = self.memory.as_ref().map_or(&[][..], Scratch::as_ref);
        &memory[start + block * self.depth.block * self.width..start + self.matrix()]
    }
}

/// Packs a panel.
struct PackPanel<'a, T: Stored> {
    of: &'a Filter<'a, T>,
    /// The first column.
    first: usize,
    kernel: &'a Kernel<T::Sum>,
    /// Room for the weights of [`LANES`] columns, [`DEPTH`] apart.
    rows: &'a mut [T::Sum],
    /// Room for the taps of [`LANES`] channels, in each [`LANES`] columns side by side: `[taps, channels, columns]`.
    taps: &'a mut [T::Sum],
    /// Room for [`LANES`] channels of the panel: 36 streams to far places at once would keep waiting for the memory.
    some: &'a mut [T::Sum],
    to: &'a mut [T::Sum],
}

impl<T: Stored> isa::Kernel for PackPanel<'_, T> {
    #[inline(always)]
    fn run(self) {
        let PackPanel { of, first, kernel, rows, taps, some, to } = self;
        let (width, end) = (kernel.columns, of.columns.min(first + kernel.columns));
        let (matrix, of_some) = (to.len() / FREQUENCIES, LANES * width);
        let mut between = Between::new();
        for channel in (0..of.depth).step_by(LANES) {
            let channels = LANES.min(of.depth - channel);
            for column in (first..end).step_by(LANES) {
                match of.backward {
                    true => of.taps_of_columns(channel, channels, column, taps),
                    false => {
                        of.rows(channel, channels, column, rows);
                        (kernel.transpose)(rows, TAPS * LANES, taps, LANES);
                    }
                }
                for c in 0..channels {
                    let at = c * width + column - first;
                    for j in 0..3 {
                        let tap = |i: usize| Lanes::load(&taps[((3 * i + j) * LANES + c) * LANES..]);
                        between.column::<Taps, 3, 6>(j, [tap(0), tap(1), tap(2)]);
                    }
                    for i in 0..WINDOW {
                        for (j, lanes) in between.row::<Taps, 3, 6>(i).iter().enumerate() {
                            lanes.store(&mut some[(i * WINDOW + j) * of_some + at..][..LANES]);
                        }
                    }
                }
            }
            for (some, to) in some.chunks_exact(of_some).zip(to.chunks_exact_mut(matrix)) {
                to[channel * width..(channel + channels) * width].copy_from_slice(&some[..channels * width]);
            }
        }
    }
}

impl<T: Stored> Filter<'_, T> {
    /// The taps of some channels from `channel` on, of [`LANES`] columns, which are side by side in memory.
    #[inline(always)]
    fn taps_of_columns(&self, channel: usize, channels: usize, column: usize, taps: &mut [T::Sum]) {
        for tap in 0..TAPS {
            for c in 0..channels {
                let start = ((channel + c) * TAPS + TAPS - 1 - tap) * self.inner;
                let lanes = Lanes::load(&self.weight[start + column..start + self.inner]);
                lanes.store(&mut taps[(tap * LANES + c) * LANES..][..LANES]);
            }
        }
    }

    /// The weights of [`LANES`] columns, or as many as there are, for some channels from `channel` on: `[taps,
    /// channels]` in each row.
    #[inline(always)]
    fn rows(&self, channel: usize, channels: usize, column: usize, rows: &mut [T::Sum]) {
        for (column, row) in (column..self.columns).zip(rows.chunks_exact_mut(DEPTH).take(LANES)) {
            for (tap, to) in row.chunks_exact_mut(LANES).enumerate().take(TAPS) {
                let start = (column * TAPS + tap) * self.inner + channel;
                Lanes::load(&self.weight[start..start + channels]).store(to);
            }
        }
    }
}
