//! A strip of rows at a time: a launch makes its tiles, and small ones join what they say. The backward pass holds the
//! slopes of one strip, which two products make gradients of.

use super::{Gradients, Kept, Kind, Problem, Wanted};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::{
    ContrastiveJoinParams, ContrastiveKeysParams, ContrastiveLossParams, ContrastiveParams, ContrastiveSumParams,
};
use crate::error::Result;
use crate::ops::product::operands::{address, is_wide, small};
use crate::ops::product::{self, Factor, Sizes};
use crate::ops::{cast, concat, kernel, start};
use crate::tensor::{DType, Device, Tensor};

/// Slopes that are held at a time, at most, where that is some rows at least.
const SLOPES: usize = 1 << 25;
/// Rows of a strip, at most and at least; multiples of a large tile.
const STRIP: [usize; 2] = [2048, 128];
/// Large tiles that keep a large GPU busy.
const BUSY: usize = 96;

/// How the matrix of logits is cut. Depends on the shapes alone, and so do the bits of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Tiles of 128 × 128 instead of 64 × 64.
    pub large: bool,
    /// The same, of the product that makes the keys' gradient.
    pub large_keys: bool,
    /// Rows of a strip, a multiple of a tile's.
    pub strip: usize,
}

impl Cut {
    fn of(&Problem { rows, columns, depth, .. }: &Problem) -> Self {
        let [most, least] = STRIP;
        let strip = (SLOPES / columns.max(1) / least * least).clamp(least, most);
        let large = rows.min(strip).div_ceil(128) * columns.div_ceil(128) >= BUSY;
        // A depth below a large tile's width would be filled up with zeros.
        let large_keys = depth > 64 && columns.div_ceil(128) * depth.div_ceil(128) >= BUSY;
        Cut { large, large_keys, strip }
    }

    /// Rows and columns of a tile of logits.
    fn tile(self) -> usize {
        tile(self.large)
    }

    /// First row and number of rows of each strip.
    fn strips(self, rows: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..rows).step_by(self.strip).map(move |first| (first, self.strip.min(rows - first)))
    }
}

fn tile(large: bool) -> usize {
    if large { 128 } else { 64 }
}

/// Shared memory for a tile of logits.
fn staged(tile: usize) -> usize {
    tile * (tile + 1) * 4
}

/// A block for each `tile` of a matrix of these sizes, with room for the stages of its product, or for what takes
/// `shared` bytes afterwards.
fn launch(
    op: &'static str,
    kernel: &'static str,
    dtype: DType,
    [rows, columns]: [usize; 2],
    tile: usize,
    shared: usize,
) -> Result<Launch> {
    let blocks = small(op, rows.div_ceil(tile) * columns.div_ceil(tile))?;
    Ok(match dtype {
        // Four stages of both tiles, 32 deep.
        DType::BF16 => Launch::blocks(kernel, [blocks, 1, 1], 128).shared(shared.max(4 * 2 * tile * 32 * 2)),
        _ => Launch::blocks(kernel, [blocks, 1, 1], 256).shared(shared),
    })
}

/// The number of a kind in the kernels.
fn number(kind: Kind) -> u32 {
    match kind {
        Kind::Rows => 0,
        Kind::Both => 1,
        Kind::Own => 2,
        Kind::Sigmoid => 3,
    }
}

pub fn forward(gpu: &Gpu, problem: &Problem) -> Result<(Tensor, Kept)> {
    forward_in(gpu, problem, Cut::of(problem))
}

pub fn backward(gpu: &Gpu, problem: &Problem, kept: &Kept, dy: &Tensor, wanted: Wanted) -> Result<Gradients> {
    backward_in(gpu, problem, kept, dy, wanted, Cut::of(problem))
}

impl Problem {
    /// What the tiles of a strip are made of.
    fn params(&self, gpu: &Gpu, (first, rows): (usize, usize)) -> Result<ContrastiveParams> {
        let dtype = self.q.dtype();
        let q = self.q.ptr(gpu)?.byte_add(first * self.depth * dtype.size());
        let k = self.k.ptr(gpu)?;
        Ok(ContrastiveParams {
            q,
            k,
            scale: self.scale.ptr(gpu)?,
            offset: address(gpu, self.offset.as_ref())?,
            labels: address(gpu, self.labels.as_ref())?,
            row_parts: Ptr::NULL,
            column_parts: Ptr::NULL,
            lse: Ptr::NULL,
            column_lse: Ptr::NULL,
            counts: Ptr::NULL,
            weight: Ptr::NULL,
            dloss: Ptr::NULL,
            slopes: Ptr::NULL,
            products: Ptr::NULL,
            first: first as u64,
            rows: small(self.op, rows)?,
            columns: small(self.op, self.columns)?,
            depth: small(self.op, self.depth)?,
            kind: number(self.kind),
            wide_q: is_wide(q, self.depth, dtype).into(),
            wide_k: is_wide(k, self.depth, dtype).into(),
        })
    }

    fn device(&self) -> Device {
        self.q.device()
    }

