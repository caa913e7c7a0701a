use super::OP;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::L2NormalizeParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn forward(gpu: &Gpu, x: &Tensor, d: usize, y: &mut Tensor, inverse: &mut Tensor) -> Result<()> {
    let kernel = kernel!(OP, x.dtype(), "l2_normalize_fwd")?;
    let rows = x.len() / d;
    let params = L2NormalizeParams {
        x: x.ptr(gpu)?,
        dy: Ptr::NULL,
        y: y.ptr_mut(gpu)?,
        inverse: inverse.ptr_mut(gpu)?,
        rows: rows as u64,
        columns: d as u64,
        block_per_row: Launch::block_per_row(d).into(),
        unused: 0,
    };
    start(gpu, &Launch::over_rows(kernel, rows, d), &params)
}

pub fn backward(gpu: &Gpu, dy: &Tensor, x: &Tensor, d: usize, inverse: &Tensor, dx: &mut Tensor) -> Result<()> {
    let kernel = kernel!(OP, x.dtype(), "l2_normalize_bwd")?;
    let rows = x.len() / d;
    let params = L2NormalizeParams {
        x: x.ptr(gpu)?,
        dy: dy.ptr(gpu)?,
        y: dx.ptr_mut(gpu)?,
        inverse: inverse.ptr(gpu)?,
        rows: rows as u64,
        columns: d as u64,
        block_per_row: Launch::block_per_row(d).into(),
        unused: 0,
    };
    start(gpu, &Launch::over_rows(kernel, rows, d), &params)
}
