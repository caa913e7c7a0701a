//! A convolution as a product: images read as rows of patches, and weights read the way the gradient needs them.

use std::ops::Range;

use super::rows::{CopyRows, Stored, Sum, widen};
use crate::backend::convolution::Convolution;

impl Convolution {
    /// The patches of the input: `[out_pixels, taps * inputs]`.
    pub fn patches<'a, T>(&self, x: &'a [T]) -> Patches<'a, T> {
        assert!(x.len() >= self.in_pixels() * self.inputs, "{self:?} of {} inputs", x.len());
        Patches {
            data: x,
            height: self.height,
            width: self.width,
            channels: self.inputs,
            batch: self.batch,
            grid: (self.out_height(), self.out_width()),
            kernel: self.kernel,
            step: self.stride,
            spread: 1,
            padding: self.padding as isize,
        }
    }

    /// The patches of the output's gradient that each input pixel has had a part in, taps in reverse: `[in_pixels, taps
    /// * outputs]`. This is the forward direction again, over `dy` with `stride - 1` zeros between its pixels.
    pub fn gradient_patches<'a, T>(&self, dy: &'a [T]) -> Patches<'a, T> {
        assert!(dy.len() >= self.out_pixels() * self.outputs, "{self:?} of {} gradients", dy.len());
        Patches {
            data: dy,
            height: self.out_height(),
            width: self.out_width(),
            channels: self.outputs,
            batch: self.batch,
            grid: (self.height, self.width),
            kernel: self.kernel,
            step: 1,
            spread: self.stride,
            padding: self.kernel as isize - 1 - self.padding as isize,
        }
    }

    /// The weight `[out, taps, in]` as `[taps * out, in]`, taps in reverse.
    pub fn reversed_weight<'a, T>(&self, weight: &'a [T]) -> ReversedWeight<'a, T> {
        assert!(weight.len() >= self.outputs * self.taps() * self.inputs, "{self:?} of {} weights", weight.len());
        ReversedWeight { data: weight, taps: self.taps(), outputs: self.outputs, inputs: self.inputs }
    }
}

/// One row per pixel of a grid: what the kernel sees when it stands there, `[tap_y, tap_x, channel]`, zeros outside the
/// image.
#[derive(Clone, Copy)]
pub(crate) struct Patches<'a, T> {
    data: &'a [T],
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    grid: (usize, usize),
    kernel: usize,
    /// Pixels between neighbours on the grid.
    step: usize,
    /// The image is read as if `spread - 1` zeros stood between its pixels.
    spread: usize,
    padding: isize,
}

impl<T: Stored> Patches<'_, T> {
    /// Where the kernel's position `at` lies in an image of `extent` pixels; `None` among the zeros.
    #[inline(always)]
    fn inside(&self, at: isize, extent: usize) -> Option<usize> {
        if at < 0 {
            return None;
        }
        let mut at = at as usize;
        if self.spread > 1 {
            if !at.is_multiple_of(self.spread) {
                return None;
            }
            at /= self.spread;
        }
        (at < extent).then_some(at)
    }

    /// Copies some channels of one tap for the patches `rows`: `out[r * stride..][..channels.len()]`. `N` is the number
    /// of channels, or 0 for any number.
    #[inline(always)]
    fn copy_tap<const N: usize>(
        &self,
        rows: Range<usize>,
        tap: usize,
        channels: Range<usize>,
        out: &mut [T::Sum],
        stride: usize,
    ) {
        let (grid_height, grid_width) = self.grid;
        let (tap_y, tap_x) = ((tap / self.kernel) as isize, (tap % self.kernel) as isize);
        let length = channels.len();
        let (mut x, mut grid_row) = (rows.start % grid_width, rows.start / grid_width);
        let mut done = 0;
        while done < rows.len() {
            // A stretch of one row of the grid, in which the kernel's row does not change.
            let stretch = (grid_width - x).min(rows.len() - done);
            let (image, y) = (grid_row / grid_height, grid_row % grid_height);
            let pixels = self.inside((y * self.step) as isize + tap_y - self.padding, self.height).map(|y| {
                let start = (image * self.height + y) * self.width * self.channels;
                &self.data[start..start + self.width * self.channels]
            });
            let left = (x * self.step) as isize + tap_x - self.padding;
            let to = &mut out[done * stride..];
            match pixels {
                None => fill_rows::<T, N>(to, stride, 0..stretch, length),
                Some(pixels) if self.step == 1 && self.spread == 1 => {
                    // Zeros left of the image, pixels, zeros right of it.
                    let first = (-left).clamp(0, stretch as isize) as usize;
                    let end = (self.width as isize - left).clamp(first as isize, stretch as isize) as usize;
                    fill_rows::<T, N>(to, stride, 0..first, length);
                    if first < end {
                        let start = (left + first as isize) as usize * self.channels + channels.start;
                        let from = pixels[start..].chunks(self.channels);
                        for (from, to) in from.zip(to[first * stride..].chunks_mut(stride)).take(end - first) {
                            copy_row::<T, N>(from, to, length);
                        }
                    }
                    fill_rows::<T, N>(to, stride, end..stretch, length);
                }
                Some(pixels) => {
                    for i in 0..stretch {
                        match self.inside(left + (i * self.step) as isize, self.width) {
                            None => fill_rows::<T, N>(to, stride, i..i + 1, length),
                            Some(x) => {
                                let from = &pixels[x * self.channels + channels.start..];
                                copy_row::<T, N>(from, &mut to[i * stride..], length);
                            }
                        }
                    }
                }
            }
            done += stretch;
            x = 0;
            grid_row += 1;
        }
    }
}

