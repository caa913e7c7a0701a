use super::{Factors, OP, SgdState};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::SgdParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn update(gpu: &Gpu, f: Factors, state: SgdState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()> {
    let kernel = kernel!(OP, gradient.dtype(), "sgd_fwd")?;
    let address = |tensor: Option<&mut Tensor>| tensor.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr_mut(gpu));
    let mut params = SgdParams {
        weights: state.weights.ptr_mut(gpu)?,
        momentum: address(state.momentum)?,
        squares: address(state.squares)?,
        ema: address(state.ema)?,
        copy: address(state.copy)?,
        gradient: gradient.ptr(gpu)?,
        clip: clip.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr(gpu))?,
        n: gradient.len() as u64,
        lr: f.lr as f32,
        mu: f.momentum as f32,
        decay: f.decay as f32,
        part: f.part as f32,
        eps: f.eps as f32,
        ema_part: f.ema as f32,
        nesterov: f.nesterov.into(),
        wide: 0,
    };
    let SgdParams { weights, momentum, squares, ema, copy, gradient: g, .. } = params;
    params.wide = Ptr::all_wide(&[weights, momentum, squares, ema, copy, g]).into();
    start(gpu, &Launch::over(kernel, gradient.len().div_ceil(4)), &params)
}
