//! Products with a few rows, on a GPU: those of a network's call for one sample, which leave tiles all but empty.

use super::operands::{address, is_wide, small};
use super::{Factor, Sizes};
use crate::backend::gpu::{Gpu, Launch};
use crate::backend::params::MatmulFewParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

/// Rows that a warp has sums for.
const MOST: usize = 8;
const THREADS: u32 = 128;

/// Whether this is the way to compute a product: by its sizes and where its depth lies, and so are the bits of the
/// result.
pub fn pays(a: &Factor, b: &Factor, sizes: Sizes) -> bool {
    sizes.batch == 1 && sizes.m <= MOST && !a.transposed && b.transposed
}

pub fn product(
    gpu: &Gpu,
    op: &'static str,
    a: &Factor,
    b: &Factor,
    bias: Option<&Tensor>,
    Sizes { m, n, k, .. }: Sizes,
    y: &mut Tensor,
) -> Result<()> {
    let dtype = y.dtype();
    let kernel = kernel!(op, dtype, "matmul_fwd_nt_few")?;
    let (a, b) = (a.tensor.ptr(gpu)?, b.tensor.ptr(gpu)?);
    // How sums are taken must not depend on where the numbers lie.
    let run = if (k * dtype.size()).is_multiple_of(16) { 16 / dtype.size() } else { 1 };
    let params = MatmulFewParams {
        a,
        b,
        bias: address(gpu, bias)?,
        y: y.ptr_mut(gpu)?,
        m: small(op, m)?,
        n: small(op, n)?,
        k: small(op, k)?,
        run: small(op, run)?,
        wide: (is_wide(a, k, dtype) && is_wide(b, k, dtype)).into(),
        unused: 0,
    };
    let blocks = n.div_ceil(THREADS as usize / 32).min(1 << 20) as u32;
    start(gpu, &Launch::blocks(kernel, [blocks, 1, 1], THREADS), &params)
}
