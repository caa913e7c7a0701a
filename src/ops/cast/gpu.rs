use super::OP;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::CastParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

pub fn convert(gpu: &Gpu, x: &Tensor, y: &mut Tensor) -> Result<()> {
    let kernel = kernel!(OP, y.dtype(), "cast_fwd")?;
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let params = CastParams { x: x_at, y: y_at, n: x.len() as u64, wide: Ptr::all_wide(&[x_at, y_at]).into() };
    start(gpu, &Launch::over(kernel, x.len().div_ceil(8)), &params)
}
