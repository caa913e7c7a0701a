//! The transforms of images: of windows to rows of left factors, and of products to pixels.

use std::ops::Range;

use super::TILE;
use super::lanes::{self, Between, Matrices, Pixels, Results};
use super::layout::{LeftLayout, ResultLayout};
use super::windows::{Tiles, Windows};
use crate::backend::cpu::gemm::rows::Stored;
use crate::backend::cpu::vector::{LANES, Vector, VectorKernel};

/// Transforms windows and packs them.
pub struct FromWindows<'a, T: Stored> {
    pub windows: &'a Windows<'a, T>,
    pub bands: Range<usize>,
    pub rows: LeftLayout,
    pub to: &'a mut [T::Sum],
}

impl<T: Stored> VectorKernel<T::Sum> for FromWindows<'_, T> {
    #[inline(always)]
    fn run<V: Vector<Number = T::Sum>>(self) {
        let FromWindows { windows, bands, rows, to } = self;
        let across = windows.tiles.across();
        let (mut tile, matrices) = (0, Matrices { size: rows.matrix() });
        let mut between = Between::<V>::new();
        for band in bands {
            for i in 0..across {
                let window = windows.window(band, i);
                for channel in (0..windows.channels).step_by(LANES) {
                    window.transform_columns(channel, &mut between);
                    matrices.rows::<Pixels, V, 6>(&between, to, rows.place(tile, channel));
                }
                tile += 1;
            }
        }
    }
}

/// Makes pixels of the products.
pub struct ToPixels<'a, T: Stored> {
    pub tiles: Tiles,
    pub columns: usize,
    pub bias: Option<&'a [T::Sum]>,
    pub bands: Range<usize>,
    /// Of a panel of columns.
    pub results: ResultLayout,
    pub products: &'a [T::Sum],
    /// Elements from a panel to the next.
    pub apart: usize,
    /// The pixels of the bands.
    pub y: &'a mut [T],
}

impl<T: Stored> VectorKernel<T::Sum> for ToPixels<'_, T> {
    #[inline(always)]
    fn run<V: Vector<Number = T::Sum>>(self) {
        let ToPixels { tiles, columns, bias, bands, results, products, apart, y } = self;
        let (across, matrices) = (tiles.across(), Matrices { size: results.matrix() });
        let line = tiles.width * columns;
        let mut between = Between::<V>::new();
        let mut first = 0; // of the band's pixels
        for (i, band) in bands.enumerate() {
            let rows = tiles.rows_of(band);
            let y = &mut y[first..first + rows * line];
            first += rows * line;
            for tile in 0..across {
                let pixels = TILE.min(tiles.width - tile * TILE);
                for column in (0..columns).step_by(LANES) {
                    let bias: V = match bias {
                        Some(bias) => lanes::load(&bias[column..]),
                        None => lanes::zero(),
                    };
                    let (panel, lane) = (column / results.width, column % results.width);
                    let place = (i * across + tile) * results.width + lane;
                    matrices.columns::<Results, V, TILE>(&products[panel * apart..], place, &mut between);
                    for row in 0..rows {
                        let results = between.row::<Results, 6, TILE>(row);
                        for (pixel, result) in results.into_iter().enumerate() {
                            if pixel < pixels {
                                let at = row * line + (tile * TILE + pixel) * columns;
                                lanes::store(result.plus(bias), &mut y[at + column..at + columns]);
                            }
                        }
                    }
                }
            }
        }
    }
}
