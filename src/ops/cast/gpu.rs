use super::OP;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::params;
use crate::tensor::Tensor;

params! {
    struct CastParams {
        x: Ptr,
        y: Ptr,
        n: u64,
        wide: u64,
    }
}

pub fn convert(gpu: &Gpu, x: &Tensor, y: &mut Tensor) -> Result<()> {
    let kernel = kernel!(OP, y.dtype(), "cast_fwd")?;
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let params = CastParams { x: x_at, y: y_at, n: x.len() as u64, wide: Ptr::all_wide(&[x_at, y_at]).into() };
    start(gpu, &Launch::over(kernel, x.len().div_ceil(8)), &params)
}
