//! A convolution: windows to products to pixels, so that what is between stays in cache.
//!
//! Where there are many tiles, the weights are transformed once, and lots of tiles go all the way through one after the
//! other. Where there are few, the transform of the weights, four times as large as they are, is what would fill the
//! memory: the windows are transformed once, and each panel of the weights is transformed where it is multiplied.

use std::ops::Range;

use rayon::prelude::*;

use super::FREQUENCIES;
use super::filter::{Filter, SUMMED};
use super::layout::{LeftLayout, ResultLayout, multiply};
use super::transforms::{FromWindows, ToPixels};
use super::windows::Windows;
use crate::backend::cpu::OnTeam;
use crate::backend::cpu::gemm::kernel::Kernel;
use crate::backend::cpu::gemm::rows::{Stored, Sum};
use crate::backend::cpu::gemm::scratch::Scratch;
use crate::backend::cpu::isa::Isa;
use crate::backend::cpu::vector::{InVectors, LANES};
use crate::error::{Error, Result};
use crate::stop;

/// Tiles that are handled together, or those of a band if there are more: with 256 channels their transforms take 2 MB
/// and the products as much again, and each part of the weights that is fetched is used for so many rows.
const AT_ONCE: usize = 56;

/// So many tiles or fewer are few.
const FEW: usize = 128;

/// As [`gemm::convolve`](crate::backend::cpu::gemm::convolve).
pub fn convolve<T: Stored>(
    windows: &Windows<T>,
    filter: &Filter<T>,
    bias: Option<&[T::Sum]>,
    y: &mut [T],
    isa: Isa,
) -> Result<()> {
    assert!(bias.is_none_or(|bias| bias.len() == filter.columns), "one bias per column");
    let tiles = windows.tiles;
    let (count, kernel) = (tiles.bands() * tiles.across(), <T::Sum as Sum>::kernel(isa));
    let few = count <= FEW;
    // So many lots at least that all threads have some; of a few tiles, tasks are panels of them.
    let threads = rayon::current_num_threads();
    let lots = if few { threads.div_ceil(filter.columns.div_ceil(kernel.columns)) } else { threads };
    let bands_at_once = (AT_ONCE.min(count.div_ceil(lots)) / tiles.across()).max(1);
    let work = Work { windows, filter, kernel, bias, bands_at_once };
    if few { work.by_panels(y) } else { work.by_lots(y) }
}

struct Work<'a, T: Stored> {
    windows: &'a Windows<'a, T>,
    filter: &'a Filter<'a, T>,
    kernel: &'static Kernel<T::Sum>,
    bias: Option<&'a [T::Sum]>,
    bands_at_once: usize,
}

