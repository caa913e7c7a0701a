//! Convolutions with kernels of 3x3 by fewer multiplications: F(4x4, 3x3) of Winograd (Lavin & Gray 2016, arXiv
//! 1509.09308).
//!
//! Images are cut into tiles of 4x4 pixels of the result. A tile's 6x6 pixels of the input, and the nine weights of
//! each pair of channels, are transformed to 36 numbers; of these, 36 products of matrices are taken (a tile a row,
//! channels summed over), and from them come the 16 pixels: 36 multiplications in place of 144. The gradient of the
//! input is such a convolution again; that of the weights sums over the tiles in the same transformed space, F(3x3,
//! 4x4).
//!
//! Results are three to four times as far off as those of the direct way, at most five times (`tests.rs`): some 1e-6 of
//! their size in f32. A number that is not finite spoils up to all 16 pixels of a tile that sees it; the direct way the
//! 9 around it. `VERIDICAL_WINOGRAD=off` forbids this way.

mod filter;
mod forward;
mod lanes;
mod layout;
mod transforms;
mod weight_gradient;
mod windows;

#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use super::rows::{Stored, Sum};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::isa::Isa;
use crate::backend::switch;
use crate::error::Result;

use filter::Filter;
use windows::{Tiles, Windows};

/// Pixels of a side of a tile of the result.
const TILE: usize = 4;
/// Pixels of a side of what a tile is made from.
const WINDOW: usize = 6;
/// Products of matrices.
const FREQUENCIES: usize = WINDOW * WINDOW;
/// Channels, and pairs of them, from which on the transforms are worth their time, and tiles from which on that of the
/// weights is.
const LEAST_CHANNELS: usize = 16;
const LEAST_PAIRS: usize = 512;
const LEAST_TILES: usize = 16;
/// Tiles across an image beyond which a band of them does not stay in cache.
const MOST_ACROSS: usize = 128;

/// Whether this is the way to compute a convolution and its gradients, for sums of this type.
pub(super) fn is_better<T: Stored>(shape: &Convolution) -> bool {
    T::Sum::MAY_BE_FAST && fits(shape) && pays(shape) && is_allowed()
}

/// Whether `VERIDICAL_WINOGRAD` leaves this way open: it does unless it is `off`.
pub fn is_allowed() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    *ALLOWED.get_or_init(|| switch::is_on("VERIDICAL_WINOGRAD", true))
}

/// Whether the shape is one that this is made for.
fn fits(shape: &Convolution) -> bool {
    shape.kernel == 3 && shape.stride == 1 && shape.padding <= 2 && shape.out_pixels() > 0
}

/// Whether there are channels and tiles enough, not too many in a band, and these not mostly outside of the images.
fn pays(shape: &Convolution) -> bool {
    let (height, width) = (shape.out_height(), shape.out_width());
    let tiles = height.div_ceil(TILE) * width.div_ceil(TILE);
    let narrow = shape.inputs.min(shape.outputs) < LEAST_CHANNELS || shape.inputs * shape.outputs < LEAST_PAIRS;
    let few = narrow || shape.batch * tiles < LEAST_TILES;
    let wide = shape.width.max(width) > MOST_ACROSS * TILE;
    !few && !wide && 2 * FREQUENCIES * tiles <= 9 * height * width
}

/// As [`convolve`](super::convolve), where [`is_better`] holds.
pub(super) fn convolve<T: Stored>(
    shape: &Convolution,
    x: &[T],
    weight: &[T],
    bias: Option<&[T::Sum]>,
    y: &mut [T],
    isa: Isa,
) -> Result<()> {
    let tiles = Tiles::new(shape.batch, shape.out_height(), shape.out_width());
    let windows = Windows::of_input(shape, x, tiles);
    forward::convolve(&windows, &Filter::forward(shape, weight), bias, y, isa)
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
    let tiles = Tiles::new(shape.batch, shape.height, shape.width);
    let windows = Windows::of_gradient(shape, dy, tiles);
    forward::convolve(&windows, &Filter::backward(shape, weight), bias, dx, isa)
}

/// As [`weight_gradient`](super::weight_gradient), where [`is_better`] holds.
pub(super) fn weight_gradient<T: Stored>(shape: &Convolution, x: &[T], dy: &[T], dw: &mut [T], isa: Isa) -> Result<()> {
    let tiles = Tiles::new(shape.batch, shape.out_height(), shape.out_width());
    weight_gradient::compute(&Windows::of_input(shape, x, tiles), dy, shape.outputs, dw, isa)
}
