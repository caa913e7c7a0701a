//! The operations: one folder each, with the mathematics in `mod.rs`, and a kernel per device.
//!
//! A folder holds `mod.rs` (meaning, shape rule, gradient), `cpu.rs` and `gpu.rs`; the CUDA kernel is
//! `kernels/<op>.cu`. CONTRIBUTING.md walks through adding one. `product`, `broadcast`, `step` and `gumbel_rows` are no
//! operations but what several share: matrix products and convolutions, arithmetic and sums, optimisers and averages,
//! samples of categorical distributions.

pub mod adam;
pub mod arithmetic;
pub mod attention;
pub mod average;
mod backward;
pub mod batch_norm;
mod broadcast;
pub mod cast;
pub mod categorical;
pub mod concat;
pub mod contrastive;
pub mod conv2d;
pub mod conv_transpose2d;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod flatten;
pub mod frequency_embedding;
pub mod gradient_norm;
pub mod group_norm;
pub mod gumbel_rao;
mod gumbel_rows;
pub mod gumbel_softmax;
pub mod l2_normalize;
pub mod layer_norm;
pub mod linear;
pub mod matmul;
mod methods;
pub mod multinomial;
pub mod permute;
pub mod pool2d;
mod product;
pub mod random;
pub mod reduce;
pub mod resample;
pub mod sgd;
pub mod softmax;
pub mod solver_update;
mod step;

pub use adam::adam;
pub use arithmetic::{add, add_scaled, broadcast_to, div, mul, neg, scale, shift, sub};
pub use attention::attention;
pub use average::average;
pub use batch_norm::{BatchStatistics, batch_norm, batch_norm_with};
pub use broadcast::accumulate;
pub use cast::cast;
pub(crate) use cast::cast_to;
pub use categorical::{categorical, categorical_unchecked};
pub use concat::{concat, slice};
pub use contrastive::{clip_symmetric, info_nce, info_nce_biased, nt_xent, siglip, sup_con};
pub use conv_transpose2d::conv_transpose2d;
pub use conv2d::conv2d;
pub use cross_entropy::cross_entropy;
pub use dropout::dropout;
pub use elementwise::{
    abs, clamp, cos, exp, gelu, leaky_relu, log, relu, sigmoid, silu, sin, softplus, sqrt, square, tanh,
};
pub use embedding::{embedding, one_hot};
pub use flatten::flatten;
pub use frequency_embedding::{fourier_embedding, positional_embedding};
pub use gradient_norm::gradient_norm;
pub use group_norm::{group_norm, group_norm_silu};
pub use gumbel_rao::gumbel_rao;
pub use gumbel_softmax::gumbel_softmax;
pub use l2_normalize::l2_normalize;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use matmul::{matmul, matmul_transposed};
pub use multinomial::multinomial;
pub use permute::{permute, transpose};
pub use pool2d::{Maxima, avg_pool2d, max_pool2d, max_pool2d_with_maxima};
pub use random::{normal, random, uniform};
pub use reduce::{mean, sum, sum_to};
pub use resample::{downsample2x, downsample2x_padded, upsample2x};
pub use sgd::sgd;
pub use softmax::{log_softmax, softmax};
pub use solver_update::solver_update;

use crate::backend::gpu::{Gpu, KernelParams, Launch};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Calls `cpu::$f(args)` or `gpu::$f(gpu, args)`, by the device.
macro_rules! on {
    ($device:expr, $f:ident($($arg:expr),* $(,)?)) => {
        match $device {
            $crate::tensor::Device::Cpu => cpu::$f($($arg),*),
            $crate::tensor::Device::Gpu(device) => gpu::$f(&device, $($arg),*),
        }
    };
}
pub(crate) use on;

/// `$base` with the dtype's suffix, as a kernel's symbol; dtypes without kernels are an error of `$op`.
macro_rules! kernel {
    ($op:expr, $dtype:expr, $base:literal) => {
        match $dtype {
            $crate::tensor::DType::F32 => Ok(concat!($base, "_f32")),
            $crate::tensor::DType::BF16 => Ok(concat!($base, "_bf16")),
            other => Err($crate::error::Error::dtype($op, "f32 or bf16 on a GPU", other)),
        }
    };
}
pub(crate) use kernel;

/// As [`kernel!`], for kernels that only move elements: u32 goes with f32, whose size it has.
macro_rules! copy_kernel {
    ($op:expr, $dtype:expr, $base:literal) => {
        match $dtype {
            $crate::tensor::DType::U32 => Ok(concat!($base, "_f32")),
            other => $crate::ops::kernel!($op, other, $base),
        }
    };
}
pub(crate) use copy_kernel;

/// Starts a kernel for a `gpu.rs`.
///
/// It is safe to call for those files alone, which owe it what [`Gpu::launch`] asks and no type can show: addresses
/// come from [`Tensor::ptr`] and [`Tensor::ptr_mut`], which refuse a tensor of another device and make what is written
/// nobody else's; the tensors are borrowed, or owned, until this returns; and the extents in the struct are those of
/// the tensors' shapes, which `mod.rs` has checked against each other.
fn start<P: KernelParams>(gpu: &Gpu, launch: &Launch, params: &P) -> Result<()> {
    // SAFETY: the caller's, as above.
    unsafe { gpu.launch(launch, params) }
}

/// Errors of `op` unless all tensors share device and dtype with the first.
pub(crate) fn check_alike(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    let Some((first, rest)) = tensors.split_first() else { return Ok(()) };
    for tensor in rest {
        check_same_device(op, first, tensor)?;
        if tensor.dtype() != first.dtype() {
            return Err(Error::dtype(op, format!("{} like the first operand", first.dtype()), tensor.dtype()));
        }
    }
    Ok(())
}

/// Errors of `op` unless both tensors are on the same device.
pub(crate) fn check_same_device(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    let (a, b) = (a.device(), b.device());
    if a.same(&b) {
        return Ok(());
    }
    Err(Error::Device { op, what: format!("operands on {a} and on {b}; move one with `to_device`") })
}

/// Errors of `op` on integer tensors.
pub(crate) fn check_float(op: &'static str, tensor: &Tensor) -> Result<()> {
    match tensor.dtype().is_float() {
        true => Ok(()),
        false => Err(Error::dtype(op, "a floating-point dtype", tensor.dtype())),
    }
}
