use super::{Axis, OP, Walk};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::{PermuteParams, PermuteTileParams};
use crate::error::Result;
use crate::ops::{copy_kernel, start};
use crate::tensor::Tensor;

/// Below this many entries along either axis of a transposition its tiles would be mostly empty.
const LEAST_TILE: usize = 16;

pub fn permute(gpu: &Gpu, x: &Tensor, walk: &Walk, y: &mut Tensor) -> Result<()> {
    let last = walk.axes.len() - 1;
    let contiguous = walk.axes.iter().position(|axis| axis.from == 1);
    match contiguous {
        Some(at) if at < last && walk.axes[at].extent.min(walk.axes[last].extent) >= LEAST_TILE => {
            transpose(gpu, x, walk, at, y)
        }
        _ => gather(gpu, x, walk, y),
    }
}

/// Element by element, or 16 bytes at a time where the innermost axis stays.
fn gather(gpu: &Gpu, x: &Tensor, walk: &Walk, y: &mut Tensor) -> Result<()> {
    let kernel = copy_kernel!(OP, x.dtype(), "permute_fwd")?;
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let mut axes = walk.axes.clone();
    let per_vector = 16 / x.dtype().size();
    let mut wide = false;
    if let Some((inner, outer)) = axes.split_last_mut() {
        wide = inner.from == 1
            && inner.extent.is_multiple_of(per_vector)
            && outer.iter().all(|axis| axis.from.is_multiple_of(per_vector))
            && Ptr::all_wide(&[x_at, y_at]);
        if wide {
            *inner = Axis { extent: inner.extent / per_vector, from: per_vector, to: per_vector };
        }
    }
    let items: usize = axes.iter().map(|axis| axis.extent).product();
    let params = PermuteParams {
        x: x_at,
        y: y_at,
        n: items as u64,
        extents: pad(&axes, 1, |axis| axis.extent),
        strides: pad(&axes, 0, |axis| axis.from),
        wide: wide.into(),
    };
    start(gpu, &Launch::over(kernel, items), &params)
}

/// Tile by tile through shared memory: `at` is the axis along which x is contiguous, the last one that of y.
fn transpose(gpu: &Gpu, x: &Tensor, walk: &Walk, at: usize, y: &mut Tensor) -> Result<()> {
    const TILE: usize = 32;
    let kernel = copy_kernel!(OP, x.dtype(), "permute_fwd_tile")?;
    let mut batch = walk.axes.clone();
    let (last, row) = (batch.remove(walk.axes.len() - 1), batch.remove(at));
    let images: usize = batch.iter().map(|axis| axis.extent).product();
    let tiles = images * row.extent.div_ceil(TILE) * last.extent.div_ceil(TILE);
    let params = PermuteTileParams {
        x: x.ptr(gpu)?,
        y: y.ptr_mut(gpu)?,
        rows: row.extent as u64,
        columns: last.extent as u64,
        x_pitch: last.from as u64,
        y_pitch: row.to as u64,
        batch: pad(&batch, 1, |axis| axis.extent),
        x_strides: pad(&batch, 0, |axis| axis.from),
        y_strides: pad(&batch, 0, |axis| axis.to),
    };
    start(gpu, &Launch::blocks(kernel, [tiles.min(1 << 20) as u32, 1, 1], 256), &params)
}

/// A property of each axis, right-aligned.
fn pad<const N: usize>(axes: &[Axis], fill: u64, value: impl Fn(&Axis) -> usize) -> [u64; N] {
    let mut out = [fill; N];
    for (to, axis) in out.iter_mut().rev().zip(axes.iter().rev()) {
        *to = value(axis) as u64;
    }
    out
}
