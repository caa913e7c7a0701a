//! The three products of a convolution: by tiles where there are such, by fewer multiplications where that is faster,
//! or straight from the images.

#[cfg(target_arch = "x86_64")]
use super::amx::convolution as tiles;
use super::rows::{Matrix, Rows, Stored};
use super::{Factor, Product, spread, winograd};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::Part;
use crate::backend::cpu::isa::Isa;
use crate::error::Result;

/// `y = conv(x, weight) + bias`: `x` `[batch, height, width, inputs]`, `weight` `[outputs, kernel, kernel, inputs]`,
/// `y` `[batch, out_height, out_width, outputs]`. With the weight comes the part of a buffer that it is, if what is
/// made of it may be kept there.
///
/// Errors as [`Product::write`] does. Panics if a slice is too short: shapes are checked by the operation that calls.
pub(crate) fn convolve<T: Stored>(
    shape: &Convolution,
    x: &[T],
    (weight, part): (&[T], Option<Part>),
    bias: Option<&[T::Sum]>,
    y: &mut [T],
) -> Result<()> {
    let isa = Isa::current();
    #[cfg(not(target_arch = "x86_64"))]
    let _ = part;
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Amx
        && tiles::is_better(shape)
        && let (Some(x), Some(weight), Some(y)) = (T::as_halves(x), T::as_halves(weight), T::as_halves_mut(y))
    {
        return tiles::convolve(shape, x, (weight, part), bias.map(bytemuck::cast_slice), y);
    }
    match takes_winograd::<T>(shape, isa) {
        true => winograd::convolve(shape, x, weight, bias, y, isa),
        false => direct::convolve(shape, x, weight, bias, y, isa),
    }
}

/// `dx = ` the gradient with respect to the input, from `dy` and `weight`, plus one value of `bias` for each input
/// channel. Errors and panics as [`convolve`] does.
pub(crate) fn input_gradient<T: Stored>(
    shape: &Convolution,
    dy: &[T],
    weight: &[T],
    bias: Option<&[T::Sum]>,
    dx: &mut [T],
) -> Result<()> {
    let isa = Isa::current();
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Amx
        && tiles::is_better_for_input_gradient(shape)
        && let (Some(dy), Some(weight), Some(dx)) = (T::as_halves(dy), T::as_halves(weight), T::as_halves_mut(dx))
    {
        return tiles::input_gradient(shape, dy, weight, bias.map(bytemuck::cast_slice), dx);
    }
    match takes_winograd::<T>(shape, isa) {
        true => winograd::input_gradient(shape, dy, weight, bias, dx, isa),
        false => direct::input_gradient(shape, dy, weight, bias, dx, isa),
    }
}

/// `dw = ` the gradient with respect to the weight, from `x` and `dy`. Errors and panics as [`convolve`] does.
pub(crate) fn weight_gradient<T: Stored>(shape: &Convolution, x: &[T], dy: &[T], dw: &mut [T]) -> Result<()> {
    let isa = Isa::current();
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Amx
        && tiles::is_better_for_weight_gradient(shape)
        && let (Some(x), Some(dy), Some(dw)) = (T::as_halves(x), T::as_halves(dy), T::as_halves_mut(dw))
    {
        return tiles::weight_gradient(shape, x, dy, dw);
    }
    match takes_winograd::<T>(shape, isa) {
        true => winograd::weight_gradient(shape, x, dy, dw, isa),
        false => direct::weight_gradient(shape, x, dy, dw, isa),
    }
}

/// Channels from which on tiles are faster than fewer multiplications.
const LEAST_CHANNELS_FOR_TILES: usize = 32;

/// Whether a convolution and its gradients are computed by Winograd's way, which for bf16 multiplies in f32: a quarter
/// of the multiplications, of which a processor with tiles can do sixteen times as many in bf16.
///
/// What the direct way needs beside its products are patches, each number of them copied once for as many products as
/// there are channels on the other side: with few channels it is the copying that takes the time. Most convolutions
/// that tiles are good for do without patches, and have been taken before this is asked.
pub(super) fn takes_winograd<T: Stored>(shape: &Convolution, isa: Isa) -> bool {
    let bf16 = T::as_halves(&[]).is_some();
    let tiles = bf16 && isa >= Isa::Amx && shape.inputs.min(shape.outputs) >= LEAST_CHANNELS_FOR_TILES;
    !tiles && winograd::is_better::<T>(shape)
}

/// Straight from the images: products of patches.
pub(super) mod direct {
    use super::{Convolution, Factor, Isa, Matrix, Product, Result, Rows, Stored, spread};

    /// Whether the patches are the pixels, so that an image can be read as a matrix.
    fn is_pointwise(shape: &Convolution) -> bool {
        shape.kernel == 1 && shape.stride == 1 && shape.padding == 0
    }

    /// As [`convolve`](super::convolve).
    pub fn convolve<T: Stored>(
        shape: &Convolution,
        x: &[T],
        weight: &[T],
        bias: Option<&[T::Sum]>,
        y: &mut [T],
        isa: Isa,
    ) -> Result<()> {
        let weight = Matrix::new(weight, shape.outputs, shape.taps() * shape.inputs);
        let multiply = |x: &dyn Rows<T::Sum>, y: &mut [T]| {
            Product::new(Factor::plain(x), Factor::transposed(&weight)).on(isa).plus(bias).write(y, shape.outputs)
        };
        if is_pointwise(shape) {
            multiply(&Matrix::new(x, shape.in_pixels(), shape.inputs), y)
        } else {
            multiply(&shape.patches(x), y)
        }
    }

    /// As [`input_gradient`](super::input_gradient).
    pub fn input_gradient<T: Stored>(
        shape: &Convolution,
        dy: &[T],
        weight: &[T],
        bias: Option<&[T::Sum]>,
        dx: &mut [T],
        isa: Isa,
    ) -> Result<()> {
        if spread::is_better(shape) {
            return spread::input_gradient(shape, dy, weight, bias, dx, isa);
        }
        let weight = shape.reversed_weight(weight);
        let multiply = |dy: &dyn Rows<T::Sum>, dx: &mut [T]| {
            Product::new(Factor::plain(dy), Factor::plain(&weight)).on(isa).plus(bias).write(dx, shape.inputs)
        };
        if is_pointwise(shape) {
            multiply(&Matrix::new(dy, shape.out_pixels(), shape.outputs), dx)
        } else {
            multiply(&shape.gradient_patches(dy), dx)
        }
    }

    /// As [`weight_gradient`](super::weight_gradient).
    pub fn weight_gradient<T: Stored>(shape: &Convolution, x: &[T], dy: &[T], dw: &mut [T], isa: Isa) -> Result<()> {
        let dy = Matrix::new(dy, shape.out_pixels(), shape.outputs);
        let multiply = |x: &dyn Rows<T::Sum>, dw: &mut [T]| {
            Product::new(Factor::transposed(&dy), Factor::plain(x)).on(isa).write(dw, shape.taps() * shape.inputs)
        };
        if is_pointwise(shape) {
            multiply(&Matrix::new(x, shape.in_pixels(), shape.inputs), dw)
        } else {
            multiply(&shape.patches(x), dw)
        }
    }
}
