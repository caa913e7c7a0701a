//! Convolutions by Hopper's own instructions: 128 pixels of the result are whole rows of one image or whole images, so
//! that for each tap the pixels that they are made of are one box of the input, zeros outside.

use super::pass::Pass;
use crate::backend::convolution::Convolution;
use crate::backend::divisor::Divisor;
use crate::backend::gpu::{Gpu, Launch};
use crate::backend::params::{Conv2dHopperParams, Conv2dTurnParams};
use crate::backend::tensor_map::Boxes;
use crate::error::Result;
use crate::ops::product::hopper::{DEPTH, ROWS, Team};
use crate::ops::product::operands::{address, is_wide, small};
use crate::ops::start;
use crate::tensor::{DType, Tensor};

/// How a pass walks over images.
struct Walk {
    /// Of the images that patches are taken from.
    height: usize,
    width: usize,
    channels: usize,
    /// Of the result.
    grid_height: usize,
    grid_width: usize,
    padding: i32,
}

impl Walk {
    fn of(pass: Pass, s: &Convolution) -> Walk {
        match pass {
            Pass::InputGradient => Walk {
                height: s.out_height(),
                width: s.out_width(),
                channels: s.outputs,
                grid_height: s.height,
                grid_width: s.width,
                padding: s.kernel as i32 - 1 - s.padding as i32,
            },
            _ => Walk {
                height: s.height,
                width: s.width,
                channels: s.inputs,
                grid_height: s.out_height(),
                grid_width: s.out_width(),
                padding: s.padding as i32,
            },
        }
    }

    /// Rows and images of a tile's box, if a tile is whole rows of one image, or whole images.
    fn box_of(&self) -> Option<[usize; 2]> {
        let rows = ROWS.checked_div(self.grid_width).filter(|rows| rows * self.grid_width == ROWS)?;
        match rows <= self.grid_height {
            true => self.grid_height.is_multiple_of(rows).then_some([rows, 1]),
            false => rows.is_multiple_of(self.grid_height).then_some([self.grid_height, rows / self.grid_height]),
        }
    }
}

/// Whether a pass is one that the kernel takes: of patches side by side, and of whole 64 channels.
pub fn takes(gpu: &Gpu, pass: Pass, shape: &Convolution, image: &Tensor, weight: &Tensor) -> Result<bool> {
    let walk = Walk::of(pass, shape);
    let shapes = pass != Pass::WeightGradient
        && shape.stride == 1
        && walk.channels > 0
        && walk.channels.is_multiple_of(DEPTH)
        && walk.box_of().is_some()
        && image.dtype() == DType::BF16;
    Ok(shapes && is_wide(image.ptr(gpu)?, walk.channels, DType::BF16) && is_wide(weight.ptr(gpu)?, 8, DType::BF16))
}

/// The pass, which the kernel [takes].
pub fn run(
    gpu: &Gpu,
    team: Team,
    op: &'static str,
    pass: Pass,
    shape: &Convolution,
    image: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    result: &mut Tensor,
) -> Result<()> {
    let turned = match pass {
        Pass::InputGradient => Some(turned(gpu, op, shape, weight)?),
        _ => None,
    };
    let weight = turned.as_ref().unwrap_or(weight);
    let (sizes, walk) = (pass.sizes(shape), Walk::of(pass, shape));
    let number = |size: usize| small(op, size);
    let Walk { height, width, channels, grid_height, grid_width, padding } = walk;
    let [rows, images] = walk.box_of().unwrap_or([1, 1]);
    let strides = [channels, width * channels, height * width * channels];
    let patches = Boxes {
        address: image.ptr(gpu)?,
        extents: [channels, width, height, shape.batch].map(|extent| extent as u64).into(),
        strides: strides.map(|stride| 2 * stride as u64).into(),
        size: [DEPTH, grid_width, rows, images].map(|size| size as u32).into(),
        swizzled: true,
    };
    let weights = Boxes {
        address: weight.ptr(gpu)?,
        extents: vec![sizes.k as u64, sizes.n as u64],
        strides: vec![2 * sizes.k as u64],
        size: vec![DEPTH as u32, team.columns() as u32],
        swizzled: true,
    };
    let tiles = team.tiles(sizes);
    number(team.blocks * tiles)?;
    let result_at = result.ptr_mut(gpu)?;
    let params = Conv2dHopperParams {
        image: gpu.tensor_map(&patches)?,
        weight: gpu.tensor_map(&weights)?,
        bias: address(gpu, bias)?,
        result: result_at,
        pixels: Divisor::new(number(grid_height * grid_width)?),
        line: Divisor::new(number(grid_width)?),
        blocks: Divisor::new(number(channels / DEPTH)?),
        kernel: Divisor::new(number(shape.kernel)?),
        m: number(sizes.m)?,
        n: number(sizes.n)?,
        steps: number(sizes.k / DEPTH)?,
        tiles: number(tiles)?,
        padding,
        wide_result: is_wide(result_at, sizes.n, result.dtype()).into(),
        unused: [0; 14],
    };
    let kernels = ["conv2d_fwd_hopper_bf16", "conv2d_fwd_hopper_cluster_bf16"];
    start(gpu, &team.launch(kernels, tiles), &params)
}

/// The weight `[out, kernel, kernel, in]` as `[in, kernel, kernel, out]` with its taps reversed: the gradient of the
/// input is the convolution of `dy` with that.
fn turned(gpu: &Gpu, op: &'static str, shape: &Convolution, weight: &Tensor) -> Result<Tensor> {
    let mut turned =
        Tensor::empty([shape.inputs, shape.kernel, shape.kernel, shape.outputs], weight.dtype(), &weight.device())?;
    let params = Conv2dTurnParams {
        w: weight.ptr(gpu)?,
        y: turned.ptr_mut(gpu)?,
        outputs: small(op, shape.outputs)?,
        inputs: small(op, shape.inputs)?,
        taps: small(op, shape.taps())?,
        unused: 0,
    };
    // 32 x 32 elements of a tap each.
    let tiles = small(op, shape.outputs.div_ceil(32) * shape.inputs.div_ceil(32) * shape.taps())?;
    start(gpu, &Launch::blocks("conv2d_bwd_input_turn_bf16", [tiles.min(1 << 16), 1, 1], 256), &params)?;
    Ok(turned)
}
