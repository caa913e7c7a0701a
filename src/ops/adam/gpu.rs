use super::{AdamState, Factors, OP};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::AdamParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn update(gpu: &Gpu, f: Factors, state: AdamState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()> {
    let kernel = kernel!(OP, gradient.dtype(), "adam_fwd")?;
    let address = |tensor: Option<&mut Tensor>| tensor.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr_mut(gpu));
    let mut params = AdamParams {
        weights: state.weights.ptr_mut(gpu)?,
        m: state.m.ptr_mut(gpu)?,
        v: state.v.ptr_mut(gpu)?,
        ema: address(state.ema)?,
        copy: address(state.copy)?,
        gradient: gradient.ptr(gpu)?,
        clip: clip.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr(gpu))?,
        n: gradient.len() as u64,
        lr: f.lr as f32,
        root: f.root as f32,
        w1: f.w1 as f32,
        w2: f.w2 as f32,
        eps: f.eps as f32,
        decay: f.decay as f32,
        ema_part: f.ema as f32,
        wide: 0,
    };
    let AdamParams { weights, m, v, ema, copy, gradient: g, .. } = params;
    params.wide = Ptr::all_wide(&[weights, m, v, ema, copy, g]).into();
    start(gpu, &Launch::over(kernel, gradient.len().div_ceil(4)), &params)
}
