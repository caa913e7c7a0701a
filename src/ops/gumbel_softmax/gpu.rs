use super::{GumbelNoise, OP};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::GumbelSoftmaxParams;
use crate::error::Result;
use crate::ops::{kernel, start, team};
use crate::random::Stream;
use crate::tensor::Tensor;

pub fn forward(
    gpu: &Gpu,
    x: &Tensor,
    tau: f64,
    hard: bool,
    noise: GumbelNoise,
    soft: &mut Tensor,
    y: Option<&mut Tensor>,
) -> Result<()> {
    let kernel = kernel!(OP, x.dtype(), "gumbel_softmax_fwd")?;
    let k = x.shape()[1];
    let (stream, first, ids) = match noise {
        GumbelNoise::Drawn(draws) => draws.device(gpu)?,
        GumbelNoise::Given(_) => (Stream { key: [0; 2], tail: [0; 2] }, 0, Ptr::NULL),
    };
    let params = GumbelSoftmaxParams {
        x: x.ptr(gpu)?,
        noise: match noise {
            GumbelNoise::Drawn(_) => Ptr::NULL,
            GumbelNoise::Given(noise) => noise.ptr(gpu)?,
        },
        soft: soft.ptr_mut(gpu)?,
        y: y.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr_mut(gpu))?,
        dy: Ptr::NULL,
        ids,
        rows: (x.len() / k) as u64,
        len: k as u64,
        inverse_tau: (1.0 / tau) as f32,
        first,
        key0: stream.key[0],
        key1: stream.key[1],
        step: stream.tail[0],
        site: stream.tail[1],
        team: team(k),
        hard: hard.into(),
    };
    start(gpu, &Launch::over(kernel, params.rows as usize * params.team as usize), &params)
}

pub fn backward(gpu: &Gpu, dy: &Tensor, soft: &Tensor, k: usize, tau: f64, dx: &mut Tensor) -> Result<()> {
    let kernel = kernel!(OP, dy.dtype(), "gumbel_softmax_bwd")?;
    let params = GumbelSoftmaxParams {
        x: dx.ptr_mut(gpu)?,
        noise: Ptr::NULL,
        soft: soft.ptr(gpu)?,
        y: Ptr::NULL,
        dy: dy.ptr(gpu)?,
        ids: Ptr::NULL,
        rows: (dy.len() / k) as u64,
        len: k as u64,
        inverse_tau: (1.0 / tau) as f32,
        first: 0,
        key0: 0,
        key1: 0,
        step: 0,
        site: 0,
        team: team(k),
        hard: 0,
    };
    start(gpu, &Launch::over(kernel, params.rows as usize * params.team as usize), &params)
}
