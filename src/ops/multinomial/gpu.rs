use super::OP;
use crate::backend::gpu::{Gpu, Launch};
use crate::backend::params::MultinomialParams;
use crate::error::{Error, Result};
use crate::ops::random::Draws;
use crate::ops::start;
use crate::tensor::{DType, Tensor};

pub fn count(
    gpu: &Gpu,
    weights: &Tensor,
    [rows, k]: [usize; 2],
    n: u32,
    draws: &Draws,
    counts: &mut Tensor,
    bad: &mut Tensor,
) -> Result<()> {
    let kernel = match weights.dtype() {
        DType::F32 => "multinomial_table_f32",
        DType::BF16 => "multinomial_table_bf16",
        DType::U32 => "multinomial_table_u32",
        other @ DType::F64 => return Err(Error::dtype(OP, "f32, bf16 or u32 on a GPU", other)),
    };
    let (stream, first, ids) = draws.device(gpu)?;
    // 64-bit sums: two words each.
    let mut table = Tensor::empty([rows, k, 2], DType::U32, &weights.device())?;
    let params = MultinomialParams {
        weights: weights.ptr(gpu)?,
        table: table.ptr_mut(gpu)?,
        counts: counts.ptr_mut(gpu)?,
        bad: bad.ptr_mut(gpu)?,
        ids,
        rows: rows as u64,
        len: k as u64,
        n,
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
    };
    let blocks = rows.min(1 << 20) as u32;
    start(gpu, &Launch::blocks(kernel, [blocks, 1, 1], 256), &params)?;
    if n > 0 {
        start(gpu, &Launch::over("multinomial_draw", rows * (n as usize).div_ceil(2)), &params)?;
    }
    Ok(())
}