impl<T: Stored> CopyRows<T::Sum> for Patches<'_, T> {
    fn rows(&self) -> usize {
        self.batch * self.grid.0 * self.grid.1
    }

    fn columns(&self) -> usize {
        self.kernel * self.kernel * self.channels
    }

    #[inline(always)]
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [T::Sum], stride: usize) {
        let mut column = columns.start;
        while column < columns.end && !rows.is_empty() {
            let (tap, channel) = (column / self.channels, column % self.channels);
            let length = (self.channels - channel).min(columns.end - column);
            let out = &mut out[column - columns.start..];
            let (rows, channels) = (rows.clone(), channel..channel + length);
            match length {
                1 => self.copy_tap::<1>(rows, tap, channels, out, stride),
                3 => self.copy_tap::<3>(rows, tap, channels, out, stride),
                16 => self.copy_tap::<16>(rows, tap, channels, out, stride),
                32 => self.copy_tap::<32>(rows, tap, channels, out, stride),
                _ => self.copy_tap::<0>(rows, tap, channels, out, stride),
            }
            column += length;
        }
    }
}

/// Copies the first `length` numbers; `N` is as in [`Patches::copy_tap`].
#[inline(always)]
fn copy_row<T: Stored, const N: usize>(from: &[T], to: &mut [T::Sum], length: usize) {
    match (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        (Some(from), Some(to)) if N > 0 => *to = T::widen_array(from),
        _ => widen(&from[..length], &mut to[..length]),
    }
}

/// Zeros the first `length` numbers of some rows.
#[inline(always)]
fn fill_rows<T: Stored, const N: usize>(out: &mut [T::Sum], stride: usize, rows: Range<usize>, length: usize) {
    for r in rows {
        let to = &mut out[r * stride..][..length];
        match to.first_chunk_mut::<N>() {
            Some(to) if N > 0 => *to = [T::Sum::ZERO; N],
            _ => to.fill(T::Sum::ZERO),
        }
    }
}

/// A weight `[out, taps, in]` read as `[taps * out, in]` with its taps in reverse.
#[derive(Clone, Copy)]
pub(crate) struct ReversedWeight<'a, T> {
    data: &'a [T],
    taps: usize,
    outputs: usize,
    inputs: usize,
}

impl<T: Stored> CopyRows<T::Sum> for ReversedWeight<'_, T> {
    fn rows(&self) -> usize {
        self.taps * self.outputs
    }

    fn columns(&self) -> usize {
        self.inputs
    }

    #[inline(always)]
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [T::Sum], stride: usize) {
        let width = columns.len();
        for (r, row) in rows.enumerate() {
            let (tap, output) = (self.taps - 1 - row / self.outputs, row % self.outputs);
            let start = (output * self.taps + tap) * self.inputs + columns.start;
            widen(&self.data[start..start + width], &mut out[r * stride..r * stride + width]);
        }
    }
}
