//! A convolution as a product: images read as rows of patches, and weights read the way the gradient needs them.

use std::ops::Range;

use bytemuck::Zeroable;
use half::bf16;

use super::rows::{CopyAs, CopyRows, Rows, copy_run};
use crate::backend::convolution::Convolution;

/// With fewer channels the taps of a kernel's row are copied together.
const NARROW: usize = 16;

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
    /// Copies `length` numbers of each of the patches `rows`, from number `first` of the kernel's row `tap_y` on:
    /// `out[r * stride..][..length]`. `N` is the length, or 0 for any. The image is read as it is (`spread` is 1), so
    /// that they are neighbours in memory.
    #[inline(always)]
    fn copy_kernel_row<S: Zeroable + Copy, const N: usize>(
        &self,
        rows: Range<usize>,
        (tap_y, first, length): (usize, usize, usize),
        out: &mut [S],
        stride: usize,
    ) where
        T: CopyAs<S>,
    {
        let of = self.geometry;
        self.each_stretch(rows, tap_y, |stretch, pixels, x| {
            let out = &mut out[stretch.start * stride..];
            let Some(pixels) = pixels else { return fill_rows::<S, N>(out, stride, stretch.len(), length) };
            let start = ((x * of.step) as isize - of.padding) * of.channels as isize + first as isize;
            for i in 0..stretch.len() {
                let (start, to) = (start + (i * of.step * of.channels) as isize, &mut out[i * stride..][..length]);
                if start >= 0 && start as usize + length <= pixels.len() {
                    copy_row::<S, T, N>(&pixels[start as usize..], to, length);
                } else {
                    // Zeros left of the image, pixels, zeros right of it.
                    let before = (-start).clamp(0, length as isize) as usize;
                    let end = (pixels.len() as isize - start).clamp(before as isize, length as isize) as usize;
                    to.fill(S::zeroed());
                    if before < end {
                        let from = (start + before as isize) as usize;
                        copy_run(&pixels[from..from + end - before], &mut to[before..end]);
                    }
                }
            }
        });
    }

    /// Copies some channels of one tap for the patches `rows`: `out[r * stride..][..channels.len()]`.
    #[inline(always)]
    fn copy_tap<S: Zeroable + Copy>(
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
        let (tap_y, tap_x) = (tap / of.kernel, (tap % of.kernel) as isize);
        self.each_stretch(rows, tap_y, |stretch, pixels, x| {
            let left = (x * of.step) as isize + tap_x - of.padding;
            for i in 0..stretch.len() {
                let to = &mut out[(stretch.start + i) * stride..][..channels.len()];
                match pixels.zip(of.inside(left + (i * of.step) as isize, of.width)) {
                    Some((pixels, x)) => copy_run(&pixels[x * of.channels..][channels.clone()], to),
                    None => to.fill(S::zeroed()),
                }
            }
        });
    }

    /// Calls `copy(stretch, pixels, x)` for stretches of the patches `rows` (counted from the first of them) that lie
    /// in one row of the grid, the first at `x`: there the kernel's row `tap_y` stands on one row of an image, or none.
    #[inline(always)]
    fn each_stretch(&self, rows: Range<usize>, tap_y: usize, mut copy: impl FnMut(Range<usize>, Option<&[T]>, usize)) {
        let of = self.geometry;
        let (grid_height, grid_width) = of.grid;
        let (mut x, mut grid_row) = (rows.start % grid_width, rows.start / grid_width);
        let mut done = 0;
        while done < rows.len() {
            let stretch = done..(done + grid_width - x).min(rows.len());
            let (image, y) = (grid_row / grid_height, grid_row % grid_height);
            let pixels = of.inside((y * of.step) as isize + tap_y as isize - of.padding, of.height).map(|y| {
                let start = (image * of.height + y) * of.width * of.channels;
                &self.data[start..start + of.width * of.channels]
            });
            done = stretch.end;
            copy(stretch, pixels, x);
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
        let Geometry { channels, kernel, spread, .. } = self.geometry;
        let mut column = columns.start;
        while column < columns.end && !rows.is_empty() {
            let (tap, channel) = (column / channels, column % channels);
            let (tap_y, first) = (tap / kernel, column % (kernel * channels));
            // Taps of one row of the kernel are neighbours in memory, unless zeros are to stand between the pixels.
            let together =
                if spread == 1 && channels < NARROW { kernel * channels - first } else { channels - channel };
            let length = together.min(columns.end - column);
            let (rows, out) = (rows.clone(), &mut out[column - columns.start..]);
            match (spread, length) {
                (1, 3) => self.copy_kernel_row::<S, 3>(rows, (tap_y, first, length), out, stride),
                (1, 5) => self.copy_kernel_row::<S, 5>(rows, (tap_y, first, length), out, stride),
                (1, 9) => self.copy_kernel_row::<S, 9>(rows, (tap_y, first, length), out, stride),
                (1, 16) => self.copy_kernel_row::<S, 16>(rows, (tap_y, first, length), out, stride),
                (1, 32) => self.copy_kernel_row::<S, 32>(rows, (tap_y, first, length), out, stride),
                (1, _) => self.copy_kernel_row::<S, 0>(rows, (tap_y, first, length), out, stride),
                _ => self.copy_tap(rows, tap, channel..channel + length, out, stride),
            }
            column += length;
        }
    }

    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>> {
        Some(Box::new(Patches { data: T::as_halves(self.data)?, geometry: self.geometry }))
    }
}

/// Copies the first `length` numbers; `N` is as in [`Patches::copy_kernel_row`].
#[inline(always)]
fn copy_row<S, T: CopyAs<S>, const N: usize>(from: &[T], to: &mut [S], length: usize) {
    match (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        (Some(from), Some(to)) if N > 0 => *to = T::copy_array(from),
        _ => copy_run(&from[..length], &mut to[..length]),
    }
}

/// Zeros the first `length` numbers of the first `rows` rows.
#[inline(always)]
fn fill_rows<S: Zeroable + Copy, const N: usize>(out: &mut [S], stride: usize, rows: usize, length: usize) {
    for r in 0..rows {
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
