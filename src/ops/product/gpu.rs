use super::operands::{address, address_mut, is_wide, small};
use super::{Factor, Sizes, few, hopper};
use crate::backend::gpu::{Gpu, KernelParams, Launch};
use crate::backend::params::{MatmulParams, SumPartsParams};
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

/// How a product is cut: tiles of the result, and parts of the depth. Depends on the shapes alone, and so do the bits
/// of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Tiles of 128 × 128 instead of 64 × 64.
    pub large: bool,
    /// Parts that the depth is cut into.
    pub parts: usize,
    /// Depth of a part; a multiple of what a kernel takes at a time.
    pub depth_per_part: usize,
}

impl Tiling {
    /// Blocks that keep a large GPU busy (a big one has 132 multiprocessors).
    const BUSY: usize = 128;
    /// Depth that a kernel takes at a time, at most.
    const STEP: usize = 32;
    /// Least depth of a part: its sums cost a write and a read of fp32 each.
    const LEAST: usize = 8 * Self::STEP;
    /// Depth of a part beside which its sums are nothing.
    const DEEP: usize = 64 * Self::STEP;

    pub fn of(Sizes { batch, m, n, k }: Sizes) -> Self {
        let blocks = |size: usize| m.div_ceil(size) * n.div_ceil(size) * batch;
        let parts = |size: usize| (2 * Self::BUSY / blocks(size).max(1)).clamp(1, 32).min(k / Self::LEAST).max(1);
        // Large tiles do twice the work for each element read, unless they are filled with zeros for it: of 64 columns,
        // half. Of a weight's gradient, whose depth is that of many pixels, a few are enough: in parts so deep that
        // their sums are little beside them.
        let padded = |size: usize| m.next_multiple_of(size) * n.next_multiple_of(size);
        let deep = parts(128).min(k / Self::DEEP).max(1);
        let large = blocks(128) * deep >= Self::BUSY * 3 / 4 && 4 * padded(128) <= 5 * padded(64);
        Self::cut(large, k, parts(if large { 128 } else { 64 }))
    }

    /// About `parts` parts of a depth of `k`.
    pub fn cut(large: bool, k: usize, parts: usize) -> Self {
        let depth_per_part = k.div_ceil(parts.max(1)).next_multiple_of(Self::STEP).max(Self::STEP);
        Tiling { large, parts: k.div_ceil(depth_per_part).max(1), depth_per_part }
    }

    /// One block per tile and part; products of a batch along z.
    fn launch(&self, kernel: &'static str, sizes: Sizes, dtype: DType) -> Launch {
        let size = if self.large { 128 } else { 64 };
        let tiles = sizes.m.div_ceil(size) * sizes.n.div_ceil(size);
        let grid = [tiles as u32, self.parts as u32, sizes.batch.min(65535) as u32];
        match dtype {
            // Four stages of both tiles, 32 deep.
            DType::BF16 => Launch::blocks(kernel, grid, 128).shared(4 * 2 * size * 32 * 2),
            _ => Launch::blocks(kernel, grid, 256),
        }
    }

    /// Memory for the parts' sums, if there are several.
    pub fn scratch(&self, sizes: Sizes, like: &Tensor) -> Result<Option<Tensor>> {
        let shape = [sizes.batch, self.parts, sizes.m, sizes.n];
        (self.parts > 1).then(|| Tensor::empty(shape, DType::F32, &like.device())).transpose()
    }

    /// Starts `kernel`, whose `params` hold the addresses of `parts`, `bias` and `y`, and sums the parts if there are
    /// any. The caller owes what it owes [`start`].
    pub fn run<P: KernelParams>(
        &self,
        gpu: &Gpu,
        op: &'static str,
        kernel: &'static str,
        sizes: Sizes,
        params: &P,
        parts: Option<&Tensor>,
        bias: Option<&Tensor>,
        y: &mut Tensor,
    ) -> Result<()> {
        small(op, sizes.m.div_ceil(64) * sizes.n.div_ceil(64))?;
        start(gpu, &self.launch(kernel, sizes, y.dtype()), params)?;
        match parts {
            Some(parts) => sum_parts(gpu, op, parts, bias, y),
            None => Ok(()),
        }
    }
}

