//! Products by Hopper's own instructions: which of them, and how they are started. A block stays for many tiles of 128
//! by 256 (kernels/device/hopper_gemm.cuh), so that there is one for each multiprocessor.

use super::operands::{address, is_wide, small};
use super::{Factor, Sizes};
use crate::backend::gpu::{Gpu, Hopper, Launch};
use crate::backend::params::MatmulHopperParams;
use crate::backend::tensor_map::Boxes;
use crate::error::{Error, Result};
use crate::ops::start;
use crate::tensor::{DType, Tensor};

/// Rows and columns of a tile.
pub const ROWS: usize = 128;
/// As above.
pub const COLUMNS: usize = 256;
/// Steps of depth that a stage holds.
pub const DEPTH: usize = 64;
/// Four stages, and 16 rows of 64 columns for each of the eight warps that store.
const SHARED: usize = 4 * (ROWS + COLUMNS) * DEPTH * 2 + 8 * 16 * 64 * 2;
const THREADS: u32 = 384;
/// Tiles that keep half of a large GPU's 132 multiprocessors busy. With fewer, smaller ones keep more of them busy.
pub const LEAST: usize = 66;
/// Percent of its tiles that a product has to fill.
pub const FULL: usize = 80;

pub fn tiles(sizes: Sizes) -> usize {
    tiles_of(ROWS, sizes)
}

fn tiles_of(rows: usize, Sizes { batch, m, n, .. }: Sizes) -> usize {
    m.div_ceil(rows) * n.div_ceil(COLUMNS) * batch
}

/// Percent of its tiles that a product fills.
pub fn fill(sizes: Sizes) -> usize {
    fill_of(ROWS, sizes)
}

fn fill_of(rows: usize, sizes: Sizes) -> usize {
    let Sizes { batch, m, n, .. } = sizes;
    (100 * batch * m * n).checked_div(tiles_of(rows, sizes) * rows * COLUMNS).unwrap_or(0)
}

/// The blocks that make tiles together: one alone, or two, which are a cluster. Each of two has its own rows, and they
/// load the right factor for both, a half each: two thirds of what single ones fetch. What comes of it is the same, bit
/// for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Team {
    pub blocks: usize,
    /// How many teams run side by side.
    teams: usize,
}

impl Team {
    pub fn alone(hopper: Hopper) -> Team {
        Team { blocks: 1, teams: hopper.multiprocessors as usize }
    }

    pub fn pair(hopper: Hopper) -> Team {
        Team { blocks: 2, teams: (hopper.multiprocessors as usize / 2).max(1) }
    }

    /// The one for a product: two, if the GPU is asked to, and the product fills tiles of twice as many rows.
    pub fn of(hopper: Hopper, sizes: Sizes) -> Team {
        match hopper.asked.clusters && fill_of(2 * ROWS, sizes) >= FULL {
            true => Team::pair(hopper),
            false => Team::alone(hopper),
        }
    }

    /// How many tiles the team's are, each as many rows of tiles high as it has blocks.
    pub fn tiles(self, sizes: Sizes) -> usize {
        tiles_of(self.blocks * ROWS, sizes)
    }

    /// Columns that a block loads of the right factor.
    pub fn columns(self) -> usize {
        COLUMNS / self.blocks
    }

    /// As many blocks as run side by side, or fewer, if tiles are, by the kernel for one block or that for two.
    pub fn launch(self, [alone, pair]: [&'static str; 2], tiles: usize) -> Launch {
        let blocks = (self.blocks * tiles.min(self.teams)) as u32;
        Launch::blocks(if self.blocks == 1 { alone } else { pair }, [blocks, 1, 1], THREADS).shared(SHARED)
    }
}

/// The GPU, if it is a Hopper and a product of these sizes is worth its large tiles. Depends on device and sizes alone,
/// and so do the bits of the result.
pub fn pays(gpu: &Gpu, dtype: DType, sizes: Sizes) -> Option<Hopper> {
    let large = tiles(sizes) >= LEAST && fill(sizes) >= FULL;
    gpu.hopper().filter(|_| dtype == DType::BF16 && large && sizes.k > 0)
}

/// Whether a product is one that the kernel takes: of rows with their depth side by side, 16 bytes at a time.
pub fn takes(gpu: &Gpu, a: &Factor, b: &Factor, sizes: Sizes) -> Result<bool> {
    let layout = !a.transposed && b.transposed && a.tensor.dtype() == DType::BF16 && sizes.k > 0;
    let wide = |factor: &Factor| Ok::<_, Error>(is_wide(factor.tensor.ptr(gpu)?, sizes.k, DType::BF16));
    Ok(layout && wide(a)? && wide(b)?)
}

/// The product, which the kernel [takes], of something.
pub fn product(
    gpu: &Gpu,
    team: Team,
    op: &'static str,
    a: &Factor,
    b: &Factor,
    bias: Option<&Tensor>,
    sizes: Sizes,
    y: &mut Tensor,
) -> Result<()> {
    let Sizes { batch, m, n, k } = sizes;
    let map = |factor: &Factor, lines: usize, size: usize| {
        gpu.tensor_map(&Boxes {
            address: factor.tensor.ptr(gpu)?,
            extents: [k, lines, batch].map(|extent| extent as u64).into(),
            strides: [2 * k, 2 * k * lines].map(|stride| stride as u64).into(),
            size: vec![DEPTH as u32, size as u32, 1],
            swizzled: true,
        })
    };
    let y_at = y.ptr_mut(gpu)?;
    let tiles = team.tiles(sizes);
    small(op, team.blocks * tiles)?;
    let params = MatmulHopperParams {
        a: map(a, m, ROWS)?,
        b: map(b, n, team.columns())?,
        bias: address(gpu, bias)?,
        y: y_at,
        m: small(op, m)?,
        n: small(op, n)?,
        k: small(op, k)?,
        batch: small(op, batch)?,
        batch_tiles: small(op, tiles / batch)?,
        wide_y: is_wide(y_at, n, y.dtype()).into(),
        unused: [0; 6],
    };
    let kernels = ["matmul_fwd_nt_hopper_bf16", "matmul_fwd_nt_hopper_cluster_bf16"];
    start(gpu, &team.launch(kernels, tiles), &params)
}