impl<T: Stored> Work<'_, T> {
    /// Bands of tiles that are handled together.
    fn lots(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        let (bands, at_once) = (self.windows.tiles.bands(), self.bands_at_once);
        (0..bands.div_ceil(at_once)).map(move |lot| lot * at_once..((lot + 1) * at_once).min(bands))
    }

    /// The lots, each with its pixels.
    fn lots_of<'a>(&self, mut y: &'a mut [T]) -> Vec<(Range<usize>, &'a mut [T])> {
        let lot = |bands: Range<usize>| {
            let pixels = self.windows.tiles.pixels(bands.clone()) * self.filter.columns;
            (bands, y.split_off_mut(..pixels).unwrap_or_default())
        };
        self.lots().map(lot).collect()
    }

    /// How the tiles of some bands are packed, and their products.
    fn layouts(&self, bands: &Range<usize>) -> (LeftLayout, ResultLayout) {
        let tiles = bands.len() * self.windows.tiles.across();
        (LeftLayout::new(tiles, self.filter.depth(), self.kernel), ResultLayout { tiles, width: self.kernel.columns })
    }

    fn panels(&self) -> usize {
        self.filter.columns.div_ceil(self.kernel.columns)
    }

    /// Columns of the panel that there are.
    fn columns_of(&self, panel: usize) -> usize {
        self.kernel.columns.min(self.filter.columns - panel * self.kernel.columns)
    }

    fn transform_windows(&self, bands: Range<usize>, rows: LeftLayout, to: &mut [T::Sum]) {
        T::Sum::run(self.kernel.isa, FromWindows { windows: self.windows, bands, rows, to });
    }

    /// `products` of panels that are `apart`.
    fn to_pixels(&self, bands: Range<usize>, results: ResultLayout, products: &[T::Sum], apart: usize, y: &mut [T]) {
        let (tiles, columns, bias) = (self.windows.tiles, self.filter.columns, self.bias);
        T::Sum::run(self.kernel.isa, ToPixels { tiles, columns, bias, bands, results, products, apart, y });
    }

    fn by_lots(&self, y: &mut [T]) -> Result<()> {
        let packed = self.filter.pack(self.kernel)?;
        let stopped = stop::watch();
        let work = |(bands, y): (Range<usize>, &mut [T])| {
            if stopped() {
                return Err(Error::Stopped);
            }
            let (rows, results) = self.layouts(&bands);
            let mut left = Scratch::of::<T::Sum>(rows.all())?;
            let left = &mut left.as_mut::<T::Sum>()[..rows.all()];
            self.transform_windows(bands.clone(), rows, left);
            let all = self.panels() * results.panel();
            let mut products = Scratch::of::<T::Sum>(all)?;
            let products = &mut products.as_mut::<T::Sum>()[..all];
            for (frequency, left) in left.chunks_exact(rows.matrix()).enumerate() {
                for (block, steps) in rows.depth.parts() {
                    for (panel, products) in products.chunks_exact_mut(results.panel()).enumerate() {
                        let right = packed.of(panel, frequency, block, steps.start);
                        let product = &mut products[frequency * results.matrix()..][..results.matrix()];
                        multiply(
                            self.kernel,
                            (rows, left),
                            right,
                            (block, steps.clone()),
                            (results, product),
                            self.columns_of(panel),
                        );
                    }
                }
            }
            self.to_pixels(bands, results, products, results.panel(), y);
            Ok(())
        };
        self.lots_of(y).into_par_iter().with_max_len(1).try_each_on_team(work)
    }

    fn by_panels(&self, y: &mut [T]) -> Result<()> {
        let lots: Vec<Range<usize>> = self.lots().collect();
        let Some(first) = lots.first() else { return Ok(()) };
        let (rows, results) = self.layouts(first); // the others are as large or smaller
        let mut left = Scratch::of::<T::Sum>(lots.len() * rows.all())?;
        let left = &mut left.as_mut::<T::Sum>()[..lots.len() * rows.all()];
        left.par_chunks_exact_mut(rows.all())
            .zip(&lots)
            .each_on_team(|(to, bands)| self.transform_windows(bands.clone(), self.layouts(bands).0, to));

        // A task has a panel of the weights, and all lots or, where panels are fewer than threads, some of them.
        let (left, panels) = (&*left, self.panels());
        let tasks_of_panel = rayon::current_num_threads().div_ceil(panels).min(lots.len());
        let lots_of_task = lots.len().div_ceil(tasks_of_panel);
        let lots_of_panel = lots.len().next_multiple_of(lots_of_task);
        let apart = lots_of_panel * results.panel();
        let mut products = Scratch::of::<T::Sum>(panels * apart)?;
        let products = &mut products.as_mut::<T::Sum>()[..panels * apart];
        let stopped = stop::watch();
        let work = |(task, products): (usize, &mut [T::Sum])| {
            let (panel, first) = (task * lots_of_task / lots_of_panel, task * lots_of_task % lots_of_panel);
            let columns = self.columns_of(panel);
            let mut weights = Scratch::of::<T::Sum>(FREQUENCIES * (SUMMED * self.kernel.columns + LANES))?;
            for (block, steps) in rows.depth.parts() {
                if stopped() {
                    return Err(Error::Stopped);
                }
                let channels = rows.depth.channels(block, &steps);
                let weights = self.filter.pack_part(self.kernel, panel, channels, &mut weights)?;
                let weights = weights.chunks_exact(weights.len() / FREQUENCIES);
                let lots = lots.iter().zip(left.chunks_exact(rows.all())).skip(first);
                for ((bands, left), products) in lots.zip(products.chunks_exact_mut(results.panel())) {
                    let (rows, results) = self.layouts(bands);
                    let left = left.chunks_exact(rows.matrix());
                    let products = products.chunks_exact_mut(results.matrix());
                    for ((left, right), product) in left.zip(weights.clone()).zip(products) {
                        multiply(self.kernel, (rows, left), right, (block, steps.clone()), (results, product), columns);
                    }
                }
            }
            Ok(())
        };
        products
            .par_chunks_exact_mut(lots_of_task * results.panel())
            .enumerate()
            .with_max_len(1)
            .try_each_on_team(work)?;

        let products = &*products;
        self.lots_of(y).into_par_iter().enumerate().each_on_team(|(lot, (bands, y))| {
            let own = self.layouts(&bands).1;
            self.to_pixels(bands, own, &products[lot * results.panel()..], apart, y);
        });
        Ok(())
    }
}
