use super::Setting;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::SoftmaxParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn forward(gpu: &Gpu, setting: Setting, x: &Tensor, y: &mut Tensor, stats: &mut Tensor) -> Result<()> {
    let kernel = kernel!(setting.op, x.dtype(), "softmax_fwd")?;
    let params = SoftmaxParams {
        x: x.ptr(gpu)?,
        y: y.ptr_mut(gpu)?,
        stats: stats.ptr_mut(gpu)?,
        ..bytemuck::Zeroable::zeroed()
    };
    run(gpu, kernel, setting, x, params)
}

pub fn backward(gpu: &Gpu, setting: Setting, dy: &Tensor, x: &Tensor, stats: &Tensor, dx: &mut Tensor) -> Result<()> {
    let kernel = kernel!(setting.op, x.dtype(), "softmax_bwd")?;
    let params = SoftmaxParams {
        x: x.ptr(gpu)?,
        dy: dy.ptr(gpu)?,
        stats: stats.ptr(gpu)?,
        dx: dx.ptr_mut(gpu)?,
        ..bytemuck::Zeroable::zeroed()
    };
    run(gpu, kernel, setting, x, params)
}

/// Starts a kernel, given the addresses.
fn run(gpu: &Gpu, kernel: &'static str, setting: Setting, x: &Tensor, addresses: SoftmaxParams) -> Result<()> {
    let Setting { log, rows, columns, .. } = setting;
    let SoftmaxParams { x: x_at, y, dy, dx, .. } = addresses;
    let params = SoftmaxParams {
        rows: rows as u64,
        columns: columns as u64,
        log: log.into(),
        block_per_row: Launch::block_per_row(columns).into(),
        wide: (Ptr::all_wide(&[x_at, y, dy, dx]) && columns.is_multiple_of(16 / x.dtype().size())).into(),
        ..addresses
    };
    start(gpu, &Launch::over_rows(kernel, rows, columns), &params)
}
