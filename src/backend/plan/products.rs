//! The kernels that multiply: tiles of matrices, convolutions, attention and the contrastive losses.

use super::loops;
use super::work::{Unit, Work};
use crate::backend::gpu::{Launch, Ptr};
use crate::backend::params::{
    AttentionParams, ContrastiveKeysParams, ContrastiveParams, Conv2dHopperParams, Conv2dParams,
    Conv2dWeightHopperParams, MatmulFewParams, MatmulHopperParams, MatmulParams,
};

/// Multiply-adds of an instruction of a warp: `mma` of 16x8x16, or one for each lane.
const MMA: f64 = 2048.0;
const FMA: f64 = 32.0;
/// Depth that a kernel in bf16 takes at a time.
const STEP: u32 = 32;
/// Queries or keys of a tile of attention.
const ATTENTION_TILE: u64 = 64;

fn half(launch: &Launch) -> bool {
    launch.kernel.ends_with("_bf16")
}

/// Bytes of an element.
fn size(launch: &Launch) -> f64 {
    if half(launch) { 2.0 } else { 4.0 }
}

/// Work of `multiply_adds` in whole tiles, each instruction beside those that its loop has besides.
fn multiplied(launch: &Launch, multiply_adds: f64, counted: &[String]) -> Work {
    let (unit, each) = if half(launch) { (Unit::Mma, MMA) } else { (Unit::Fma, FMA) };
    let multiplications = multiply_adds / each;
    let instructions = multiplications * loops::per_multiplication(counted);
    Work { multiplications, unit, instructions, ..Work::default() }
}

/// One block for each tile of each part, as `Tiling` cuts them.
fn tiled(launch: &Launch, blocks: f64, depth: u32) -> Work {
    let name = launch.kernel;
    let large = name.contains("_large_");
    let side = if large { 128.0 } else { 64.0 };
    let depth = f64::from(depth.next_multiple_of(STEP));
    let dtype = if half(launch) { "bf16" } else { "f32" };
    let near = format!("conv2d_fwd_{}_{dtype}", if large { "large" } else { "small" });
    let counted = [name.into(), near, format!("matmul_fwd_nn_large_{dtype}")];
    // Whatever a tile is multiplied of comes through the L2 cache, in each step again.
    let cached = blocks * depth * 2.0 * side * size(launch);
    Work { cached, blocks, ..multiplied(launch, blocks * depth * side * side, &counted) }
}

fn blocks(launch: &Launch) -> f64 {
    launch.grid.iter().map(|&n| f64::from(n)).product()
}

fn elements(extents: &[u32]) -> f64 {
    extents.iter().map(|&n| f64::from(n)).product()
}

/// Bytes of a result, or of its parts in f32.
fn result(launch: &Launch, parts: Ptr, elements: f64) -> f64 {
    let count = if parts.is_null() { size(launch) } else { 4.0 * f64::from(launch.grid[1]) };
    elements * count
}

/// A warp for each column, which reads all rows of the left factor from the cache.
pub(super) fn matmul_few(launch: &Launch, p: &MatmulFewParams) -> Work {
    let multiply_adds = elements(&[p.m, p.n, p.k]);
    let multiplications = multiply_adds / FMA;
    let counted = [launch.kernel.into(), "matmul_fwd_nt_few_f32".into()];
    Work {
        flops: 2.0 * multiply_adds,
        bytes: (elements(&[p.m, p.k]) + elements(&[p.k, p.n]) + elements(&[p.m, p.n])) * size(launch),
        cached: (multiply_adds + elements(&[p.k, p.n])) * size(launch),
        multiplications,
        instructions: multiplications * loops::per_multiplication(&counted),
        blocks: blocks(launch),
        ..Work::default()
    }
}

pub(super) fn matmul(launch: &Launch, p: &MatmulParams) -> Work {
    let batch = f64::from(p.batch);
    // A batch beyond the limit of the grid is walked through by its blocks.
    let blocks = f64::from(launch.grid[0]) * f64::from(launch.grid[1]) * batch;
    let read = batch * (elements(&[p.m, p.k]) + elements(&[p.k, p.n])) * size(launch);
    Work {
        flops: 2.0 * batch * elements(&[p.m, p.n, p.k]),
        bytes: read + result(launch, p.parts, batch * elements(&[p.m, p.n])),
        ..tiled(launch, blocks, p.depth_per_part.min(p.k))
    }
}

pub(super) fn conv2d(launch: &Launch, p: &Conv2dParams) -> Work {
    let product = elements(&[p.m, p.n, p.k]);
    // Between the pixels of a gradient that was strided stand zeros, which the kernel multiplies and nobody counts.
    let flops = 2.0 * product / f64::from(p.spread * p.spread);
    let taps = f64::from(p.taps);
    let weight_gradient = launch.kernel.starts_with("conv2d_bwd_weight");
    let (image, other) = match weight_gradient {
        // The depth is pixels of the result, each column of `n` a tap and an input.
        true => (f64::from(p.k) * f64::from(p.step * p.step) * f64::from(p.inputs), elements(&[p.k, p.m])),
        false => {
            let pixels = f64::from(p.m) * f64::from(p.step * p.step) / f64::from(p.spread * p.spread);
            (pixels * f64::from(p.k) / taps, elements(&[p.n, p.k]))
        }
    };
    Work {
        flops,
        bytes: (image + other) * size(launch) + result(launch, p.parts, elements(&[p.m, p.n])),
        ..tiled(launch, blocks(launch), p.depth_per_part.min(p.k))
    }
}

