//! The gradient of a convolution's weight by Hopper's own instructions: tiles of 128 outputs by four blocks of 64
//! channels, each of one tap, of 64 pixels at a time, whose box of the image is moved by the tap. The depth, which is
//! all pixels of all images, is cut into parts, so that every multiprocessor has something to do.

use super::pass::Pass;
use crate::backend::convolution::Convolution;
use crate::backend::divisor::Divisor;
use crate::backend::gpu::{Gpu, Hopper};
use crate::backend::params::Conv2dWeightHopperParams;
use crate::backend::tensor_map::Boxes;
use crate::error::Result;
use crate::ops::product::Sizes;
use crate::ops::product::gpu::sum_parts;
use crate::ops::product::hopper::{self, COLUMNS, DEPTH, FULL, LEAST, ROWS, Team};
use crate::ops::product::operands::{address_mut, is_wide, small};
use crate::ops::start;
use crate::tensor::{DType, Tensor};

/// Channels of a block: what is swizzled together.
const BLOCK: usize = 64;
/// Blocks of threads that run side by side on a large GPU, whatever this one has: the bits of the result are to depend
/// on the shapes alone.
const SIDE_BY_SIDE: usize = 132;
/// Parts at most, and steps of 64 pixels that a part has at least: its sums cost a write and a read of fp32 each.
const PARTS: usize = 32;
const STEPS: usize = 4;
/// What a part's tile costs besides its steps, in steps: 128 KiB are written, and read again.
const SUMS: usize = 10;

/// Pixels, rows and images of the box that 64 pixels of the result are made from, if these are a part of one row, whole
/// rows of one image, or whole images.
fn box_of(shape: &Convolution) -> Option<[usize; 3]> {
    let (height, width) = (shape.out_height(), shape.out_width());
    if width > 0 && width.is_multiple_of(DEPTH) {
        return Some([DEPTH, 1, 1]);
    }
    let rows = DEPTH.checked_div(width).filter(|rows| rows * width == DEPTH)?;
    match rows <= height {
        true => height.is_multiple_of(rows).then_some([width, rows, 1]),
        false => rows.is_multiple_of(height).then_some([width, height, rows / height]),
    }
}

/// How the depth is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub parts: usize,
    /// Steps of 64 pixels of a part; the last one may have fewer.
    pub steps: usize,
}

impl Cut {
    /// About `parts` parts of so many steps, which are some.
    pub fn new(steps: usize, parts: usize) -> Cut {
        let each = steps.div_ceil(parts.max(1)).max(1);
        Cut { parts: steps.div_ceil(each), steps: each }
    }

    /// The one that is done first: every round of tiles that run side by side takes as long as a tile.
    fn of(sizes: Sizes) -> Cut {
        let (tiles, steps) = (hopper::tiles(sizes), sizes.k.div_ceil(DEPTH));
        let most = (steps / STEPS).clamp(1, PARTS);
        let time = |cut: &Cut| (tiles * cut.parts).div_ceil(SIDE_BY_SIDE) * (cut.steps + SUMS);
        // Of equally good ones the first, which has fewest sums.
        (1..=most).map(|parts| Cut::new(steps, parts)).min_by_key(time).unwrap_or(Cut::new(steps, 1))
    }
}

/// The GPU and how the depth is cut, if it is a Hopper that makes gradients of weights so, and this one is worth its
/// large tiles. Depends on device and sizes alone, and so do the bits of the result.
pub fn pays(gpu: &Gpu, dtype: DType, shape: &Convolution) -> Option<(Hopper, Cut)> {
    let found = gpu.hopper().filter(|hopper| hopper.asked.weight_gradients && dtype == DType::BF16)?;
    let sizes = Pass::WeightGradient.sizes(shape);
    let cut = Cut::of(sizes);
    (sizes.k > 0 && hopper::tiles(sizes) * cut.parts >= LEAST && hopper::fill(sizes) >= FULL).then_some((found, cut))
}

/// Whether a gradient is one that the kernel takes: of patches side by side, of whole 64 channels of the image.
pub fn takes(gpu: &Gpu, shape: &Convolution, dy: &Tensor, x: &Tensor) -> Result<bool> {
    let shapes = shape.stride == 1
        && shape.inputs > 0
        && shape.inputs.is_multiple_of(BLOCK)
        && box_of(shape).is_some()
        && x.dtype() == DType::BF16;
    let wide = is_wide(x.ptr(gpu)?, shape.inputs, DType::BF16) && is_wide(dy.ptr(gpu)?, shape.outputs, DType::BF16);
    Ok(shapes && wide)
}

/// The gradient, which the kernel [takes].
pub fn run(
    gpu: &Gpu,
    team: Team,
    cut: Cut,
    op: &'static str,
    shape: &Convolution,
    dy: &Tensor,
    x: &Tensor,
    dw: &mut Tensor,
) -> Result<()> {
    let sizes = Pass::WeightGradient.sizes(shape);
    let number = |size: usize| small(op, size);
    let Convolution { batch, height, width, inputs, outputs, .. } = *shape;
    let [across, rows, images] = box_of(shape).unwrap_or([1; 3]);
    let image = Boxes {
        address: x.ptr(gpu)?,
        extents: [inputs, width, height, batch].map(|extent| extent as u64).into(),
        strides: [inputs, width * inputs, height * width * inputs].map(|stride| 2 * stride as u64).into(),
        size: [BLOCK, across, rows, images].map(|size| size as u32).into(),
        swizzled: true,
    };
    let gradient = Boxes {
        address: dy.ptr(gpu)?,
        extents: vec![outputs as u64, sizes.k as u64],
        strides: vec![2 * outputs as u64],
        size: vec![BLOCK as u32, DEPTH as u32],
        swizzled: true,
    };
    let tiles = team.tiles(sizes);
    let Cut { parts: count, steps: steps_per_part } = cut;
    let parts = [1, count, sizes.m, sizes.n];
    let mut parts = (count > 1).then(|| Tensor::empty(parts, DType::F32, &dw.device())).transpose()?;
    let result = dw.ptr_mut(gpu)?;
    let params = Conv2dWeightHopperParams {
        image: gpu.tensor_map(&image)?,
        dy: gpu.tensor_map(&gradient)?,
        result,
        parts: address_mut(gpu, parts.as_mut())?,
        pixels: Divisor::new(number(shape.out_height() * shape.out_width())?),
        line: Divisor::new(number(shape.out_width())?),
        blocks: Divisor::new(number(inputs / BLOCK)?),
        kernel: Divisor::new(number(shape.kernel)?),
        tiles: Divisor::new(number(tiles)?),
        m: number(sizes.m)?,
        n: number(sizes.n)?,
        k: number(sizes.k)?,
        steps_per_part: number(steps_per_part)?,
        count: number(count)?,
        padding: shape.padding as i32,
        wide_result: is_wide(result, sizes.n, dw.dtype()).into(),
        unused: [0; 11],
    };
    // The pixel from which the last step begins is counted in 32 bits.
    number(sizes.k.next_multiple_of(DEPTH))?;
    number(team.blocks * tiles * count)?;
    let kernels = ["conv2d_bwd_weight_hopper_bf16", "conv2d_bwd_weight_hopper_cluster_bf16"];
    start(gpu, &team.launch(kernels, tiles * count), &params)?;
    match parts {
        Some(parts) => sum_parts(gpu, op, &parts, None, dw),
        None => Ok(()),
    }
}

const _: () = assert!(ROWS.is_multiple_of(BLOCK) && COLUMNS.is_multiple_of(BLOCK));
