use super::function::Function;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::ElementwiseParams;
use crate::error::{Error, Result};
use crate::ops::start;
use crate::tensor::{DType, Tensor};

pub fn forward<F: Function>(gpu: &Gpu, f: F, x: &Tensor) -> Result<Tensor> {
    run(gpu, f, 0, None, x)
}

pub fn backward<F: Function>(gpu: &Gpu, f: F, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    run(gpu, f, 1, Some(dy), x)
}

fn run<F: Function>(gpu: &Gpu, f: F, direction: usize, dy: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    let [f32, bf16] = F::KERNELS[direction];
    let kernel = match x.dtype() {
        DType::F32 => f32,
        DType::BF16 => bf16,
        other => return Err(Error::dtype(F::NAME, "f32 or bf16 on a GPU", other)),
    };
    let mut y = x.empty_like()?;
    if x.is_empty() {
        return Ok(y);
    }
    let dy = dy.map(|tensor| tensor.ptr(gpu)).transpose()?.unwrap_or(Ptr::NULL);
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let [a, b] = f.numbers().map(|number| number as f32);
    let wide = Ptr::all_wide(&[dy, x_at, y_at]).into();
    let params = ElementwiseParams { dy, x: x_at, y: y_at, n: x.len() as u64, a, b, wide };
    start(gpu, &Launch::over(kernel, x.len().div_ceil(16 / x.dtype().size())), &params)?;
    Ok(y)
}
