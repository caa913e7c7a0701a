use super::{OP, Setting};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::{Error, Result};
use crate::ops::kernel;
use crate::params;
use crate::tensor::{DType, Tensor};

params! {
    struct AttentionParams {
        q: Ptr,
        k: Ptr,
        v: Ptr,
        y: Ptr,
        lse: Ptr,
        dy: Ptr,
        delta: Ptr,
        dq: Ptr,
        dk: Ptr,
        dv: Ptr,
        tokens: u64,
        channels: u32,
        heads: u32,
        head_dim: u32,
        causal: u32,
        wide: u32,
        scale: f32,
    }
}

/// Queries or keys of a block, as in the kernel.
const TILE: usize = 64;

pub fn forward(gpu: &Gpu, setting: Setting, inputs: [&Tensor; 3], y: &mut Tensor, lse: &mut Tensor) -> Result<()> {
    let dtype = y.dtype();
    let kernel = match setting.head_dim() {
        ..=64 => kernel!(OP, dtype, "attention_fwd_d64")?,
        65..=128 => kernel!(OP, dtype, "attention_fwd_d128")?,
        _ => kernel!(OP, dtype, "attention_fwd_d256")?,
    };
    let addresses = AttentionParams { y: y.ptr_mut()?, lse: lse.ptr_mut()?, ..bytemuck::Zeroable::zeroed() };
    let params = params(setting, inputs, dtype, addresses)?;
    gpu.launch(&launch(setting, kernel)?, &params)
}

pub fn backward(
    gpu: &Gpu,
    setting: Setting,
    dy: &Tensor,
    inputs: [&Tensor; 3],
    y: &Tensor,
    lse: &Tensor,
    [dq, dk, dv]: &mut [Tensor; 3],
) -> Result<()> {
    let dtype = y.dtype();
    let (queries, keys) = match setting.head_dim() {
        ..=64 => (kernel!(OP, dtype, "attention_bwd_queries_d64")?, kernel!(OP, dtype, "attention_bwd_keys_d64")?),
        65..=128 => (kernel!(OP, dtype, "attention_bwd_queries_d128")?, kernel!(OP, dtype, "attention_bwd_keys_d128")?),
        _ => (kernel!(OP, dtype, "attention_bwd_queries_d256")?, kernel!(OP, dtype, "attention_bwd_keys_d256")?),
    };
    let mut delta = lse.empty_like()?;
    let addresses = AttentionParams {
        y: y.ptr()?,
        lse: lse.ptr()?,
        dy: dy.ptr()?,
        delta: delta.ptr_mut()?,
        dq: dq.ptr_mut()?,
        dk: dk.ptr_mut()?,
        dv: dv.ptr_mut()?,
        ..bytemuck::Zeroable::zeroed()
    };
    let params = params(setting, inputs, dtype, addresses)?;
    gpu.launch(&launch(setting, queries)?, &params)?;
    gpu.launch(&launch(setting, keys)?, &params)
}

/// The parameters, given the addresses of all but the inputs.
fn params(
    setting: Setting,
    [q, k, v]: [&Tensor; 3],
    dtype: DType,
    addresses: AttentionParams,
) -> Result<AttentionParams> {
    let Setting { tokens, channels, heads, causal, .. } = setting;
    let head_dim = setting.head_dim();
    if head_dim > 256 {
        let what = format!("{head_dim} channels per head; on a GPU at most 256 are possible: use more heads");
        return Err(Error::argument(OP, what));
    }
    let (q, k, v) = (q.ptr()?, k.ptr()?, v.ptr()?);
    let narrow = |count: usize| {
        u32::try_from(count).map_err(|_| Error::argument(OP, format!("{count} channels are too many for a GPU")))
    };
    let AttentionParams { y, dy, dq, dk, dv, .. } = addresses;
    Ok(AttentionParams {
        q,
        k,
        v,
        tokens: tokens as u64,
        channels: narrow(channels)?,
        heads: narrow(heads)?,
        head_dim: narrow(head_dim)?,
        causal: causal.into(),
        wide: (Ptr::all_wide(&[q, k, v, y, dy, dq, dk, dv]) && head_dim.is_multiple_of(16 / dtype.size())).into(),
        scale: setting.scale() as f32,
        ..addresses
    })
}

fn launch(setting: Setting, kernel: &'static str) -> Result<Launch> {
    let blocks = setting.images * setting.heads * setting.tokens.div_ceil(TILE);
    let blocks = i32::try_from(blocks)
        .map_err(|_| Error::argument(OP, format!("{blocks} tiles in one batch are too many for a GPU")))?;
    // Two pieces of operands and the scores, as in the kernel.
    let shared = 3 * TILE * (TILE + 4) * 4;
    Ok(Launch::blocks(kernel, [blocks as u32, 1, 1], 256).shared(shared))
}
