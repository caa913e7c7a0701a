use super::{BatchStatistics, Gradients, Setting};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::BatchNormParams;
use crate::error::{Error, Result};
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

/// Rows whose sums one block makes at least, and chunks at most: what is left for the next launch to add.
const ROWS: usize = 64;
const CHUNKS: usize = 256;

pub fn statistics(gpu: &Gpu, setting: &Setting, x: &Tensor) -> Result<Tensor> {
    let partial_kernel = kernel!(setting.op, x.dtype(), "batch_norm_fwd_partial")?;
    let join_kernel = kernel!(setting.op, x.dtype(), "batch_norm_fwd_join")?;
    let base = BatchNormParams::of(setting)?;
    let mut partial = Tensor::empty([base.chunks as usize, 2, setting.channels], DType::F32, &x.device())?;
    let mut stats = Tensor::empty([4, setting.channels], DType::F32, &x.device())?;
    let params = BatchNormParams { x: x.ptr(gpu)?, partial: partial.ptr_mut(gpu)?, stats: stats.ptr_mut(gpu)?, ..base };
    start(gpu, &params.over_chunks(partial_kernel), &params)?;
    start(gpu, &Launch::over(join_kernel, setting.channels), &params)?;
    Ok(stats)
}

pub fn given(gpu: &Gpu, setting: &Setting, by: &BatchStatistics) -> Result<Tensor> {
    let kernel = kernel!(setting.op, by.mean.dtype(), "batch_norm_fwd_given")?;
    let mut stats = Tensor::empty([4, setting.channels], DType::F32, &by.mean.device())?;
    let params = BatchNormParams {
        mean: by.mean.ptr(gpu)?,
        variance: by.variance.ptr(gpu)?,
        stats: stats.ptr_mut(gpu)?,
        ..BatchNormParams::of(setting)?
    };
    start(gpu, &Launch::over(kernel, setting.channels), &params)?;
    Ok(stats)
}

pub fn apply(
    gpu: &Gpu,
    setting: &Setting,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
) -> Result<Tensor> {
    let kernel = kernel!(setting.op, x.dtype(), "batch_norm_fwd_apply")?;
    let mut y = x.empty_like()?;
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let per_thread = setting.per_vector(x.dtype(), &[x_at, y_at]);
    let params = BatchNormParams {
        x: x_at,
        y: y_at,
        gamma: gamma.ptr(gpu)?,
        beta: beta.ptr(gpu)?,
        stats: stats.ptr(gpu)?,
        affine_f32: (gamma.dtype() == DType::F32).into(),
        wide: (per_thread > 1).into(),
        ..BatchNormParams::of(setting)?
    };
    start(gpu, &Launch::over(kernel, x.len() / per_thread), &params)?;
    Ok(y)
}

#[expect(clippy::too_many_arguments, reason = "a normalisation has this many parts")]
pub fn backward(
    gpu: &Gpu,
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
    of_batch: bool,
) -> Result<Gradients> {
    let partial_kernel = kernel!(setting.op, x.dtype(), "batch_norm_bwd_partial")?;
    let join_kernel = kernel!(setting.op, x.dtype(), "batch_norm_bwd_join")?;
    let input_kernel = kernel!(setting.op, x.dtype(), "batch_norm_bwd_input")?;
    let mut gradients = Gradients { x: x.empty_like()?, gamma: gamma.empty_like()?, beta: beta.empty_like()? };
    let base = BatchNormParams::of(setting)?;
    let mut partial = Tensor::empty([base.chunks as usize, 2, setting.channels], DType::F32, &x.device())?;
    let mut means = Tensor::empty([2, setting.channels], DType::F32, &x.device())?;
    let (x_at, dy_at, dx_at) = (x.ptr(gpu)?, dy.ptr(gpu)?, gradients.x.ptr_mut(gpu)?);
    let per_thread = setting.per_vector(x.dtype(), &[x_at, dy_at, dx_at]);
    let params = BatchNormParams {
        x: x_at,
        dy: dy_at,
        y: dx_at,
        gamma: gamma.ptr(gpu)?,
        stats: stats.ptr(gpu)?,
        partial: partial.ptr_mut(gpu)?,
        mean: means.ptr_mut(gpu)?,
        dgamma: gradients.gamma.ptr_mut(gpu)?,
        dbeta: gradients.beta.ptr_mut(gpu)?,
        affine_f32: (gamma.dtype() == DType::F32).into(),
        wide: (per_thread > 1).into(),
        taken: if of_batch { 1.0 / setting.rows as f64 } else { 0.0 },
        ..base
    };
    start(gpu, &params.over_chunks(partial_kernel), &params)?;
    start(gpu, &Launch::over(join_kernel, setting.channels), &params)?;
    start(gpu, &Launch::over(input_kernel, x.len() / per_thread), &params)?;
    Ok(gradients)
}

impl Setting {
    /// Elements that a thread handles at once.
    fn per_vector(&self, dtype: DType, addresses: &[Ptr]) -> usize {
        let elements = 16 / dtype.size();
        if self.channels.is_multiple_of(elements) && Ptr::all_wide(addresses) { elements } else { 1 }
    }
}

impl BatchNormParams {
    fn of(setting: &Setting) -> Result<Self> {
        // Also what the grid of the launches over chunks allows.
        let channels = i32::try_from(setting.channels).map_err(|_| {
            Error::argument(setting.op, format!("{} channels are too many for a GPU", setting.channels))
        })?;
        let rows_per_chunk = ROWS.max(setting.rows.div_ceil(CHUNKS));
        Ok(BatchNormParams {
            rows: setting.rows as u64,
            rows_per_chunk: rows_per_chunk as u64,
            channels: channels as u32,
            chunks: setting.rows.div_ceil(rows_per_chunk) as u32,
            eps: setting.eps,
            ..bytemuck::Zeroable::zeroed()
        })
    }

    /// A block for 32 channels of a chunk.
    fn over_chunks(&self, kernel: &'static str) -> Launch {
        Launch::blocks(kernel, [self.channels.div_ceil(32), self.chunks, 1], 256)
    }
}
