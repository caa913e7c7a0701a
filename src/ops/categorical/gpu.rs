use crate::backend::gpu::Gpu;
use crate::backend::params::CategoricalParams;
use crate::error::Result;
use crate::ops::gumbel_rows::Teams;
use crate::ops::random::Draws;
use crate::ops::{kernel, start};
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
    let at = logits.ptr(gpu)?;
    let teams = Teams::of(labels.len(), k, logits.dtype(), &[at]);
    let params = CategoricalParams {
        logits: at,
        labels: labels.ptr_mut(gpu)?,
        bad: bad.ptr_mut(gpu)?,
        ids,
        rows: labels.len() as u64,
        len: k as u32,
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
        lanes: teams.lanes,
        columns_per_lane: teams.columns_per_lane,
        width: teams.width,
        unused: 0,
    };
    start(gpu, &teams.launch(kernel), &params)
}
