use super::{Gradients, OP, Setting};
use crate::backend::gpu::{Gpu, Launch};
use crate::backend::params::{LayerNormAffineParams, LayerNormParams};
use crate::error::{Error, Result};
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

/// Rows whose sums one block makes at least, and chunks at most: what is left for the last launch to add.
const ROWS: usize = 64;
const CHUNKS: usize = 256;

pub fn forward(gpu: &Gpu, setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<(Tensor, Tensor)> {
    let kernel = kernel!(OP, x.dtype(), "layer_norm_fwd")?;
    let mut y = x.empty_like()?;
    let mut stats = Tensor::empty([setting.rows, 2], DType::F32, &x.device())?;
    let params = LayerNormParams {
        y: y.ptr_mut(gpu)?,
        stats: stats.ptr_mut(gpu)?,
        beta: beta.ptr(gpu)?,
        ..LayerNormParams::of(gpu, setting, x, gamma)?
    };
    start(gpu, &Launch::over_rows(kernel, setting.rows, setting.channels), &params)?;
    Ok((y, stats))
}

pub fn backward(
    gpu: &Gpu,
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
) -> Result<Gradients> {
    let kernel = kernel!(OP, x.dtype(), "layer_norm_bwd")?;
    let partial_kernel = kernel!(OP, x.dtype(), "layer_norm_bwd_partial")?;
    let join_kernel = kernel!(OP, x.dtype(), "layer_norm_bwd_join")?;
    let mut gradients = Gradients { x: x.empty_like()?, gamma: gamma.empty_like()?, beta: beta.empty_like()? };
    let params = LayerNormParams {
        dy: dy.ptr(gpu)?,
        dx: gradients.x.ptr_mut(gpu)?,
        stats: stats.ptr(gpu)?,
        ..LayerNormParams::of(gpu, setting, x, gamma)?
    };
    start(gpu, &Launch::over_rows(kernel, setting.rows, setting.channels), &params)?;

    let rows_per_chunk = ROWS.max(setting.rows.div_ceil(CHUNKS));
    let chunks = setting.rows.div_ceil(rows_per_chunk);
    let mut partial = Tensor::empty([chunks, 2, setting.channels], DType::F32, &x.device())?;
    let params = LayerNormAffineParams {
        x: x.ptr(gpu)?,
        dy: dy.ptr(gpu)?,
        stats: stats.ptr(gpu)?,
        partial: partial.ptr_mut(gpu)?,
        dgamma: gradients.gamma.ptr_mut(gpu)?,
        dbeta: gradients.beta.ptr_mut(gpu)?,
        rows: setting.rows as u64,
        rows_per_chunk: rows_per_chunk as u64,
        channels: params.channels,
        chunks: chunks as u32,
        affine_f32: params.affine_f32,
        unused: 0,
    };
    let grid = [setting.channels.div_ceil(32) as u32, chunks as u32, 1];
    start(gpu, &Launch::blocks(partial_kernel, grid, 256), &params)?;
    start(gpu, &Launch::over(join_kernel, 2 * setting.channels), &params)?;
    Ok(gradients)
}

impl LayerNormParams {
    fn of(gpu: &Gpu, setting: &Setting, x: &Tensor, gamma: &Tensor) -> Result<Self> {
        // Also what the grid of the second launch allows.
        let channels = i32::try_from(setting.channels)
            .map_err(|_| Error::argument(OP, format!("{} channels are too many for a GPU", setting.channels)))?;
        Ok(LayerNormParams {
            x: x.ptr(gpu)?,
            gamma: gamma.ptr(gpu)?,
            rows: setting.rows as u64,
            channels: channels as u32,
            block_per_row: Launch::block_per_row(setting.channels).into(),
            affine_f32: (gamma.dtype() == DType::F32).into(),
            eps: setting.eps as f32,
            ..bytemuck::Zeroable::zeroed()
        })
    }
}
