use super::Setting;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::kernel;
use crate::params;
use crate::tensor::Tensor;

params! {
    struct SoftmaxParams {
        x: Ptr,
        y: Ptr,
        stats: Ptr,
        dy: Ptr,
        dx: Ptr,
        rows: u64,
        columns: u64,
        log: u32,
        block_per_row: u32,
    }
}

pub fn forward(gpu: &Gpu, setting: Setting, x: &Tensor, y: &mut Tensor, stats: &mut Tensor) -> Result<()> {
    let params = SoftmaxParams { x: x.ptr()?, y: y.ptr_mut()?, stats: stats.ptr_mut()?, ..SoftmaxParams::of(setting) };
    gpu.launch(
        &Launch::over_rows(kernel!(setting.op, x.dtype(), "softmax_fwd")?, setting.rows, setting.columns),
        &params,
    )
}

pub fn backward(gpu: &Gpu, setting: Setting, dy: &Tensor, x: &Tensor, stats: &Tensor, dx: &mut Tensor) -> Result<()> {
    let params = SoftmaxParams {
        x: x.ptr()?,
        dy: dy.ptr()?,
        stats: stats.ptr()?,
        dx: dx.ptr_mut()?,
        ..SoftmaxParams::of(setting)
    };
    gpu.launch(
        &Launch::over_rows(kernel!(setting.op, x.dtype(), "softmax_bwd")?, setting.rows, setting.columns),
        &params,
    )
}

impl SoftmaxParams {
    fn of(Setting { log, rows, columns, .. }: Setting) -> Self {
        SoftmaxParams {
            x: Ptr::NULL,
            y: Ptr::NULL,
            stats: Ptr::NULL,
            dy: Ptr::NULL,
            dx: Ptr::NULL,
            rows: rows as u64,
            columns: columns as u64,
            log: log.into(),
            block_per_row: Launch::block_per_row(columns).into(),
        }
    }
}
