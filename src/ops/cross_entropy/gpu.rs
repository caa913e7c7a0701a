use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::{CrossEntropyMeanParams, CrossEntropyParams};
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

pub fn forward(
    gpu: &Gpu,
    op: &'static str,
    x: &Tensor,
    labels: &Tensor,
    stats: &mut Tensor,
    loss: &mut Tensor,
) -> Result<()> {
    let (rows, columns) = (x.shape()[0], x.shape()[1]);
    let mut losses = Tensor::empty([rows], DType::F32, &x.device())?;
    let params = CrossEntropyParams {
        losses: losses.ptr_mut(gpu)?,
        stats: stats.ptr_mut(gpu)?,
        ..CrossEntropyParams::of(gpu, x, labels, Ptr::NULL)?
    };
    start(gpu, &Launch::over_rows(kernel!(op, x.dtype(), "cross_entropy_fwd")?, rows, columns), &params)?;
    let params = CrossEntropyMeanParams { losses: losses.ptr(gpu)?, loss: loss.ptr_mut(gpu)?, rows: rows as u64 };
    start(gpu, &Launch::blocks("cross_entropy_fwd_mean_f32", [1, 1, 1], 256), &params)
}

pub fn backward(
    gpu: &Gpu,
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    labels: &Tensor,
    stats: &Tensor,
    dx: &mut Tensor,
) -> Result<()> {
    let (rows, columns) = (x.shape()[0], x.shape()[1]);
    let params = CrossEntropyParams {
        stats: stats.ptr(gpu)?,
        dloss: dy.ptr(gpu)?,
        ..CrossEntropyParams::of(gpu, x, labels, dx.ptr_mut(gpu)?)?
    };
    start(gpu, &Launch::over_rows(kernel!(op, x.dtype(), "cross_entropy_bwd")?, rows, columns), &params)
}

impl CrossEntropyParams {
    /// What both directions share.
    fn of(gpu: &Gpu, x: &Tensor, labels: &Tensor, dx: Ptr) -> Result<Self> {
        let (rows, columns) = (x.shape()[0], x.shape()[1]);
        let x_at = x.ptr(gpu)?;
        Ok(CrossEntropyParams {
            x: x_at,
            labels: labels.ptr(gpu)?,
            losses: Ptr::NULL,
            stats: Ptr::NULL,
            dloss: Ptr::NULL,
            dx,
            rows: rows as u64,
            columns: columns as u64,
            block_per_row: Launch::block_per_row(columns).into(),
            wide: (Ptr::all_wide(&[x_at, dx]) && columns.is_multiple_of(16 / x.dtype().size())).into(),
        })
    }
}
