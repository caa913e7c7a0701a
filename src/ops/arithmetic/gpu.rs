use super::{Pairwise, Walk};
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::kernel;
use crate::params;
use crate::tensor::Tensor;

params! {
    struct ArithmeticParams {
        a: Ptr,
        b: Ptr,
        y: Ptr,
        n: u64,
        extents: [u64; Walk::AXES],
        a_strides: [u64; Walk::AXES],
        b_strides: [u64; Walk::AXES],
        alpha: f32,
        beta: f32,
        contiguous: u32,
        wide: u32,
    }
}

impl ArithmeticParams {
    fn new(a: Ptr, b: Ptr, y: Ptr, n: usize, walk: &Walk, alpha: f64, beta: f64) -> Self {
        let strides = |i: usize| if i < walk.strides.len() { walk.padded_strides(i) } else { [0; Walk::AXES] };
        ArithmeticParams {
            a,
            b,
            y,
            n: n as u64,
            extents: walk.padded_extents(),
            a_strides: strides(0),
            b_strides: strides(1),
            alpha: alpha as f32,
            beta: beta as f32,
            contiguous: walk.is_contiguous().into(),
            wide: Ptr::all_wide(&[a, b, y]).into(),
        }
    }
}

fn launch(gpu: &Gpu, kernel: &'static str, y: &Tensor, params: &ArithmeticParams) -> Result<()> {
    gpu.launch(&Launch::over(kernel, y.len().div_ceil(4)), params)
}

pub fn pairwise(
    gpu: &Gpu,
    op: &'static str,
    f: Pairwise,
    a: &Tensor,
    b: &Tensor,
    walk: &Walk,
    y: &mut Tensor,
) -> Result<()> {
    let (kernel, alpha, beta) = match f {
        Pairwise::Combine { alpha, beta } => (kernel!(op, a.dtype(), "combine_fwd")?, alpha, beta),
        Pairwise::Mul => (kernel!(op, a.dtype(), "mul_fwd")?, 1.0, 1.0),
        Pairwise::Div => (kernel!(op, a.dtype(), "div_fwd")?, 1.0, 1.0),
    };
    let params = ArithmeticParams::new(a.ptr()?, b.ptr()?, y.ptr_mut()?, y.len(), walk, alpha, beta);
    launch(gpu, kernel, y, &params)
}

pub fn affine(
    gpu: &Gpu,
    op: &'static str,
    x: &Tensor,
    alpha: f64,
    beta: f64,
    walk: &Walk,
    y: &mut Tensor,
) -> Result<()> {
    let kernel = kernel!(op, x.dtype(), "affine_fwd")?;
    let params = ArithmeticParams::new(x.ptr()?, Ptr::NULL, y.ptr_mut()?, y.len(), walk, alpha, beta);
    launch(gpu, kernel, y, &params)
}

pub fn accumulate(gpu: &Gpu, op: &'static str, sum: &mut Tensor, term: &Tensor) -> Result<()> {
    let kernel = kernel!(op, sum.dtype(), "combine_fwd")?;
    let walk = Walk::new(op, sum.shape(), &[sum.shape(), term.shape()])?;
    let at = sum.ptr_mut()?;
    let params = ArithmeticParams::new(at, term.ptr()?, at, sum.len(), &walk, 1.0, 1.0);
    launch(gpu, kernel, sum, &params)
}
