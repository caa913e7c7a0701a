//! The transform of weights, packed for the products.

use std::ops::Range;

use rayon::prelude::*;

use super::FREQUENCIES;
use super::lanes::{self, Between, Matrices, Taps};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::OnTeam;
use crate::backend::cpu::gemm::kernel::{DEPTH, Kernel};
use crate::backend::cpu::gemm::pack::by;
use crate::backend::cpu::gemm::rows::{Stored, Sum};
use crate::backend::cpu::gemm::scratch::Scratch;
use crate::backend::cpu::vector::{InVectors, LANES, Vector, VectorKernel};
use crate::error::Result;

/// Weights of a pair of channels.
const TAPS: usize = 9;

/// Channels that are summed in one go. Of all that is rounded, these sums weigh most: in goes of 256 channels results
/// would be a third further off.
pub const SUMMED: usize = 128;

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

    /// Channels that are summed in one go: their block, and which of it.
    pub fn parts(self) -> impl Iterator<Item = (usize, Range<usize>)> {
        (0..self.blocks()).flat_map(move |block| by(SUMMED, 0..self.of_block(block)).map(move |steps| (block, steps)))
    }

    /// Such a part, counted from the first channel of all.
    pub fn channels(&self, block: usize, steps: &Range<usize>) -> Range<usize> {
        block * self.block + steps.start..block * self.block + steps.end
    }

    /// Channels of this block.
    fn of_block(&self, block: usize) -> usize {
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
    summed: usize,
    /// Channels of the result.
    pub columns: usize,
    /// Whether the channels of the result are `in`, and the taps in reverse.
    backward: bool,
}

impl<'a, T: Stored> Filter<'a, T> {
    pub fn forward(shape: &Convolution, weight: &'a [T]) -> Self {
        let (inner, columns) = (shape.inputs, shape.outputs);
        assert!(weight.len() >= TAPS * inner * columns, "{shape:?} of {} weights", weight.len());
        Filter { weight, inner, summed: inner, columns, backward: false }
    }

    pub fn backward(shape: &Convolution, weight: &'a [T]) -> Self {
        let (inner, summed) = (shape.inputs, shape.outputs);
        assert!(weight.len() >= TAPS * inner * summed, "{shape:?} of {} weights", weight.len());
        Filter { weight, inner, summed, columns: inner, backward: true }
    }

    /// How the channels that are summed over are cut.
    pub fn depth(&self) -> Depth {
        Depth::of(self.summed)
    }

    /// Transforms and packs the weights in panels of the kernel's columns. Errors if there is no memory for them.
    pub fn pack(&self, kernel: &Kernel<T::Sum>) -> Result<Packed> {
        let (depth, width) = (self.depth(), kernel.columns);
        let packed = Packed { memory: None, depth, width };
        let panels = self.columns.div_ceil(width);
        let mut memory = Scratch::of::<T::Sum>(panels * packed.panel())?;
        memory.as_mut::<T::Sum>()[..panels * packed.panel()]
            .par_chunks_exact_mut(packed.panel())
            .enumerate()
            .try_each_on_team(|(panel, to)| self.pack_channels(kernel, panel, 0..depth.channels, Far(true), to))?;
        Ok(Packed { memory: Some(memory), ..packed })
    }

    /// Transforms and packs some channels of a panel into `to`, which has room for [`SUMMED`]: 36 matrices of the same
    /// size. Errors if there is no memory for what is between.
    pub fn pack_part<'b>(
        &self,
        kernel: &Kernel<T::Sum>,
        panel: usize,
        channels: Range<usize>,
        to: &'b mut Scratch,
    ) -> Result<&'b [T::Sum]> {
        let to = &mut to.as_mut::<T::Sum>()[..FREQUENCIES * (channels.len() * kernel.columns + LANES)];
        self.pack_channels(kernel, panel, channels, Far(false), to)?;
        Ok(to)
    }

    fn pack_channels(
        &self,
        kernel: &Kernel<T::Sum>,
        panel: usize,
        channels: Range<usize>,
        far: Far,
        to: &mut [T::Sum],
    ) -> Result<()> {
        let width = kernel.columns;
        let mut room = Scratch::of::<T::Sum>(FREQUENCIES * LANES * width + LANES * DEPTH + TAPS * LANES * LANES)?;
        let (rows, room) = room.as_mut().split_at_mut(LANES * DEPTH);
        let (taps, some) = room.split_at_mut(TAPS * LANES * LANES);
        let some = far.0.then_some(&mut some[..FREQUENCIES * LANES * width]);
        T::Sum::run(kernel.isa, PackPanel { of: self, first: panel * width, channels, kernel, rows, taps, some, to });
        Ok(())
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

    /// A panel's matrix, from a channel of a block of the depth on.
    pub fn of<S: Sum>(&self, panel: usize, frequency: usize, block: usize, channel: usize) -> &[S] {
        let start = panel * self.panel() + frequency * self.matrix();
        let memory = self.memory.as_ref().map_or(&[][..], Scratch::as_ref);
        &memory[start + (block * self.depth.block + channel) * self.width..start + self.matrix()]
    }
}

