//! A convolution as a product: images read as rows of patches, and weights read the way the gradient needs them.

use std::ops::Range;

use bytemuck::Zeroable;
use half::bf16;

use super::rows::{CopyAs, CopyRows, Rows, copy_run};
use crate::backend::convolution::Convolution;

impl Convolution {
    /// The patches of the input: `[out_pixels, taps * inputs]`.
    pub fn patches<'a, T>(&self, x: &'a [T]) -> Patches<'a, T> {
        assert!(x.len() >= self.in_pixels() * self.inputs, "{self:?} of {} inputs", x.len());
        let geometry = Geometry {
            height: self.height,
            width: self.width,
            channels: self.inputs,
            batch: self.batch,
            grid: (self.out_height(), self.out_width()),
            kernel: self.kernel,
            step: self.stride,
            spread: 1,
            padding: self.padding as isize,
        };
        Patches { data: x, geometry }
    }

    /// The patches of the output's gradient that each input pixel has had a part in, taps in reverse: `[in_pixels, taps
    /// * outputs]`. This is the forward direction again, over `dy` with `stride - 1` zeros between its pixels.
    pub fn gradient_patches<'a, T>(&self, dy: &'a [T]) -> Patches<'a, T> {
        assert!(dy.len() >= self.out_pixels() * self.outputs, "{self:?} of {} gradients", dy.len());
        let geometry = Geometry {
            height: self.out_height(),
            width: self.out_width(),
            channels: self.outputs,
            batch: self.batch,
            grid: (self.height, self.width),
            kernel: self.kernel,
            step: 1,
            spread: self.stride,
            padding: self.kernel as isize - 1 - self.padding as isize,
        };
        Patches { data: dy, geometry }
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
    geometry: Geometry,
}

/// Which patches those are.
#[derive(Clone, Copy)]
struct Geometry {
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

impl Geometry {
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
}

impl<T> Patches<'_, T> {
    /// Copies some channels of one tap for the patches `rows`: `out[r * stride..][..channels.len()]`. `N` is the number
    /// of channels, or 0 for any number.
    #[inline(always)]
    fn copy_tap<S: Zeroable + Copy, const N: usize>(
        &self,
        rows: Range<usize>,
        tap: usize,
        channels: Range<usize>,
        out: &mut [S],
        stride: usize,
    ) where
        T: CopyAs<S>,
    {
        let of = self.geometry;
        let (grid_height, grid_width) = of.grid;
        let (tap_y, tap_x) = ((tap / of.kernel) as isize, (tap % of.kernel) as isize);
        let length = channels.len();
        let (mut x, mut grid_row) = (rows.start % grid_width, rows.start / grid_width);
        let mut done = 0;
        while done < rows.len() {
            // A stretch of one row of the grid, in which the kernel's row does not change.
            let stretch = (grid_width - x).min(rows.len() - done);
            let (image, y) = (grid_row / grid_height, grid_row % grid_height);
            let pixels = of.inside((y * of.step) as isize + tap_y - of.padding, of.height).map(|y| {
                let start = (image * of.height + y) * of.width * of.channels;
                &self.data[start..start + of.width * of.channels]
            });
            let left = (x * of.step) as isize + tap_x - of.padding;
            let to = &mut out[done * stride..];
            match pixels {
                None => fill_rows::<S, N>(to, stride, 0..stretch, length),
                Some(pixels) if of.step == 1 && of.spread == 1 => {
                    // Zeros left of the image, pixels, zeros right of it.
                    let first = (-left).clamp(0, stretch as isize) as usize;
                    let end = (of.width as isize - left).clamp(first as isize, stretch as isize) as usize;
                    fill_rows::<S, N>(to, stride, 0..first, length);
                    if first < end {
                        let start = (left + first as isize) as usize * of.channels + channels.start;
                        let from = pixels[start..].chunks(of.channels);
                        for (from, to) in from.zip(to[first * stride..].chunks_mut(stride)).take(end - first) {
                            copy_row::<S, T, N>(from, to, length);
                        }
                    }
                    fill_rows::<S, N>(to, stride, end..stretch, length);
                }
                Some(pixels) => {
                    for i in 0..stretch {
                        match of.inside(left + (i * of.step) as isize, of.width) {
                            None => fill_rows::<S, N>(to, stride, i..i + 1, length),
                            Some(x) => {
                                let from = &pixels[x * of.channels + channels.start..];
                                copy_row::<S, T, N>(from, &mut to[i * stride..], length);
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

impl<S: Zeroable + Copy, T: CopyAs<S>> CopyRows<S> for Patches<'_, T> {
    fn rows(&self) -> usize {
        self.geometry.batch * self.geometry.grid.0 * self.geometry.grid.1
    }

    fn columns(&self) -> usize {
        self.geometry.kernel * self.geometry.kernel * self.geometry.channels
    }

    #[inline(always)]
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [S], stride: usize) {
        let all = self.geometry.channels;
        let mut column = columns.start;
        while column < columns.end && !rows.is_empty() {
            let (tap, channel) = (column / all, column % all);
            let length = (all - channel).min(columns.end - column);
            let out = &mut out[column - columns.start..];
            let (rows, channels) = (rows.clone(), channel..channel + length);
            match length {
                1 => self.copy_tap::<S, 1>(rows, tap, channels, out, stride),
                3 => self.copy_tap::<S, 3>(rows, tap, channels, out, stride),
                16 => self.copy_tap::<S, 16>(rows, tap, channels, out, stride),
                32 => self.copy_tap::<S, 32>(rows, tap, channels, out, stride),
                _ => self.copy_tap::<S, 0>(rows, tap, channels, out, stride),
            }
            column += length;
        }
    }

    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>> {
        Some(Box::new(Patches { data: T::as_halves(self.data)?, geometry: self.geometry }))
    }
}

/// Copies the first `length` numbers; `N` is as in [`Patches::copy_tap`].
#[inline(always)]
fn copy_row<S, T: CopyAs<S>, const N: usize>(from: &[T], to: &mut [S], length: usize) {
    match (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        (Some(from), Some(to)) if N > 0 => *to = T::copy_array(from),
        _ => copy_run(&from[..length], &mut to[..length]),
    }
}

/// Zeros the first `length` numbers of some rows.
#[inline(always)]
fn fill_rows<S: Zeroable + Copy, const N: usize>(out: &mut [S], stride: usize, rows: Range<usize>, length: usize) {
    for r in rows {
        let to = &mut out[r * stride..][..length];
        match to.first_chunk_mut::<N>() {
            Some(to) if N > 0 => *to = [S::zeroed(); N],
            _ => to.fill(S::zeroed()),
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

impl<S, T: CopyAs<S>> CopyRows<S> for ReversedWeight<'_, T> {
    fn rows(&self) -> usize {
        self.taps * self.outputs
    }

    fn columns(&self) -> usize {
        self.inputs
    }

    #[inline(always)]
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [S], stride: usize) {
        let width = columns.len();
        for (r, row) in rows.enumerate() {
            let (tap, output) = (self.taps - 1 - row / self.outputs, row % self.outputs);
            let start = (output * self.taps + tap) * self.inputs + columns.start;
            copy_run(&self.data[start..start + width], &mut out[r * stride..r * stride + width]);
        }
    }

    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>> {
        let &ReversedWeight { data, taps, outputs, inputs } = self;
        Some(Box::new(ReversedWeight { data: T::as_halves(data)?, taps, outputs, inputs }))
    }
}