    fn floats<const N: usize>(&self, shape: [usize; N]) -> Result<Tensor> {
        Tensor::empty(shape, DType::F32, &self.device())
    }
}

pub(super) fn forward_in(gpu: &Gpu, problem: &Problem, cut: Cut) -> Result<(Tensor, Kept)> {
    let Problem { op, kind, rows, columns, .. } = *problem;
    let dtype = problem.q.dtype();
    let kernel = match cut.large {
        true => kernel!(op, dtype, "contrastive_fwd_large")?,
        false => kernel!(op, dtype, "contrastive_fwd_small")?,
    };
    let both = kind == Kind::Both;
    let mut lse = problem.floats([rows])?;
    let (mut losses, mut positives, mut counts) =
        (problem.floats([rows])?, problem.floats([rows])?, problem.floats([rows])?);
    let of_columns = if both { columns } else { 0 };
    let (mut largest, mut sums) = (problem.floats([of_columns])?, problem.floats([of_columns])?);
    for (first, count) in cut.strips(rows) {
        let tiles = [count.div_ceil(cut.tile()), columns.div_ceil(cut.tile())];
        let mut row_parts = problem.floats([tiles[1], count, 4])?;
        let mut column_parts = both.then(|| problem.floats([tiles[0], columns, 2])).transpose()?;
        let params = ContrastiveParams {
            row_parts: row_parts.ptr_mut(gpu)?,
            column_parts: column_parts.as_mut().map_or(Ok(Ptr::NULL), |parts| parts.ptr_mut(gpu))?,
            ..problem.params(gpu, (first, count))?
        };
        start(gpu, &launch(op, kernel, dtype, [count, columns], cut.tile(), staged(cut.tile()))?, &params)?;
        let join = ContrastiveJoinParams {
            parts: row_parts.ptr(gpu)?,
            lse: lse.ptr_mut(gpu)?,
            losses: losses.ptr_mut(gpu)?,
            positives: positives.ptr_mut(gpu)?,
            counts: counts.ptr_mut(gpu)?,
            largest: Ptr::NULL,
            sums: Ptr::NULL,
            first: first as u64,
            lines: count as u64,
            tiles: tiles[1] as u32,
            kind: number(kind),
        };
        start(gpu, &Launch::over("contrastive_fwd_rows_f32", count), &join)?;
        if let Some(parts) = &column_parts {
            let join = ContrastiveJoinParams {
                parts: parts.ptr(gpu)?,
                largest: largest.ptr_mut(gpu)?,
                sums: sums.ptr_mut(gpu)?,
                lines: columns as u64,
                tiles: tiles[0] as u32,
                ..join
            };
            start(gpu, &Launch::over("contrastive_fwd_columns_f32", columns), &join)?;
        }
    }
    let (mut weight, mut loss) = (problem.floats([])?, problem.floats([])?);
    let mut column_lse = both.then(|| problem.floats([columns])).transpose()?;
    let params = ContrastiveLossParams {
        losses: losses.ptr(gpu)?,
        positives: positives.ptr(gpu)?,
        counts: counts.ptr(gpu)?,
        largest: largest.ptr(gpu)?,
        sums: sums.ptr(gpu)?,
        column_lse: column_lse.as_mut().map_or(Ok(Ptr::NULL), |lse| lse.ptr_mut(gpu))?,
        weight: weight.ptr_mut(gpu)?,
        loss: loss.ptr_mut(gpu)?,
        rows: rows as u64,
        columns: of_columns as u64,
        factor: problem.weight as f32,
        own: (kind == Kind::Own).into(),
    };
    start(gpu, &Launch::blocks("contrastive_fwd_loss_f32", [1, 1, 1], 1024), &params)?;
    let kept = Kept {
        rows: (kind != Kind::Sigmoid).then_some(lse),
        columns: column_lse,
        counts: (kind == Kind::Own).then_some(counts),
        weight,
    };
    Ok((loss, kept))
}