/// Tiles of 128 x 256 by `wgmma`, `steps` of 64 deep, which blocks that stay take one after another. What issues the
/// multiplications has little else to do. Two blocks of a cluster have tiles one below the other, and fetch the columns
/// once for both.
fn hopper(launch: &Launch, tiles: f64, steps: f64) -> Work {
    let clustered = launch.kernel.contains("_hopper_cluster_");
    let blocks = if clustered { 2.0 } else { 1.0 };
    let (tiles, side, depth) = (blocks * tiles, 128.0 * 256.0, steps * 64.0);
    Work {
        cached: tiles * depth * (128.0 + 256.0 / blocks) * 2.0,
        blocks: tiles,
        clustered,
        multiplications: tiles * depth * side / MMA,
        unit: Unit::Wgmma,
        ..Work::default()
    }
}

pub(super) fn matmul_hopper(launch: &Launch, p: &MatmulHopperParams) -> Work {
    let batch = f64::from(p.batch);
    let moved = elements(&[p.m, p.k]) + elements(&[p.k, p.n]) + elements(&[p.m, p.n]);
    Work {
        flops: 2.0 * batch * elements(&[p.m, p.n, p.k]),
        bytes: 2.0 * batch * moved,
        ..hopper(launch, batch * f64::from(p.batch_tiles), f64::from(p.k.div_ceil(64)))
    }
}

pub(super) fn conv2d_hopper(launch: &Launch, p: &Conv2dHopperParams) -> Work {
    // Of each tap all channels, 64 at a time.
    let (depth, channels) = (64 * p.steps, 64 * p.blocks.divisor);
    let moved = elements(&[p.m, channels]) + elements(&[p.n, depth]) + elements(&[p.m, p.n]);
    Work {
        flops: 2.0 * elements(&[p.m, p.n, depth]),
        bytes: 2.0 * moved,
        ..hopper(launch, f64::from(p.tiles), f64::from(p.steps))
    }
}

pub(super) fn conv2d_weight_hopper(launch: &Launch, p: &Conv2dWeightHopperParams) -> Work {
    // The depth is pixels of the result, the columns channels of each tap.
    let channels = 64 * p.blocks.divisor;
    let parts = f64::from(p.count);
    let sums = if p.parts.is_null() { 2.0 } else { 4.0 * parts };
    let whole = hopper(launch, f64::from(p.tiles.divisor), f64::from(p.k.div_ceil(64)));
    Work {
        flops: 2.0 * elements(&[p.m, p.n, p.k]),
        bytes: 2.0 * elements(&[p.k, p.m + channels]) + sums * elements(&[p.m, p.n]),
        blocks: parts * whole.blocks,
        ..whole
    }
}

pub(super) fn attention(launch: &Launch, p: &AttentionParams) -> Work {
    let tiles = p.tokens.div_ceil(ATTENTION_TILE);
    let heads = blocks(launch) / tiles as f64;
    // A tile of a causal head meets itself and those before it.
    let pairs_of_tiles = if p.causal == 1 { (tiles * (tiles + 1) / 2) as f64 } else { (tiles * tiles) as f64 };
    let (tokens, head_dim) = (p.tokens as f64, f64::from(p.head_dim));
    let pairs = if p.causal == 1 { tokens * (tokens + 1.0) / 2.0 } else { tokens * tokens };
    let width: u32 = match p.head_dim {
        ..=64 => 64,
        65..=128 => 128,
        _ => 256,
    };
    // Products of tokens x tokens x head_dim, those that are made, and tensors that are read or written.
    let (products, made, tensors) = match launch.kernel {
        name if name.starts_with("attention_bwd_queries") => (3.0, 3.0, 6.0),
        // Of more than 128 channels two warps make the same scores and slopes.
        name if name.starts_with("attention_bwd_keys") && width == 256 && half(launch) => (4.0, 6.0, 6.0),
        name if name.starts_with("attention_bwd_keys") => (4.0, 4.0, 6.0),
        _ => (2.0, 2.0, 4.0),
    };
    let tile = (ATTENTION_TILE * ATTENTION_TILE) as f64 * f64::from(width);
    let multiply_adds = heads * pairs_of_tiles * made * tile;
    let kind = launch.kernel.split("_d").next().unwrap_or_default();
    let counted = match half(launch) {
        true => [launch.kernel.into(), format!("{kind}_d64_bf16")],
        false => [launch.kernel.into(), "matmul_fwd_nn_large_f32".into()],
    };
    Work {
        flops: 2.0 * products * heads * pairs * head_dim,
        bytes: tensors * heads * tokens * head_dim * size(launch),
        cached: heads * pairs_of_tiles * 2.0 * (ATTENTION_TILE as f64) * f64::from(width) * size(launch),
        blocks: blocks(launch),
        ..multiplied(launch, multiply_adds, &counted)
    }
}

pub(super) fn contrastive(launch: &Launch, p: &ContrastiveParams) -> Work {
    let slopes = if p.slopes.is_null() { 0.0 } else { elements(&[p.rows, p.columns]) };
    let read = elements(&[p.rows, p.depth]) + elements(&[p.columns, p.depth]);
    Work {
        flops: 2.0 * elements(&[p.rows, p.columns, p.depth]),
        bytes: (read + slopes) * size(launch),
        ..tiled(launch, blocks(launch), p.depth)
    }
}

pub(super) fn contrastive_keys(launch: &Launch, p: &ContrastiveKeysParams) -> Work {
    let read = elements(&[p.rows, p.columns]) + elements(&[p.rows, p.depth]);
    let written = elements(&[p.columns, p.depth]) * if p.add == 1 { 8.0 } else { 4.0 };
    Work {
        flops: 2.0 * elements(&[p.rows, p.columns, p.depth]),
        bytes: read * size(launch) + written,
        ..tiled(launch, blocks(launch), p.rows)
    }
}
