use super::Windows;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::Pool2dParams;
use crate::error::{Error, Result};
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn largest(
    gpu: &Gpu,
    op: &'static str,
    windows: &Windows,
    x: &Tensor,
    y: &mut Tensor,
    taps: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!(op, x.dtype(), "pool2d_fwd_max")?;
    let (x_at, y_at, taps_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?, taps.ptr_mut(gpu)?);
    run(gpu, op, kernel, windows, [x_at, y_at, taps_at], 1.0, y)
}

pub fn mean(gpu: &Gpu, op: &'static str, windows: &Windows, x: &Tensor, y: &mut Tensor) -> Result<()> {
    let kernel = kernel!(op, x.dtype(), "pool2d_fwd_mean")?;
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    run(gpu, op, kernel, windows, [x_at, y_at, Ptr::NULL], 1.0 / windows.taps() as f64, y)
}

pub fn gather(gpu: &Gpu, op: &'static str, windows: &Windows, x: &Tensor, taps: &Tensor, y: &mut Tensor) -> Result<()> {
    let kernel = kernel!(op, x.dtype(), "pool2d_fwd_gather")?;
    let (x_at, y_at, taps_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?, taps.ptr(gpu)?);
    run(gpu, op, kernel, windows, [x_at, y_at, taps_at], 1.0, y)
}

pub fn scatter(
    gpu: &Gpu,
    op: &'static str,
    windows: &Windows,
    y: &Tensor,
    taps: Option<&Tensor>,
    factor: f64,
    x: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!(op, y.dtype(), "pool2d_bwd_scatter")?;
    let (x_at, y_at) = (x.ptr_mut(gpu)?, y.ptr(gpu)?);
    let taps_at = taps.map_or(Ok(Ptr::NULL), |taps| taps.ptr(gpu))?;
    run(gpu, op, kernel, windows, [x_at, y_at, taps_at], factor, x)
}

/// A thread for each vector of `result`.
fn run(
    gpu: &Gpu,
    op: &'static str,
    kernel: &'static str,
    windows: &Windows,
    [x, y, taps]: [Ptr; 3],
    factor: f64,
    result: &Tensor,
) -> Result<()> {
    let channels = u32::try_from(windows.channels)
        .map_err(|_| Error::argument(op, format!("{} channels are too many for a GPU", windows.channels)))?;
    let per_vector = 16 / result.dtype().size();
    let wide = windows.channels.is_multiple_of(per_vector) && Ptr::all_wide(&[x, y, taps]);
    let params = Pool2dParams {
        x,
        y,
        taps,
        images: windows.images as u64,
        height: windows.height as u32,
        width: windows.width as u32,
        out_height: windows.out_height as u32,
        out_width: windows.out_width as u32,
        channels,
        kernel: windows.kernel as u32,
        stride: windows.stride as u32,
        factor: factor as f32,
        wide: wide.into(),
        unused: 0,
    };
    start(gpu, &Launch::over(kernel, if wide { result.len() / per_vector } else { result.len() }), &params)
}
