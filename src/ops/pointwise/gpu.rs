use super::Function;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::params;
use crate::tensor::{DType, Tensor};

params! {
    struct PointwiseParams {
        dy: Ptr,
        x: Ptr,
        y: Ptr,
        n: u64,
        min: f32,
        max: f32,
        wide: u64,
    }
}

pub fn forward(gpu: &Gpu, function: Function, x: &Tensor) -> Result<Tensor> {
    run(gpu, function, forward_kernel(function, x.dtype())?, None, x)
}

pub fn backward(gpu: &Gpu, function: Function, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    run(gpu, function, backward_kernel(function, x.dtype())?, Some(dy), x)
}

fn run(gpu: &Gpu, function: Function, kernel: &'static str, dy: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    let mut y = x.empty_like()?;
    if x.is_empty() {
        return Ok(y);
    }
    let dy = dy.map(|tensor| tensor.ptr(gpu)).transpose()?.unwrap_or(Ptr::NULL);
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let (min, max) = if let Function::Clamp { min, max } = function { (min as f32, max as f32) } else { (0.0, 0.0) };
    let wide = Ptr::all_wide(&[dy, x_at, y_at]).into();
    let params = PointwiseParams { dy, x: x_at, y: y_at, n: x.len() as u64, min, max, wide };
    start(gpu, &Launch::over(kernel, x.len().div_ceil(16 / x.dtype().size())), &params)?;
    Ok(y)
}

fn forward_kernel(function: Function, dtype: DType) -> Result<&'static str> {
    let op = function.name();
    match function {
        Function::Exp => kernel!(op, dtype, "exp_fwd"),
        Function::Log => kernel!(op, dtype, "log_fwd"),
        Function::Sqrt => kernel!(op, dtype, "sqrt_fwd"),
        Function::Square => kernel!(op, dtype, "square_fwd"),
        Function::Abs => kernel!(op, dtype, "abs_fwd"),
        Function::Clamp { .. } => kernel!(op, dtype, "clamp_fwd"),
    }
}

fn backward_kernel(function: Function, dtype: DType) -> Result<&'static str> {
    let op = function.name();
    match function {
        Function::Exp => kernel!(op, dtype, "exp_bwd"),
        Function::Log => kernel!(op, dtype, "log_bwd"),
        Function::Sqrt => kernel!(op, dtype, "sqrt_bwd"),
        Function::Square => kernel!(op, dtype, "square_bwd"),
        Function::Abs => kernel!(op, dtype, "abs_bwd"),
        Function::Clamp { .. } => kernel!(op, dtype, "clamp_bwd"),
    }
}