pub(super) fn backward_in(
    gpu: &Gpu,
    problem: &Problem,
    kept: &Kept,
    dy: &Tensor,
    wanted: Wanted,
    cut: Cut,
) -> Result<Gradients> {
    let Problem { op, rows, columns, depth, .. } = *problem;
    let dtype = problem.q.dtype();
    let kernel = match cut.large {
        true => kernel!(op, dtype, "contrastive_bwd_slopes_large")?,
        false => kernel!(op, dtype, "contrastive_bwd_slopes_small")?,
    };
    let keys = match cut.large_keys {
        true => kernel!(op, dtype, "contrastive_bwd_keys_large")?,
        false => kernel!(op, dtype, "contrastive_bwd_keys_small")?,
    };
    let mut dq = Vec::new();
    let mut dk = wanted.k.then(|| problem.floats([columns, depth])).transpose()?;
    let mut dscale = wanted.scale.then(|| problem.floats([])).transpose()?;
    let mut doffset = wanted.offset.then(|| problem.floats([columns])).transpose()?;
    let k = Factor::new(&problem.k, false);
    for (first, count) in cut.strips(rows) {
        let tiles = [count.div_ceil(cut.tile()), columns.div_ceil(cut.tile())];
        let mut slopes = Tensor::empty([count, columns], dtype, &problem.device())?;
        let mut products = wanted.scale.then(|| problem.floats([tiles[0] * tiles[1]])).transpose()?;
        let mut column_parts = wanted.offset.then(|| problem.floats([tiles[0], columns])).transpose()?;
        let params = ContrastiveParams {
            lse: address(gpu, kept.rows.as_ref())?,
            column_lse: address(gpu, kept.columns.as_ref())?,
            counts: address(gpu, kept.counts.as_ref())?,
            weight: kept.weight.ptr(gpu)?,
            dloss: dy.ptr(gpu)?,
            slopes: slopes.ptr_mut(gpu)?,
            products: products.as_mut().map_or(Ok(Ptr::NULL), |parts| parts.ptr_mut(gpu))?,
            column_parts: column_parts.as_mut().map_or(Ok(Ptr::NULL), |parts| parts.ptr_mut(gpu))?,
            ..problem.params(gpu, (first, count))?
        };
        start(gpu, &launch(op, kernel, dtype, [count, columns], cut.tile(), staged(cut.tile()))?, &params)?;
        let add = u32::from(first > 0);
        if let (Some(parts), Some(sum)) = (&products, &mut dscale) {
            let params = ContrastiveSumParams {
                parts: parts.ptr(gpu)?,
                sums: sum.ptr_mut(gpu)?,
                count: parts.len() as u64,
                n: 1,
                add,
                unused: 0,
            };
            start(gpu, &Launch::blocks("contrastive_bwd_scale_f32", [1, 1, 1], 1024), &params)?;
        }
        if let (Some(parts), Some(sums)) = (&column_parts, &mut doffset) {
            let params = ContrastiveSumParams {
                parts: parts.ptr(gpu)?,
                sums: sums.ptr_mut(gpu)?,
                count: tiles[0] as u64,
                n: columns as u64,
                add,
                unused: 0,
            };
            start(gpu, &Launch::over("contrastive_bwd_columns_f32", columns), &params)?;
        }
        if wanted.q {
            let sizes = Sizes { batch: 1, m: count, n: depth, k: columns };
            let strip = product::product(op, &Factor::new(&slopes, false), &k, None, sizes)?;
            dq.push(strip.reshape([count, depth])?);
        }
        if let Some(dk) = &mut dk {
            let slopes_at = slopes.ptr(gpu)?;
            let params = ContrastiveKeysParams {
                slopes: slopes_at,
                q: params.q,
                dk: dk.ptr_mut(gpu)?,
                rows: params.rows,
                columns: params.columns,
                depth: params.depth,
                wide_slopes: is_wide(slopes_at, columns, dtype).into(),
                wide_q: params.wide_q,
                add,
            };
            start(gpu, &launch(op, keys, dtype, [columns, depth], tile(cut.large_keys), 0)?, &params)?;
        }
    }
    let dq = match wanted.q {
        true => {
            let strips: Vec<_> = dq.into_iter().map(crate::autograd::Var::constant).collect();
            Some(concat(&strips.iter().collect::<Vec<_>>(), 0)?.into_value())
        }
        false => None,
    };
    let rounded = |sums: Option<Tensor>| sums.map(|sums| cast::convert(&sums, dtype)).transpose();
    Ok(Gradients { q: dq, k: rounded(dk)?, scale: dscale, offset: doffset })
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::backend::shared_memory::MOST;

    #[test]
    fn every_block_fits_every_gpu() {
        for tile in [64, 128] {
            // Stages of the FMA product: two of two tiles, 16 deep, rows 4 longer. The rest is aligned to 1 KiB.
            let fixed: usize = 4 * 16 * (tile + 4) * 4 + 32 * 4;
            assert!(fixed.next_multiple_of(1024) + staged(tile) <= MOST, "{tile}");
        }
    }

    #[test]
    fn strips_hold_no_more_than_they_may() {
        for (rows, columns) in [(2, 2), (257, 257), (8192, 8192), (32_768, 32_768), (1 << 18, 1 << 18), (3, 1 << 22)] {
            let strip = cut(rows, columns).strip;
            assert!(strip * columns <= SLOPES || strip == STRIP[1], "{rows} x {columns}: {strip}");
            assert!(strip.is_multiple_of(128) && strip <= STRIP[0]);
        }
        assert!(!cut(257, 257).large && cut(8192, 8192).large);
    }

    fn cut(rows: usize, columns: usize) -> Cut {
        let none = || Tensor::zeros([0], DType::F32, &Device::Cpu).unwrap();
        let (kind, weight, depth) = (Kind::Rows, 1.0, 768);
        Cut::of(&Problem {
            op: "info_nce",
            kind,
            weight,
            rows,
            columns,
            depth,
            q: none(),
            k: none(),
            scale: none(),
            offset: None,
            labels: None,
        })
    }
}
