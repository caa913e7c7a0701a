//! Convolutions of bf16 images with a stride of 1 by tiles, without patches.
//!
//! A tile of the left factor is 32 channels of 16 pixels of the result, one tap away. If the image is copied once for
//! each column of the kernel, moved by that column and as wide as the result, then all pixels that a row of the kernel
//! needs follow each other, the rows of the kernel are further down in the same copy, and 16 pixels of the result are
//! 16 neighbours of a copy whatever the width. What is copied is as many times the image as the kernel has columns, and
//! not as it has taps; with the rows that neighbouring tasks both need, at most twice that.

mod forward;
mod images;
#[cfg(test)]
mod tests;
mod weight_gradient;

use half::bf16;

use super::{COLUMNS, PAIRS, ROWS, multiply};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::gemm::Factor;
use crate::backend::cpu::gemm::pairs::Pairs;
use crate::backend::cpu::gemm::rows::Matrix;
use crate::backend::cpu::{Part, amx};
use crate::error::Result;

use forward::Weights;
use images::Images;

/// Channels of a tile.
const CHANNELS: usize = 2 * amx::LANES;
/// Channels from which on tiles are worth filling.
const LEAST_CHANNELS: usize = 16;

/// Whether a result of some pixels can be made this way.
fn fits(shape: &Convolution) -> bool {
    shape.stride == 1 && shape.kernel > 1 && shape.padding < shape.kernel && shape.out_pixels() > 0
}

/// Whether this is the way to compute a convolution.
pub fn is_better(shape: &Convolution) -> bool {
    fits(shape) && forward::pays(shape.inputs, shape.kernel, shape.out_height(), shape.out_width())
}

/// Whether this is the way to compute the gradient of its input.
pub fn is_better_for_input_gradient(shape: &Convolution) -> bool {
    fits(shape) && forward::pays(shape.outputs, shape.kernel, shape.height, shape.width)
}

/// Whether this is the way to compute the gradient of its weight. Pairs of pixels are neighbours in every row only if
/// rows are even.
pub fn is_better_for_weight_gradient(shape: &Convolution) -> bool {
    fits(shape) && shape.out_width().is_multiple_of(2) && weight_gradient::pays(shape)
}

/// As [`gemm::convolve`](crate::backend::cpu::gemm::convolve), where the level is `amx` and [`is_better`] holds.
pub fn convolve(
    shape: &Convolution,
    x: &[bf16],
    (weight, part): (&[bf16], Option<Part>),
    bias: Option<&[f32]>,
    y: &mut [bf16],
) -> Result<()> {
    let (outputs, taps, inputs) = (shape.outputs, shape.taps(), shape.inputs);
    let matrix = Matrix::new(weight, outputs, taps * inputs);
    let pairs = Pairs::new(&matrix, true);
    let pack = || Weights::pack(&Factor::transposed(&pairs), outputs, taps, inputs);
    let images = Images::of_input(shape, x);
    match part {
        Some(part) => {
            let weights = part.form(|weights: &Weights| weights.are_of(outputs, taps, inputs), pack)?;
            forward::compute(&images, &weights, bias, y)
        }
        None => forward::compute(&images, &pack()?, bias, y),
    }
}

/// As [`gemm::input_gradient`](crate::backend::cpu::gemm::input_gradient), where the level is `amx` and
/// [`is_better_for_input_gradient`] holds.
pub fn input_gradient(
    shape: &Convolution,
    dy: &[bf16],
    weight: &[bf16],
    bias: Option<&[f32]>,
    dx: &mut [bf16],
) -> Result<()> {
    let reversed = shape.reversed_weight(weight);
    let pairs = Pairs::new(&reversed, false);
    let weights = Weights::pack(&Factor::plain(&pairs), shape.inputs, shape.taps(), shape.outputs)?;
    forward::compute(&Images::of_gradient(shape, dy), &weights, bias, dx)
}

/// As [`gemm::weight_gradient`](crate::backend::cpu::gemm::weight_gradient), where the level is `amx` and
/// [`is_better_for_weight_gradient`] holds.
pub fn weight_gradient(shape: &Convolution, x: &[bf16], dy: &[bf16], dw: &mut [bf16]) -> Result<()> {
    weight_gradient::compute(&Images::of_input(shape, x), dy, shape.outputs, dw)
}
