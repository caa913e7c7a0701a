use crate::backend::gpu::{Gpu, Launch};
use crate::backend::params::CategoricalParams;
use crate::error::Result;
use crate::ops::random::Draws;
use crate::ops::{kernel, start, team};
use crate::tensor::Tensor;

pub fn sample(
    gpu: &Gpu,
    logits: &Tensor,
    k: usize,
    draws: &Draws,
    labels: &mut Tensor,
    bad: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!("categorical", logits.dtype(), "categorical_fwd")?;
    let (stream, first, ids) = draws.device(gpu)?;
    let team = team(k);
    let params = CategoricalParams {
        logits: logits.ptr(gpu)?,
        labels: labels.ptr_mut(gpu)?,
        bad: bad.ptr_mut(gpu)?,
        ids,
        rows: labels.len() as u64,
        len: k as u64,
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
        team,
    };
    start(gpu, &Launch::over(kernel, labels.len() * team as usize), &params)
}
