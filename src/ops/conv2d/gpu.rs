use crate::backend::convolution::Convolution;
use crate::backend::divisor::Divisor;
use crate::backend::gpu::Gpu;
use crate::backend::params::Conv2dParams;
use crate::error::Result;
use crate::ops::kernel;
use crate::ops::product::Sizes;
use crate::ops::product::gpu::{Tiling, address, address_mut, is_wide, small};
use crate::tensor::{DType, Tensor};

/// Which of the three products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

impl Pass {
    pub fn sizes(self, s: &Convolution) -> Sizes {
        let (m, n, k) = match self {
            Pass::Forward => (s.out_pixels(), s.outputs, s.taps() * s.inputs),
            Pass::InputGradient => (s.in_pixels(), s.inputs, s.taps() * s.outputs),
            Pass::WeightGradient => (s.outputs, s.taps() * s.inputs, s.out_pixels()),
        };
        Sizes { batch: 1, m, n, k }
    }

    fn kernel(self, op: &'static str, dtype: DType, large: bool) -> Result<&'static str> {
        match (self, large) {
            (Pass::Forward, true) => kernel!(op, dtype, "conv2d_fwd_large"),
            (Pass::Forward, false) => kernel!(op, dtype, "conv2d_fwd_small"),
            (Pass::InputGradient, true) => kernel!(op, dtype, "conv2d_bwd_input_large"),
            (Pass::InputGradient, false) => kernel!(op, dtype, "conv2d_bwd_input_small"),
            (Pass::WeightGradient, true) => kernel!(op, dtype, "conv2d_bwd_weight_large"),
            (Pass::WeightGradient, false) => kernel!(op, dtype, "conv2d_bwd_weight_small"),
        }
    }
}

pub fn forward(
    gpu: &Gpu,
    op: &'static str,
    shape: &Convolution,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    y: &mut Tensor,
) -> Result<()> {
    let tiling = Tiling::of(Pass::Forward.sizes(shape));
    run(gpu, op, Pass::Forward, shape, x, w, bias, tiling, y)
}

pub fn input_gradient(
    gpu: &Gpu,
    op: &'static str,
    shape: &Convolution,
    dy: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    dx: &mut Tensor,
) -> Result<()> {
    let tiling = Tiling::of(Pass::InputGradient.sizes(shape));
    run(gpu, op, Pass::InputGradient, shape, dy, w, bias, tiling, dx)
}

pub fn weight_gradient(
    gpu: &Gpu,
    op: &'static str,
    shape: &Convolution,
    dy: &Tensor,
    x: &Tensor,
    dw: &mut Tensor,
) -> Result<()> {
    let tiling = Tiling::of(Pass::WeightGradient.sizes(shape));
    run(gpu, op, Pass::WeightGradient, shape, x, dy, None, tiling, dw)
}

/// `image` is what patches are taken from, `other` the weight or the gradient that they are multiplied with.
#[expect(clippy::too_many_arguments, reason = "a convolution has this many properties")]
pub(super) fn run(
    gpu: &Gpu,
    op: &'static str,
    pass: Pass,
    shape: &Convolution,
    image: &Tensor,
    other: &Tensor,
    bias: Option<&Tensor>,
    tiling: Tiling,
    result: &mut Tensor,
) -> Result<()> {
    let (sizes, dtype) = (pass.sizes(shape), result.dtype());
    let kernel = pass.kernel(op, dtype, tiling.large)?;
    let mut parts = tiling.scratch(sizes, result)?;
    let number = |size: usize| small(op, size);
    let (image_at, other_at, result_at) = (image.ptr(gpu)?, other.ptr(gpu)?, result.ptr_mut(gpu)?);
    let backward = pass == Pass::InputGradient;
    let (height, width, channels) = match backward {
        true => (shape.out_height(), shape.out_width(), shape.outputs),
        false => (shape.height, shape.width, shape.inputs),
    };
    let (grid_height, grid_width) = match backward {
        true => (shape.height, shape.width),
        false => (shape.out_height(), shape.out_width()),
    };
    // The rows that the other operand is read along: the weight's depth, its inputs, or the gradient's outputs.
    let other_row = match pass {
        Pass::Forward => sizes.k,
        Pass::InputGradient => shape.inputs,
        Pass::WeightGradient => shape.outputs,
    };
    let params = Conv2dParams {
        image: image_at,
        other: other_at,
        bias: address(gpu, bias)?,
        result: result_at,
        parts: address_mut(gpu, parts.as_mut())?,
        m: number(sizes.m)?,
        n: number(sizes.n)?,
        k: number(sizes.k)?,
        depth_per_part: number(tiling.depth_per_part)?,
        height: number(height)?,
        width: number(width)?,
        channels: Divisor::new(number(channels)?),
        grid_height: Divisor::new(number(grid_height)?),
        grid_width: Divisor::new(number(grid_width)?),
        kernel: Divisor::new(number(shape.kernel)?),
        outputs: Divisor::new(number(shape.outputs)?),
        inputs: number(shape.inputs)?,
        step: if backward { 1 } else { number(shape.stride)? },
        spread: if backward { number(shape.stride)? } else { 1 },
        padding: if backward { shape.kernel as i32 - 1 - shape.padding as i32 } else { shape.padding as i32 },
        wide_image: is_wide(image_at, channels, dtype).into(),
        wide_other: is_wide(other_at, other_row, dtype).into(),
        wide_result: is_wide(result_at, sizes.n, dtype).into(),
        taps: number(shape.taps())?,
    };
    tiling.run(gpu, op, kernel, sizes, &params, parts.as_ref(), bias, result)
}
