//! Images as a convolution reads them: a copy for each column of the kernel, moved by that column.

use std::ops::Range;

use half::bf16;

use super::CHANNELS;
use crate::backend::convolution::Convolution;
use crate::backend::cpu::isa::Kernel;

/// Images `[batch, height, width, channels]`, and the result that a kernel makes of them.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    data: &'a [bf16],
    pub batch: usize,
    height: usize,
    width: usize,
    pub channels: usize,
    /// Pixels of the result.
    pub out_height: usize,
    pub out_width: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Zeros before the first row and column.
    padding: usize,
}

impl<'a> Images<'a> {
    /// The images of which `shape` makes its result.
    pub fn of_input(shape: &Convolution, x: &'a [bf16]) -> Self {
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        let &Convolution { batch, height, width, inputs: channels, kernel, padding, .. } = shape;
        assert!(x.len() >= shape.in_pixels() * channels, "{shape:?} of {} inputs", x.len());
        Images { data: x, batch, height, width, channels, out_height, out_width, kernel, padding }
    }

    /// The result's gradient, of which a kernel with its taps in reverse makes that of the input.
    pub fn of_gradient(shape: &Convolution, dy: &'a [bf16]) -> Self {
        let (height, width) = (shape.out_height(), shape.out_width());
        let &Convolution { batch, outputs: channels, kernel, .. } = shape;
        assert!(dy.len() >= shape.out_pixels() * channels, "{shape:?} of {} gradients", dy.len());
        let (out_height, out_width, padding) = (shape.height, shape.width, kernel - 1 - shape.padding);
        Images { data: dy, batch, height, width, channels, out_height, out_width, kernel, padding }
    }

    /// How many times [`CHANNELS`] there are channels.
    pub fn chunks(&self) -> usize {
        self.channels.div_ceil(CHANNELS)
    }

    /// Row `row` of a copy that starts where the result's row 0 meets the kernel's first: pixels of the image, or none
    /// where it is zeros.
    #[inline(always)]
    fn row(&self, image: usize, row: usize) -> Option<&'a [bf16]> {
        let y = row.checked_sub(self.padding).filter(|&y| y < self.height)?;
        let row = self.width * self.channels;
        self.data[(image * self.height + y) * row..].get(..row)
    }

    /// Columns of the copy for the kernel's column `tap` where there are pixels: the others are zeros.
    #[inline(always)]
    fn inside(&self, tap: usize) -> Range<usize> {
        let start = self.padding.saturating_sub(tap).min(self.out_width);
        start..(self.width + self.padding).saturating_sub(tap).clamp(start, self.out_width)
    }
}

/// Copies rows of an image for each column of the kernel: `[kernel column][chunk][row][column][channel]`.
pub struct Shift<'a> {
    pub images: &'a Images<'a>,
    pub image: usize,
    /// Rows of the copies.
    pub rows: Range<usize>,
    pub to: &'a mut [bf16],
}

/// Copies 32 channels of an image for each column of the kernel, two neighbouring pixels as a pair: `[kernel
/// column][row][pair of columns][channel]`, and zeros behind the last row where there is more room.
pub struct ShiftPairs<'a> {
    pub images: &'a Images<'a>,
    pub image: usize,
    pub chunk: usize,
    pub to: &'a mut [f32],
}

impl Kernel for ShiftPairs<'_> {
    #[inline(always)]
    fn run(self) {
        let ShiftPairs { images, image, chunk, to } = self;
        let (pairs, channels) = (images.out_width / 2, images.channels);
        let there = CHANNELS.min(channels - chunk * CHANNELS);
        let (plane, zero) = (to.len() / images.kernel, [bf16::ZERO; CHANNELS]);
        for (tap, to) in to.chunks_exact_mut(plane).enumerate() {
            let mut lines = to.chunks_exact_mut(pairs * CHANNELS);
            for (row, line) in (0..images.out_height + images.kernel - 1).zip(lines.by_ref()) {
                let Some(pixels) = images.row(image, row) else {
                    line.fill(0.0);
                    continue;
                };
                let inside = images.inside(tap);
                let pixel = |x: usize| {
                    let mut pixel = zero;
                    if inside.contains(&x) {
                        let from = &pixels[(x + tap - images.padding) * channels + chunk * CHANNELS..][..there];
                        match from.first_chunk() {
                            Some(from) => pixel = *from,
                            None => pixel[..there].copy_from_slice(from),
                        }
                    }
                    pixel
                };
                for (i, to) in line.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
                    let (low, high) = (pixel(2 * i), pixel(2 * i + 1));
                    for c in 0..CHANNELS {
                        to[c] = f32::from_bits(u32::from(low[c].to_bits()) | u32::from(high[c].to_bits()) << 16);
                    }
                }
            }
        }
        let rows = (images.out_height + images.kernel - 1) * pairs * CHANNELS;
        to.chunks_exact_mut(plane).for_each(|to| to[rows..].fill(0.0));
    }
}

impl Kernel for Shift<'_> {
    #[inline(always)]
    fn run(self) {
        let Shift { images, image, rows, to } = self;
        let (line, channels) = (images.out_width * CHANNELS, images.channels);
        let (plane, zero) = (rows.len() * line, [bf16::ZERO; CHANNELS]);
        for (r, row) in rows.enumerate() {
            let pixels = images.row(image, row);
            for tap in 0..images.kernel {
                let inside = if pixels.is_some() { images.inside(tap) } else { 0..0 };
                for chunk in 0..images.chunks() {
                    let to = &mut to[(tap * images.chunks() + chunk) * plane + r * line..][..line];
                    let to = to.as_chunks_mut::<CHANNELS>().0;
                    to[..inside.start].fill(zero);
                    to[inside.end..].fill(zero);
                    let Some(pixels) = pixels.filter(|_| !inside.is_empty()) else { continue };
                    let first = (inside.start + tap - images.padding) * channels + chunk * CHANNELS;
                    let there = CHANNELS.min(channels - chunk * CHANNELS);
                    for (i, to) in to[inside.clone()].iter_mut().enumerate() {
                        let from = &pixels[first + i * channels..][..there];
                        match from.first_chunk() {
                            Some(from) => *to = *from,
                            None => {
                                *to = zero;
                                to[..there].copy_from_slice(from);
                            }
                        }
                    }
                }
            }
        }
    }
}
