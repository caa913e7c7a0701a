//! The input gradient of a convolution with a stride or few channels: what each pixel of the result's gradient gives to
//! the pixels under the kernel, and the sum of what each pixel is given.
//!
//! Read as patches (`patches.rs`), that gradient would have `stride - 1` zeros between its pixels, and all but one in
//! `stride^2` multiplications would be with zeros; and the product would have as few columns as the image has channels,
//! where the kernels of products fill vectors with columns.

use super::rows::{Matrix, Stored};
use super::scratch::Scratch;
use super::{Factor, Product};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::isa::{Isa, Kernel};
use crate::backend::cpu::parallel::{parts, with_vector_instructions};
use crate::error::Result;

/// Shares that are made before they are added up: what a processor's cache may hold, and enough for a product to be
/// fast.
const AT_ONCE: usize = 1 << 20;

/// So many channels or fewer are few.
const NARROW: usize = 8;

/// Shares of one image that are worth their memory.
const MOST: usize = 1 << 24;

/// Whether this is the way to compute the gradient.
pub(super) fn is_better(shape: &Convolution) -> bool {
    let shares = (shape.out_height() * shape.out_width()).saturating_mul(shape.taps() * shape.inputs);
    let apart = shape.stride > 1 || shape.kernel > 1 && shape.inputs <= NARROW;
    apart && shape.outputs > 0 && (1..=MOST).contains(&shares)
}

/// As [`input_gradient`](super::input_gradient), where [`is_better`] holds.
pub(super) fn input_gradient<T: Stored>(
    shape: &Convolution,
    dy: &[T],
    weight: &[T],
    bias: Option<&[T::Sum]>,
    dx: &mut [T],
    isa: Isa,
) -> Result<()> {
    let (pixels, row) = (shape.out_height() * shape.out_width(), shape.taps() * shape.inputs);
    let images = (AT_ONCE / (pixels * row)).clamp(1, shape.batch.max(1));
    let weight = Matrix::new(weight, shape.outputs, row);
    let mut scratch = Scratch::of::<T::Sum>(images * pixels * row)?;
    let dy = dy[..shape.out_pixels() * shape.outputs].chunks(images * pixels * shape.outputs);
    let dx = dx[..shape.in_pixels() * shape.inputs].chunks_mut(images * shape.height * shape.width * shape.inputs);
    for (dy, dx) in dy.zip(dx) {
        let rows = dy.len() / shape.outputs;
        let dy = Matrix::new(dy, rows, shape.outputs);
        let shares = &mut scratch.as_mut::<T::Sum>()[..rows * row];
        Product::new(Factor::plain(&dy), Factor::plain(&weight)).on(isa).write(shares, row)?;
        let (line, shares) = (shape.width * shape.inputs, &*shares);
        let lines = (AT_ONCE / 64 / line).max(1);
        let work = lines * line * shape.taps().div_ceil(shape.stride * shape.stride);
        parts(dx, lines * line, work, &|i, dx| {
            with_vector_instructions(AddShares { shape, shares, bias, first: i * lines, dx });
        });
    }
    Ok(())
}

/// Adds up the shares of rows of `dx` from row `first` on.
struct AddShares<'a, T: Stored> {
    shape: &'a Convolution,
    /// `[images, out_height, out_width, kernel, kernel, inputs]`
    shares: &'a [T::Sum],
    bias: Option<&'a [T::Sum]>,
    first: usize,
    dx: &'a mut [T],
}

impl<T: Stored> Kernel for AddShares<'_, T> {
    #[inline(always)]
    fn run(self) {
        let AddShares { shape, shares, bias, first, dx } = self;
        let &Convolution { inputs, kernel, stride, padding, .. } = shape;
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        let span = kernel * inputs;
        let mut sums = vec![<T::Sum as super::rows::Sum>::ZERO; shape.width * inputs];
        for (line, dx) in dx.chunks_exact_mut(sums.len()).enumerate() {
            let (image, i) = ((first + line) / shape.height, (first + line) % shape.height + padding);
            match bias {
                Some(bias) => sums.chunks_exact_mut(inputs).for_each(|sums| sums.copy_from_slice(bias)),
                None => sums.fill(<T::Sum as super::rows::Sum>::ZERO),
            }
            // The rows of dy whose kernel reaches this row, each with one row of the kernel.
            for a in (i + 1).saturating_sub(kernel).div_ceil(stride)..(i / stride + 1).min(out_height) {
                let of_row = (image * out_height + a) * out_width;
                let tap_row = (i - a * stride) * span;
                for b in 0..out_width {
                    let share = &shares[(of_row + b) * kernel * span + tap_row..][..span];
                    // What lies beyond the borders falls away.
                    let left = b * stride * inputs;
                    let before = (padding * inputs).saturating_sub(left).min(span);
                    let start = (left + before).saturating_sub(padding * inputs).min(sums.len());
                    let share = &share[before..];
                    sums[start..].iter_mut().zip(share).for_each(|(sum, &share)| *sum += share);
                }
            }
            dx.iter_mut().zip(&sums).for_each(|(dx, &sum)| *dx = T::round(sum));
        }
    }
}