/// Whether what is packed goes to memory that no cache holds.
struct Far(bool);

/// Packs a panel.
struct PackPanel<'a, T: Stored> {
    of: &'a Filter<'a, T>,
    /// The first column.
    first: usize,
    channels: Range<usize>,
    kernel: &'a Kernel<T::Sum>,
    /// Room for the weights of [`LANES`] columns, [`DEPTH`] apart.
    rows: &'a mut [T::Sum],
    /// Room for the taps of [`LANES`] channels, in each [`LANES`] columns side by side: `[taps, channels, columns]`.
    taps: &'a mut [T::Sum],
    /// Room for [`LANES`] channels of the panel, if its memory is far: 36 streams to it at once would keep waiting.
    some: Option<&'a mut [T::Sum]>,
    to: &'a mut [T::Sum],
}

impl<T: Stored> VectorKernel<T::Sum> for PackPanel<'_, T> {
    #[inline(always)]
    fn run<V: Vector<Number = T::Sum>>(self) {
        let PackPanel { of, first, channels: all, kernel, rows, taps, mut some, to } = self;
        let (width, end) = (kernel.columns, of.columns.min(first + kernel.columns));
        let [of_all, of_some] = [to.len() / FREQUENCIES, LANES * width].map(|size| Matrices { size });
        let mut between = Between::<V>::new();
        for channel in all.clone().step_by(LANES) {
            let channels = LANES.min(all.end - channel);
            for column in (first..end).step_by(LANES) {
                match of.backward {
                    true => of.taps_of_columns::<V>(channel, channels, column, taps),
                    false => {
                        of.rows::<V>(channel, channels, column, rows);
                        (kernel.transpose)(rows, TAPS * LANES, taps, LANES);
                    }
                }
                for c in 0..channels {
                    let at = c * width + column - first;
                    for j in 0..3 {
                        let tap = |i: usize| lanes::load(&taps[((3 * i + j) * LANES + c) * LANES..]);
                        between.column::<Taps, 3, 6>(j, [tap(0), tap(1), tap(2)]);
                    }
                    match &mut some {
                        Some(some) => of_some.rows::<Taps, V, 3>(&between, some, at),
                        None => of_all.rows::<Taps, V, 3>(&between, to, (channel - all.start) * width + at),
                    }
                }
            }
            if let Some(some) = &some {
                for (some, to) in some.chunks_exact(of_some.size).zip(to.chunks_exact_mut(of_all.size)) {
                    let at = (channel - all.start) * width;
                    to[at..at + channels * width].copy_from_slice(&some[..channels * width]);
                }
            }
        }
    }
}

impl<T: Stored> Filter<'_, T> {
    /// The taps of some channels from `channel` on, of [`LANES`] columns, which are side by side in memory.
    #[inline(always)]
    fn taps_of_columns<V>(&self, channel: usize, channels: usize, column: usize, taps: &mut [T::Sum])
    where
        V: Vector<Number = T::Sum>,
    {
        for tap in 0..TAPS {
            for c in 0..channels {
                let start = ((channel + c) * TAPS + TAPS - 1 - tap) * self.inner;
                let weights: V = lanes::load(&self.weight[start + column..start + self.inner]);
                lanes::store(weights, &mut taps[(tap * LANES + c) * LANES..][..LANES]);
            }
        }
    }

    /// The weights of [`LANES`] columns, or as many as there are, for some channels from `channel` on: `[taps,
    /// channels]` in each row.
    #[inline(always)]
    fn rows<V>(&self, channel: usize, channels: usize, column: usize, rows: &mut [T::Sum])
    where
        V: Vector<Number = T::Sum>,
    {
        for (column, row) in (column..self.columns).zip(rows.chunks_exact_mut(DEPTH).take(LANES)) {
            for (tap, to) in row.chunks_exact_mut(LANES).enumerate().take(TAPS) {
                let start = (column * TAPS + tap) * self.inner + channel;
                lanes::store(lanes::load::<T, V>(&self.weight[start..start + channels]), to);
            }
        }
    }
}
