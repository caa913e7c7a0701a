use super::OP;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::EmbeddingParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

/// `table` is what is gathered from in the forward pass, and the gradient in the backward pass.
fn params(
    gpu: &Gpu,
    table: Ptr,
    index: &Tensor,
    y: Ptr,
    [rows, width]: [usize; 2],
    size: usize,
) -> Result<EmbeddingParams> {
    Ok(EmbeddingParams {
        table,
        index: index.ptr(gpu)?,
        y,
        n: index.len() as u64,
        rows: rows as u64,
        width: width as u64,
        wide: ((width * size).is_multiple_of(16) && Ptr::all_wide(&[table, y])).into(),
    })
}

pub fn forward(gpu: &Gpu, table: &Tensor, index: &Tensor, dims: [usize; 2], y: &mut Tensor) -> Result<()> {
    let size = table.dtype().size();
    let params = params(gpu, table.ptr(gpu)?, index, y.ptr_mut(gpu)?, dims, size)?;
    let items = if params.wide == 1 { y.len() / (16 / size) } else { y.len() };
    start(gpu, &Launch::over(kernel!(OP, table.dtype(), "embedding_fwd")?, items), &params)
}

pub fn backward(gpu: &Gpu, dy: &Tensor, index: &Tensor, dims: [usize; 2], gradient: &mut Tensor) -> Result<()> {
    const THREADS: usize = 128;
    let size = dy.dtype().size();
    let dy_at = if dy.is_empty() { Ptr::NULL } else { dy.ptr(gpu)? };
    let params = params(gpu, gradient.ptr_mut(gpu)?, index, dy_at, dims, size)?;
    let columns = if params.wide == 1 { dims[1] / (16 / size) } else { dims[1] };
    let tasks = dims[0] * columns.div_ceil(THREADS);
    let grid = [tasks.min(1 << 20) as u32, 1, 1];
    start(gpu, &Launch::blocks(kernel!(OP, dy.dtype(), "embedding_bwd")?, grid, THREADS as u32), &params)
}

pub fn one_hot(gpu: &Gpu, op: &'static str, index: &Tensor, k: usize, y: &mut Tensor) -> Result<()> {
    let params = params(gpu, Ptr::NULL, index, y.ptr_mut(gpu)?, [k, k], y.dtype().size())?;
    start(gpu, &Launch::over(kernel!(op, y.dtype(), "one_hot_fwd")?, y.len()), &params)
}
