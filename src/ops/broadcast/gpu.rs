use super::{Pairwise, Walk};
use crate::backend::divisor::Divisor;
use crate::backend::gpu::{Gpu, Launch, Ptr};
use crate::backend::params::ArithmeticParams;
use crate::error::Result;
use crate::ops::{kernel, start};
use crate::tensor::Tensor;

impl ArithmeticParams {
    /// `elements` of the dtype are 16 bytes.
    fn new(a: Ptr, b: Ptr, y: Ptr, n: usize, elements: usize, walk: &Walk, alpha: f64, beta: f64) -> Self {
        let strides = |i: usize| if i < walk.strides.len() { walk.padded_strides(i) } else { [0; Walk::AXES] };
        let (a_strides, b_strides) = (strides(0), strides(1));
        let read_wide = |at: Ptr, strides: [u64; Walk::AXES]| strides[Walk::AXES - 1] == 0 || Ptr::all_wide(&[at]);
        let aligned = Ptr::all_wide(&[y]) && read_wide(a, a_strides) && read_wide(b, b_strides);
        let small = n <= i32::MAX as usize;
        let extents = walk.padded_extents();
        ArithmeticParams {
            a,
            b,
            y,
            n: n as u64,
            extents,
            a_strides,
            b_strides,
            divisors: extents.map(|extent| Divisor::new(if small { extent as u32 } else { 1 })),
            alpha: alpha as f32,
            beta: beta as f32,
            contiguous: walk.is_contiguous().into(),
            wide: (aligned && (walk.is_contiguous() || walk.has_whole_vectors(elements))).into(),
            small: small.into(),
            unused: 0,
        }
    }
}

fn launch(gpu: &Gpu, kernel: &'static str, y: &Tensor, params: &ArithmeticParams) -> Result<()> {
    let per_thread = if params.wide == 0 { 4 } else { vector(y) };
    start(gpu, &Launch::over(kernel, y.len().div_ceil(per_thread)), params)
}

/// Elements in 16 bytes.
fn vector(x: &Tensor) -> usize {
    16 / x.dtype().size()
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
    let params =
        ArithmeticParams::new(a.ptr(gpu)?, b.ptr(gpu)?, y.ptr_mut(gpu)?, y.len(), vector(y), walk, alpha, beta);
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
    let params = ArithmeticParams::new(x.ptr(gpu)?, Ptr::NULL, y.ptr_mut(gpu)?, y.len(), vector(y), walk, alpha, beta);
    launch(gpu, kernel, y, &params)
}

pub fn accumulate(gpu: &Gpu, op: &'static str, sum: &mut Tensor, term: &Tensor) -> Result<()> {
    let kernel = kernel!(op, sum.dtype(), "combine_fwd")?;
    let walk = Walk::new(op, sum.shape(), &[sum.shape(), term.shape()])?;
    let at = sum.ptr_mut(gpu)?;
    let params = ArithmeticParams::new(at, term.ptr(gpu)?, at, sum.len(), vector(sum), &walk, 1.0, 1.0);
    launch(gpu, kernel, sum, &params)
}
