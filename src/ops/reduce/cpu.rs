use num_traits::Zero;
use rayon::prelude::*;

use super::{BLOCK, Extents};
use crate::backend::cpu::{GRAIN, OnTeam, tasks_per_share, vectorized};
use crate::error::Result;
use crate::tensor::{Accumulator, Real, Tensor, real};

/// Independent partial sums of a row: what fits vector registers, and more accurate than one running sum.
const LANES: usize = 32;

pub fn sum(op: &'static str, x: &Tensor, extents: Extents, factor: f64, y: &mut Tensor) -> Result<()> {
    real!(op, x.dtype(), T => {
        let x = x.as_slice::<T>()?;
        let y = y.as_mut_slice::<T>()?;
        match extents.inner {
            1 => rows(x, extents, factor, y),
            _ => columns(x, extents, factor, y),
        }
        Ok(())
    })
}

/// One number per row of `n` consecutive elements.
fn rows<T: Real>(x: &[T], Extents { n, .. }: Extents, factor: f64, y: &mut [T]) {
    let row = |x: &[T]| -> T {
        let total: f64 = if n > 4 * GRAIN {
            let blocks = x.par_chunks(GRAIN).with_min_len(tasks_per_share(GRAIN));
            let blocks: Vec<f64> = blocks.map_on_team(block_sums);
            blocks.into_iter().sum()
        } else {
            block_sums(x)
        };
        T::narrow(T::Acc::of(total * factor))
    };
    let per_task = (GRAIN / n).max(1);
    let tasks = y.par_chunks_mut(per_task).zip(x.par_chunks(per_task * n));
    tasks.with_min_len(tasks_per_share(per_task * n)).each_on_team(|(y, x)| {
        for (y, x) in y.iter_mut().zip(x.chunks(n)) {
            *y = row(x);
        }
    });
}

/// The sum of consecutive elements, made of sums over blocks.
fn block_sums<T: Real>(x: &[T]) -> f64 {
    x.chunks(BLOCK).map(|block| vectorized(|| lane_sum(block))).sum()
}

#[inline(always)]
fn lane_sum<T: Real>(x: &[T]) -> f64 {
    let mut lanes = [T::Acc::zero(); LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane += x.acc();
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x.acc();
    }
    lanes.iter().map(|lane| lane.widen()).sum()
}

/// One number per column of a matrix `[n, inner]`, for each of `outer` matrices.
fn columns<T: Real>(x: &[T], Extents { outer, n, inner }: Extents, factor: f64, y: &mut [T]) {
    let rows_per_block = (GRAIN / inner).clamp(1, BLOCK);
    let blocks = n.div_ceil(rows_per_block);
    let mut partial = vec![T::Acc::zero(); outer * blocks * inner];
    let tasks = partial.par_chunks_mut(inner).enumerate();
    tasks.with_min_len(tasks_per_share(rows_per_block.min(n) * inner)).each_on_team(|(task, partial)| {
        let (o, block) = (task / blocks, task % blocks);
        let rows = block * rows_per_block..n.min((block + 1) * rows_per_block);
        let x = &x[(o * n + rows.start) * inner..(o * n + rows.end) * inner];
        vectorized(|| {
            for row in x.chunks_exact(inner) {
                for (sum, &x) in partial.iter_mut().zip(row) {
                    *sum += x.acc();
                }
            }
        });
    });
    for (y, partial) in y.chunks_mut(inner).zip(partial.chunks(blocks * inner)) {
        for (column, y) in y.iter_mut().enumerate() {
            let total: f64 = partial.iter().skip(column).step_by(inner).map(|sum| sum.widen()).sum();
            *y = T::narrow(T::Acc::of(total * factor));
        }
    }
}
