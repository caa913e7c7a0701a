use super::OP;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::GradientNormParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

const THREADS: usize = 256;
/// Elements that a block sums before another block is worth it.
const PER_BLOCK: usize = 1 << 14;

pub fn norm(gpu: &Gpu, gradients: &[&Tensor], max_norm: f64, result: &mut Tensor) -> Result<()> {
    let blocks = |gradient: &Tensor| gradient.len().div_ceil(PER_BLOCK).min(1024);
    let total: usize = gradients.iter().map(|gradient| blocks(gradient)).sum();
    let partial = gpu.allocate(total * size_of::<f64>())?;
    let address = |at: usize| if total == 0 { Ptr::NULL } else { partial.ptr(at * size_of::<f64>()) };
    let params = GradientNormParams {
        gradient: Ptr::NULL,
        partial: address(0),
        result: result.ptr_mut(gpu)?,
        n: total as u64,
        max_norm,
        wide: 0,
        unused: 0,
    };
    let mut at = 0;
    for gradient in gradients.iter().filter(|gradient| !gradient.is_empty()) {
        let kernel = kernel!(OP, gradient.dtype(), "gradient_norm_fwd_squares")?;
        let from = gradient.ptr(gpu)?;
        let squares = GradientNormParams {
            gradient: from,
            partial: address(at),
            n: gradient.len() as u64,
            wide: Ptr::all_wide(&[from]).into(),
            ..params
        };
        start(gpu, &Launch::blocks(kernel, [blocks(gradient) as u32, 1, 1], THREADS as u32), &squares)?;
        at += blocks(gradient);
    }
    start(gpu, &Launch::blocks("gradient_norm_fwd_total_f32", [1; 3], THREADS as u32), &params)
}
