use super::Extents;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::ReduceParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

/// Rows of the middle axis per block in the first pass. Fixed: the order of the sum must not depend on the GPU.
const ROWS_PER_BLOCK: usize = 4096;
const COLUMN_ROWS_PER_BLOCK: usize = 256;

pub fn sum(gpu: &Gpu, op: &'static str, x: &Tensor, extents: Extents, factor: f64, y: &mut Tensor) -> Result<()> {
    let per_block = if extents.inner == 1 { ROWS_PER_BLOCK } else { COLUMN_ROWS_PER_BLOCK };
    let blocks = extents.n.div_ceil(per_block);
    if blocks == 1 {
        let kernel = match extents.inner {
            1 => kernel!(op, x.dtype(), "sum_rows_fwd")?,
            _ => kernel!(op, x.dtype(), "sum_columns_fwd")?,
        };
        return pass(gpu, kernel, x, extents, per_block, factor, y);
    }
    // Two passes: sums of blocks in f32, then the sum of those.
    let partial_kernel = match extents.inner {
        1 => kernel!(op, x.dtype(), "sum_rows_fwd_partial")?,
        _ => kernel!(op, x.dtype(), "sum_columns_fwd_partial")?,
    };
    let final_kernel = match extents.inner {
        1 => kernel!(op, x.dtype(), "sum_rows_fwd_final")?,
        _ => kernel!(op, x.dtype(), "sum_columns_fwd_final")?,
    };
    let mut partial = Tensor::empty([extents.outer, blocks, extents.inner], DType::F32, &x.device())?;
    pass(gpu, partial_kernel, x, extents, per_block, 1.0, &mut partial)?;
    pass(gpu, final_kernel, &partial, Extents { n: blocks, ..extents }, blocks, factor, y)
}

/// Sums blocks of `rows` rows of the middle axis; `y` is `[outer, ceil(n / rows), inner]`.
fn pass(
    gpu: &Gpu,
    kernel: &'static str,
    x: &Tensor,
    Extents { outer, n, inner }: Extents,
    rows: usize,
    factor: f64,
    y: &mut Tensor,
) -> Result<()> {
    const THREADS: u32 = 256;
    let blocks = n.div_ceil(rows) * outer;
    let (at, vector) = (x.ptr(gpu)?, 16 / x.dtype().size());
    // Who adds what depends on the shapes, and how it is loaded on the address, so that the bits do not.
    let (tasks, wide) = if inner == 1 {
        (blocks, n.is_multiple_of(vector) && rows.is_multiple_of(vector))
    } else {
        let wide = inner.is_multiple_of(vector);
        (blocks * inner.div_ceil(if wide { 8 * vector } else { 32 }), wide)
    };
    let params = ReduceParams {
        x: at,
        y: y.ptr_mut(gpu)?,
        outer: outer as u64,
        n: n as u64,
        inner: inner as u64,
        rows: rows as u64,
        factor: factor as f32,
        wide: match (wide, Ptr::all_wide(&[at])) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        },
    };
    start(gpu, &Launch::blocks(kernel, [tasks.min(1 << 20) as u32, 1, 1], THREADS), &params)
}
