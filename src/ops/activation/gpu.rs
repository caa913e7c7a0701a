use super::Activation;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::params;
use crate::tensor::{DType, Tensor};

params! {
    struct ActivationParams {
        dy: Ptr,
        x: Ptr,
        y: Ptr,
        n: u64,
        slope: f32,
        wide: u32,
    }
}

pub fn forward(gpu: &Gpu, activation: Activation, x: &Tensor) -> Result<Tensor> {
    let mut y = x.empty_like()?;
    run(gpu, activation, forward_kernel(activation, x.dtype())?, None, x, &mut y)?;
    Ok(y)
}

pub fn backward(gpu: &Gpu, activation: Activation, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut dx = x.empty_like()?;
    run(gpu, activation, backward_kernel(activation, x.dtype())?, Some(dy), x, &mut dx)?;
    Ok(dx)
}

fn run(
    gpu: &Gpu,
    activation: Activation,
    kernel: &'static str,
    dy: Option<&Tensor>,
    x: &Tensor,
    y: &mut Tensor,
) -> Result<()> {
    if x.is_empty() {
        return Ok(());
    }
    let dy = dy.map(|tensor| tensor.ptr(gpu)).transpose()?.unwrap_or(Ptr::NULL);
    let (x_at, y_at) = (x.ptr(gpu)?, y.ptr_mut(gpu)?);
    let slope = if let Activation::LeakyRelu(slope) = activation { slope as f32 } else { 0.0 };
    let wide = Ptr::all_wide(&[dy, x_at, y_at]).into();
    let elements_per_thread = 16 / x.dtype().size();
    let params = ActivationParams { dy, x: x_at, y: y_at, n: x.len() as u64, slope, wide };
    start(gpu, &Launch::over(kernel, x.len().div_ceil(elements_per_thread)), &params)
}

fn forward_kernel(activation: Activation, dtype: DType) -> Result<&'static str> {
    let op = activation.name();
    match activation {
        Activation::Silu => kernel!(op, dtype, "silu_fwd"),
        Activation::Sigmoid => kernel!(op, dtype, "sigmoid_fwd"),
        Activation::Tanh => kernel!(op, dtype, "tanh_fwd"),
        Activation::Relu | Activation::LeakyRelu(_) => kernel!(op, dtype, "leaky_relu_fwd"),
        Activation::Gelu => kernel!(op, dtype, "gelu_fwd"),
        Activation::Softplus => kernel!(op, dtype, "softplus_fwd"),
    }
}

fn backward_kernel(activation: Activation, dtype: DType) -> Result<&'static str> {
    let op = activation.name();
    match activation {
        Activation::Silu => kernel!(op, dtype, "silu_bwd"),
        Activation::Sigmoid => kernel!(op, dtype, "sigmoid_bwd"),
        Activation::Tanh => kernel!(op, dtype, "tanh_bwd"),
        Activation::Relu | Activation::LeakyRelu(_) => kernel!(op, dtype, "leaky_relu_bwd"),
        Activation::Gelu => kernel!(op, dtype, "gelu_bwd"),
        Activation::Softplus => kernel!(op, dtype, "softplus_bwd"),
    }
}
