use super::Frequencies;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::FrequencyEmbeddingParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

fn params(
    gpu: &Gpu,
    x: &Tensor,
    half: usize,
    frequencies: &Frequencies,
    y: Ptr,
    dx: Ptr,
) -> Result<FrequencyEmbeddingParams> {
    let (freqs, rate) = match frequencies {
        Frequencies::Geometric { rate } => (Ptr::NULL, *rate),
        Frequencies::Given(list) => (list.ptr(gpu)?, 0.0),
    };
    Ok(FrequencyEmbeddingParams { x: x.ptr(gpu)?, freqs, y, dx, n: x.len() as u64, half: half as u64, rate })
}

pub fn forward(
    gpu: &Gpu,
    op: &'static str,
    x: &Tensor,
    half: usize,
    frequencies: &Frequencies,
    y: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!(op, x.dtype(), "frequency_embedding_fwd")?;
    let params = params(gpu, x, half, frequencies, y.ptr_mut(gpu)?, Ptr::NULL)?;
    start(gpu, &Launch::over(kernel, x.len() * half), &params)
}

pub fn backward(
    gpu: &Gpu,
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    half: usize,
    frequencies: &Frequencies,
    dx: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!(op, x.dtype(), "frequency_embedding_bwd")?;
    let params = params(gpu, x, half, frequencies, dy.ptr(gpu)?, dx.ptr_mut(gpu)?)?;
    start(gpu, &Launch::blocks(kernel, [x.len().min(1 << 20) as u32, 1, 1], 128), &params)
}
