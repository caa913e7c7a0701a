use super::{Backward, OP};
use crate::backend::gpu::{Gpu, Ptr};
use crate::backend::params::GumbelRaoParams;
use crate::error::Result;
use crate::ops::gumbel_rows::Teams;
use crate::ops::random::Draws;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn forward(gpu: &Gpu, x: &Tensor, k: usize, draws: &Draws, y: &mut Tensor, labels: &mut Tensor) -> Result<()> {
    let kernel = kernel!(OP, x.dtype(), "gumbel_rao_fwd")?;
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let teams = Teams::of(labels.len(), k, x.dtype(), &[x_at, y_at]);
    let params = GumbelRaoParams { x: x_at, y: y_at, labels: labels.ptr_mut(gpu)?, ..of(gpu, k, draws, &teams)? };
    start(gpu, &teams.launch(kernel), &GumbelRaoParams { rows: labels.len() as u64, ..params })
}

pub fn backward(gpu: &Gpu, dy: &Tensor, saved: &Backward, dx: &mut Tensor) -> Result<()> {
    let Backward { x, labels, k, tau, samples, draws } = saved;
    let (rows, dtype) = (labels.len(), x.dtype());
    let (x_at, dy_at, dx_at) = (x.ptr(gpu)?, dy.ptr(gpu)?, dx.ptr_mut(gpu)?);
    let addresses: [Ptr; 3] = [x_at, dy_at, dx_at];
    // What a team of lanes has in its registers in one turn.
    let short = *k <= 128;
    let (teams, kernel, bytes) = if short {
        (Teams::of(rows, *k, dtype, &addresses), kernel!(OP, dtype, "gumbel_rao_bwd")?, 0)
    } else {
        (Teams::blocks(rows, *k, dtype, &addresses), kernel!(OP, dtype, "gumbel_rao_bwd_long")?, 12 * samples)
    };
    let params = GumbelRaoParams {
        x: x_at,
        y: dx_at,
        dy: dy_at,
        labels: labels.ptr(gpu)?,
        rows: rows as u64,
        samples: *samples as u32,
        inverse_tau: (1.0 / tau) as f32,
        ..of(gpu, *k, draws, &teams)?
    };
    start(gpu, &teams.launch(kernel).shared(bytes), &params)
}

/// What follows from the draws and from how the rows are shared.
fn of(gpu: &Gpu, k: usize, draws: &Draws, teams: &Teams) -> Result<GumbelRaoParams> {
    let (stream, first, ids) = draws.device(gpu)?;
    Ok(GumbelRaoParams {
        ids,
        len: k as u32,
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
        lanes: teams.lanes,
        columns_per_lane: teams.columns_per_lane,
        width: teams.width,
        ..bytemuck::Zeroable::zeroed()
    })
}
