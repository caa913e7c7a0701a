use super::{Forward, GumbelNoise, OP};
use crate::backend::gpu::{Gpu, Ptr};
use crate::backend::params::GumbelSoftmaxParams;
use crate::error::Result;
use crate::ops::gumbel_rows::Teams;
use crate::ops::{kernel, start};
use crate::tensor::{DType, Tensor};

pub fn forward(gpu: &Gpu, forward: &mut Forward) -> Result<()> {
    let Forward { x, tau, noise, soft, y } = forward;
    let kernel = match (&soft, &y) {
        (Some(_), None) => kernel!(OP, x.dtype(), "gumbel_softmax_fwd")?,
        (Some(_), Some(_)) => kernel!(OP, x.dtype(), "gumbel_softmax_fwd_hard")?,
        (None, _) => kernel!(OP, x.dtype(), "gumbel_softmax_fwd_one_hot")?,
    };
    let k = x.shape()[1];
    let mut params = GumbelSoftmaxParams {
        x: x.ptr(gpu)?,
        soft: soft.as_mut().map_or(Ok(Ptr::NULL), |tensor| tensor.ptr_mut(gpu))?,
        y: y.as_mut().map_or(Ok(Ptr::NULL), |tensor| tensor.ptr_mut(gpu))?,
        ..bytemuck::Zeroable::zeroed()
    };
    match noise {
        GumbelNoise::Drawn(draws) => {
            let (stream, first, ids) = draws.device(gpu)?;
            (params.first, params.ids) = (first, ids);
            ([params.key0, params.key1], [params.step, params.site]) = (stream.key, stream.tail);
        }
        GumbelNoise::Given(noise) => params.noise = noise.ptr(gpu)?,
    }
    let params = params.of(x.len() / k, k, *tau, x.dtype());
    let teams = params.teams(x.dtype());
    let (kept, bytes) = if soft.is_some() { teams.kept() } else { (0, 0) };
    start(gpu, &teams.launch(kernel).shared(bytes), &GumbelSoftmaxParams { kept: kept as u32, ..params })
}

/// Turns of a row that a thread of the backward pass keeps in registers: `KEPT` of the kernel.
fn most_kept(dtype: DType) -> usize {
    if dtype == DType::BF16 { 4 } else { 8 }
}

pub fn backward(gpu: &Gpu, dy: &Tensor, soft: &Tensor, k: usize, tau: f64, dx: &mut Tensor) -> Result<()> {
    let dtype = dy.dtype();
    let params = GumbelSoftmaxParams {
        soft: soft.ptr(gpu)?,
        dy: dy.ptr(gpu)?,
        y: dx.ptr_mut(gpu)?,
        ..bytemuck::Zeroable::zeroed()
    };
    let params = params.of(dy.len() / k, k, tau, dtype);
    let teams = params.teams(dtype);
    let kernel = match teams.turns {
        1 if teams.columns_per_lane == 4 => kernel!(OP, dtype, "gumbel_softmax_bwd")?,
        turns if turns <= most_kept(dtype) => kernel!(OP, dtype, "gumbel_softmax_bwd_kept")?,
        _ => kernel!(OP, dtype, "gumbel_softmax_bwd_long")?,
    };
    start(gpu, &teams.launch(kernel), &params)
}

impl GumbelSoftmaxParams {
    /// The same, with addresses given, for rows of `k` numbers.
    fn of(self, rows: usize, k: usize, tau: f64, dtype: DType) -> Self {
        let params = Self { rows: rows as u64, len: k as u32, inverse_tau: (1.0 / tau) as f32, ..self };
        let Teams { lanes, columns_per_lane, width, .. } = params.teams(dtype);
        Self { lanes, columns_per_lane, width, ..params }
    }

    fn teams(&self, dtype: DType) -> Teams {
        Teams::of(self.rows as usize, self.len as usize, dtype, &[self.x, self.soft, self.y, self.dy])
    }
}
