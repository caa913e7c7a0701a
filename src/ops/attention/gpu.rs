use super::{OP, Setting};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::AttentionParams;
use crate::error::{Error, Result};
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

/// Queries or keys of a block, as in the kernels.
const TILE: usize = 64;

/// What a block of a kernel has.
#[derive(Debug, Clone, Copy)]
struct Block {
    threads: u32,
    shared: usize,
}

impl Block {
    /// Two pieces of operands and the scores, in fp32.
    const FMA: Block = Block { threads: 256, shared: 3 * TILE * (TILE + 4) * 4 };

    /// On tensor cores: so many rows of `width` channels in bf16.
    const fn tensor(rows: usize, width: usize) -> Block {
        Block { threads: 128, shared: rows * width * 2 }
    }

    /// Queries, and a tile each of keys and values.
    fn forward(dtype: DType, width: usize) -> Block {
        match dtype {
            DType::BF16 => Block::tensor(3 * TILE, width),
            _ => Block::FMA,
        }
    }

    /// Queries and gradients, and a tile each of keys and values: of half the size where there is no room.
    fn queries(dtype: DType, width: usize) -> Block {
        match (dtype, width) {
            (DType::BF16, 64 | 128) => Block::tensor(4 * TILE, width),
            (DType::BF16, _) => Block::tensor(3 * TILE, width),
            _ => Block::FMA,
        }
    }

    /// Keys and values, and a tile each of queries and gradients: of half the size where registers are scarce, and with
    /// twice as many threads where those would not hold the sums.
    fn keys(dtype: DType, width: usize) -> Block {
        match (dtype, width) {
            (DType::BF16, 64) => Block::tensor(4 * TILE, width),
            (DType::BF16, 128) => Block::tensor(3 * TILE, width),
            (DType::BF16, _) => Block { threads: 256, ..Block::tensor(3 * TILE, width) },
            _ => Block::FMA,
        }
    }
}

/// The largest head_dim of the kernel that a head goes to.
fn width(head_dim: usize) -> usize {
    match head_dim {
        ..=64 => 64,
        65..=128 => 128,
        _ => 256,
    }
}

pub fn forward(gpu: &Gpu, setting: Setting, inputs: [&Tensor; 3], y: &mut Tensor, lse: &mut Tensor) -> Result<()> {
    let dtype = y.dtype();
    let width = width(setting.head_dim());
    let kernel = match width {
        64 => kernel!(OP, dtype, "attention_fwd_d64")?,
        128 => kernel!(OP, dtype, "attention_fwd_d128")?,
        _ => kernel!(OP, dtype, "attention_fwd_d256")?,
    };
    let addresses = AttentionParams { y: y.ptr_mut(gpu)?, lse: lse.ptr_mut(gpu)?, ..bytemuck::Zeroable::zeroed() };
    let params = params(gpu, setting, inputs, dtype, addresses)?;
    start(gpu, &launch(setting, kernel, Block::forward(dtype, width))?, &params)
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
    let width = width(setting.head_dim());
    let (queries, keys) = match width {
        64 => (kernel!(OP, dtype, "attention_bwd_queries_d64")?, kernel!(OP, dtype, "attention_bwd_keys_d64")?),
        128 => (kernel!(OP, dtype, "attention_bwd_queries_d128")?, kernel!(OP, dtype, "attention_bwd_keys_d128")?),
        _ => (kernel!(OP, dtype, "attention_bwd_queries_d256")?, kernel!(OP, dtype, "attention_bwd_keys_d256")?),
    };
    let mut delta = lse.empty_like()?;
    let addresses = AttentionParams {
        y: y.ptr(gpu)?,
        lse: lse.ptr(gpu)?,
        dy: dy.ptr(gpu)?,
        delta: delta.ptr_mut(gpu)?,
        dq: dq.ptr_mut(gpu)?,
        dk: dk.ptr_mut(gpu)?,
        dv: dv.ptr_mut(gpu)?,
        ..bytemuck::Zeroable::zeroed()
    };
    let params = params(gpu, setting, inputs, dtype, addresses)?;
    start(gpu, &launch(setting, queries, Block::queries(dtype, width))?, &params)?;
    start(gpu, &launch(setting, keys, Block::keys(dtype, width))?, &params)
}

/// The parameters, given the addresses of all but the inputs.
fn params(
    gpu: &Gpu,
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
    let (q, k, v) = (q.ptr(gpu)?, k.ptr(gpu)?, v.ptr(gpu)?);
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

fn launch(setting: Setting, kernel: &'static str, block: Block) -> Result<Launch> {
    let blocks = setting.images * setting.heads * setting.tokens.div_ceil(TILE);
    let blocks = i32::try_from(blocks)
        .map_err(|_| Error::argument(OP, format!("{blocks} tiles in one batch are too many for a GPU")))?;
    Ok(Launch::blocks(kernel, [blocks as u32, 1, 1], block.threads).shared(block.shared))
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::backend::shared_memory::MOST;

    #[test]
    fn every_block_fits_every_gpu() {
        for head_dim in [1, 64, 65, 128, 129, 256] {
            let width = width(head_dim);
            assert!(head_dim <= width);
            for dtype in [DType::F32, DType::BF16] {
                for block in [Block::forward(dtype, width), Block::queries(dtype, width), Block::keys(dtype, width)] {
                    // Static arrays take less than 1 KiB, to which the dynamic part is aligned.
                    assert!(block.shared + 1024 <= MOST, "{head_dim} {dtype}: {block:?}");
                }
            }
        }
    }
}