pub fn product(
    gpu: &Gpu,
    op: &'static str,
    a: &Factor,
    b: &Factor,
    bias: Option<&Tensor>,
    sizes: Sizes,
    y: &mut Tensor,
) -> Result<()> {
    if few::pays(a, b, sizes) {
        return few::product(gpu, op, a, b, bias, sizes, y);
    }
    match hopper::pays(gpu, y.dtype(), sizes) {
        Some(found) if hopper::takes(gpu, a, b, sizes)? => {
            hopper::product(gpu, hopper::Team::of(found, sizes), op, a, b, bias, sizes, y)
        }
        _ => product_in(gpu, op, a, b, bias, sizes, Tiling::of(sizes), y),
    }
}

#[expect(clippy::too_many_arguments, reason = "a product has this many properties")]
pub(super) fn product_in(
    gpu: &Gpu,
    op: &'static str,
    a: &Factor,
    b: &Factor,
    bias: Option<&Tensor>,
    sizes: Sizes,
    tiling: Tiling,
    y: &mut Tensor,
) -> Result<()> {
    let Sizes { batch, m, n, k } = sizes;
    let dtype = y.dtype();
    let kernel = kernel_of(op, dtype, tiling.large, a.transposed, b.transposed)?;
    let mut parts = tiling.scratch(sizes, y)?;
    let (a_at, b_at, y_at) = (a.tensor.ptr(gpu)?, b.tensor.ptr(gpu)?, y.ptr_mut(gpu)?);
    // A batch must not move a matrix off the 16-byte grid; whole rows do not.
    let params = MatmulParams {
        a: a_at,
        b: b_at,
        bias: address(gpu, bias)?,
        y: y_at,
        parts: address_mut(gpu, parts.as_mut())?,
        a_batch: (m * k) as u64,
        b_batch: (k * n) as u64,
        m: small(op, m)?,
        n: small(op, n)?,
        k: small(op, k)?,
        depth_per_part: small(op, tiling.depth_per_part)?,
        batch: small(op, batch)?,
        wide_a: is_wide(a_at, if a.transposed { m } else { k }, dtype).into(),
        wide_b: is_wide(b_at, if b.transposed { k } else { n }, dtype).into(),
        wide_y: is_wide(y_at, n, dtype).into(),
    };
    tiling.run(gpu, op, kernel, sizes, &params, parts.as_ref(), bias, y)
}

/// `y[i] = ` the sum of `parts[i, p]` over `p`, plus a bias along the last axis. `parts` is `[batch, parts, m, n]`.
pub fn sum_parts(gpu: &Gpu, op: &'static str, parts: &Tensor, bias: Option<&Tensor>, y: &mut Tensor) -> Result<()> {
    let [batch, count, m, n] = parts.shape().dims(op, "[batch, parts, m, n]")?;
    let kernel = kernel!(op, y.dtype(), "matmul_fwd_sum_parts")?;
    let params = SumPartsParams {
        parts: parts.ptr(gpu)?,
        bias: address(gpu, bias)?,
        y: y.ptr_mut(gpu)?,
        size: (m * n) as u64,
        n: n as u64,
        batch: batch as u64,
        count: count as u64,
    };
    start(gpu, &Launch::over(kernel, y.len()), &params)
}

fn kernel_of(op: &'static str, dtype: DType, large: bool, a: bool, b: bool) -> Result<&'static str> {
    match (large, a, b) {
        (true, false, false) => kernel!(op, dtype, "matmul_fwd_nn_large"),
        (true, false, true) => kernel!(op, dtype, "matmul_fwd_nt_large"),
        (true, true, false) => kernel!(op, dtype, "matmul_fwd_tn_large"),
        (true, true, true) => kernel!(op, dtype, "matmul_fwd_tt_large"),
        (false, false, false) => kernel!(op, dtype, "matmul_fwd_nn_small"),
        (false, false, true) => kernel!(op, dtype, "matmul_fwd_nt_small"),
        (false, true, false) => kernel!(op, dtype, "matmul_fwd_tn_small"),
        (false, true, true) => kernel!(op, dtype, "matmul_fwd_tt_small"),
    }
}
