use super::{Distribution, Draws, Rows};
use crate::backend::gpu::{Gpu, Launch};
use crate::backend::params::RandomParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn fill(gpu: &Gpu, distribution: Distribution, draws: &Draws, rows: Rows, y: &mut Tensor) -> Result<()> {
    let kernel = match distribution {
        Distribution::Words => "random_fwd_words_u32",
        Distribution::Uniform => kernel!("random", y.dtype(), "random_fwd_uniform")?,
        Distribution::Normal => kernel!("random", y.dtype(), "random_fwd_normal")?,
        Distribution::Exponential => kernel!("random", y.dtype(), "random_fwd_exponential")?,
        Distribution::Gumbel => kernel!("random", y.dtype(), "random_fwd_gumbel")?,
    };
    let (stream, first, ids) = draws.device(gpu)?;
    let y = y.ptr_mut(gpu)?;
    let params = RandomParams {
        y,
        ids,
        rows: rows.count as u64,
        len: rows.len as u64,
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
        wide: rows.wide(&[y]),
    };
    start(gpu, &Launch::over(kernel, rows.blocks()), &params)
}
