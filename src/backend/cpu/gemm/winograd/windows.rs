//! The tiles of images, and the windows that they are made from.

use std::ops::Range;

use super::lanes::{self, Between, Pixels};
use super::{TILE, WINDOW};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::gemm::rows::Stored;
use crate::backend::cpu::vector::Vector;

/// The tiles of images, one row of tiles (a band) after the other: a band's pixels are contiguous in memory.
#[derive(Debug, Clone, Copy)]
pub struct Tiles {
    pub batch: usize,
    /// Of the images that are cut into tiles.
    pub height: usize,
    pub width: usize,
}

impl Tiles {
    pub fn new(batch: usize, height: usize, width: usize) -> Self {
        Tiles { batch, height, width }
    }

    /// Bands of an image.
    fn bands_of_image(&self) -> usize {
        self.height.div_ceil(TILE)
    }

    /// Bands of all images.
    pub fn bands(&self) -> usize {
        self.batch * self.bands_of_image()
    }

    /// Tiles of a band.
    pub fn across(&self) -> usize {
        self.width.div_ceil(TILE)
    }

    /// The image that a band belongs to, and its first row in it.
    pub fn place(&self, band: usize) -> (usize, usize) {
        (band / self.bands_of_image(), band % self.bands_of_image() * TILE)
    }

    /// Rows of pixels of a band.
    pub fn rows_of(&self, band: usize) -> usize {
        TILE.min(self.height - self.place(band).1)
    }

    /// Pixels of bands.
    pub fn pixels(&self, bands: Range<usize>) -> usize {
        bands.map(|band| self.rows_of(band) * self.width).sum()
    }
}

/// Images read in windows of 6x6 pixels around tiles, zeros outside.
#[derive(Clone, Copy)]
pub struct Windows<'a, T> {
    data: &'a [T],
    height: usize,
    width: usize,
    pub channels: usize,
    padding: usize,
    pub tiles: Tiles,
}

impl<'a, T: Stored> Windows<'a, T> {
    /// Of the input of a convolution.
    pub fn of_input(shape: &Convolution, x: &'a [T], tiles: Tiles) -> Self {
        assert!(x.len() >= shape.in_pixels() * shape.inputs, "{shape:?} of {} inputs", x.len());
        let &Convolution { height, width, inputs: channels, padding, .. } = shape;
        Windows { data: x, height, width, channels, padding, tiles }
    }

    /// Of the gradient of its output.
    pub fn of_gradient(shape: &Convolution, dy: &'a [T], tiles: Tiles) -> Self {
        assert!(dy.len() >= shape.out_pixels() * shape.outputs, "{shape:?} of {} gradients", dy.len());
        let (height, width) = (shape.out_height(), shape.out_width());
        Windows { data: dy, height, width, channels: shape.outputs, padding: 2 - shape.padding, tiles }
    }

    /// The window of a tile.
    #[inline(always)]
    pub fn window(&self, band: usize, across: usize) -> Window<'a, T> {
        let (image, top) = self.tiles.place(band);
        let inside =
            |first: usize, i: usize, extent: usize| (first + i).checked_sub(self.padding).filter(|&at| at < extent);
        let line = self.width * self.channels;
        let mut rows = [None; WINDOW];
        let mut columns = [None; WINDOW];
        for i in 0..WINDOW {
            rows[i] = inside(top, i, self.height).map(|y| (image * self.height + y) * line);
            columns[i] = inside(across * TILE, i, self.width).map(|x| x * self.channels);
        }
        Window { data: self.data, channels: self.channels, rows, columns }
    }
}

/// Where the pixels of a window are; `None` outside of the image.
pub struct Window<'a, T> {
    data: &'a [T],
    channels: usize,
    rows: [Option<usize>; WINDOW],
    columns: [Option<usize>; WINDOW],
}

impl<T: Stored> Window<'_, T> {
    /// Transforms the columns of some channels from `channel` on.
    #[inline(always)]
    pub fn transform_columns<V: Vector<Number = T::Sum>>(&self, channel: usize, between: &mut Between<V>) {
        for (j, x) in self.columns.iter().enumerate() {
            let mut column = [lanes::zero(); WINDOW];
            for (pixel, y) in column.iter_mut().zip(&self.rows) {
                if let (Some(y), Some(x)) = (y, x) {
                    *pixel = lanes::load(&self.data[y + x + channel..y + x + self.channels]);
                }
            }
            between.column::<Pixels, 6, 6>(j, column);
        }
    }
}
