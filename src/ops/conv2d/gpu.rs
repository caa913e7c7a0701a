use super::pass::Pass;
use super::{hopper, hopper_weight};
use crate::backend::convolution::Convolution;
use crate::backend::divisor::Divisor;
use crate::backend::gpu::Gpu;
use crate::backend::params::Conv2dParams;
use crate::error::Result;
use crate::ops::kernel;
use crate::ops::product::gpu::Tiling;
use crate::ops::product::hopper::{Team, pays};
use crate::ops::product::operands::{address, address_mut, is_wide, small};
use crate::tensor::{DType, Tensor};

/// The kernel for all GPUs.
fn kernel(pass: Pass, op: &'static str, dtype: DType, large: bool) -> Result<&'static str> {
    match (pass, large) {
        (Pass::Forward, true) => kernel!(op, dtype, "conv2d_fwd_large"),
        (Pass::Forward, false) => kernel!(op, dtype, "conv2d_fwd_small"),
        (Pass::InputGradient, true) => kernel!(op, dtype, "conv2d_bwd_input_large"),
        (Pass::InputGradient, false) => kernel!(op, dtype, "conv2d_bwd_input_small"),
        (Pass::WeightGradient, true) => kernel!(op, dtype, "conv2d_bwd_weight_large"),
        (Pass::WeightGradient, false) => kernel!(op, dtype, "conv2d_bwd_weight_small"),
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
    best(gpu, op, Pass::Forward, shape, x, w, bias, y)
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
    best(gpu, op, Pass::InputGradient, shape, dy, w, bias, dx)
}

/// By the kernel for Hopper, where there is one and it takes the shapes, or by that for all GPUs.
fn best(
    gpu: &Gpu,
    op: &'static str,
    pass: Pass,
    shape: &Convolution,
    image: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    result: &mut Tensor,
) -> Result<()> {
    let sizes = pass.sizes(shape);
    match pays(gpu, result.dtype(), sizes) {
        Some(found) if hopper::takes(gpu, pass, shape, image, weight)? => {
            hopper::run(gpu, Team::of(found, sizes), op, pass, shape, image, weight, bias, result)
        }
        _ => run(gpu, op, pass, shape, image, weight, bias, Tiling::of(sizes), result),
    }
}

pub fn weight_gradient(
    gpu: &Gpu,
    op: &'static str,
    shape: &Convolution,
    dy: &Tensor,
    x: &Tensor,
    dw: &mut Tensor,
) -> Result<()> {
    match hopper_weight::pays(gpu, dw.dtype(), shape) {
        Some((found, cut)) if hopper_weight::takes(gpu, shape, dy, x)? => {
            let team = Team::of(found, Pass::WeightGradient.sizes(shape));
            hopper_weight::run(gpu, team, cut, op, shape, dy, x, dw)
        }
        _ => {
            let tiling = Tiling::of(Pass::WeightGradient.sizes(shape));
            run(gpu, op, Pass::WeightGradient, shape, x, dy, None, tiling, dw)
        }
    }
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
    let kernel = kernel(pass, op, dtype, tiling.large)?;
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
