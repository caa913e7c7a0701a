use num_traits::Zero;
use rayon::prelude::*;

use super::Windows;
use crate::backend::cpu::{GRAIN, Kernel, OnTeam, tasks_per_share, with_vector_instructions};
use crate::error::Result;
use crate::tensor::{Accumulator, Real, Tensor, real};

/// Channels of a pixel that are handled at once, in registers.
const LANES: usize = 16;

impl Windows {
    /// Rows of the result that one task makes.
    fn lines_per_task(&self, work: usize) -> usize {
        (GRAIN / work.max(1)).max(1)
    }

    /// Elements of a row of the image and of one of the result.
    fn row(&self) -> usize {
        self.width * self.channels
    }

    fn out_row(&self) -> usize {
        self.out_width * self.channels
    }

    /// Elements that are read for a row of the result.
    fn work(&self) -> usize {
        self.out_row() * self.taps()
    }

    /// The rows of the image below the windows of row `line` of the result, counted over all images.
    #[inline(always)]
    fn rows_of<'a, T>(&self, x: &'a [T], line: usize) -> &'a [T] {
        let first = line / self.out_height * self.height + line % self.out_height * self.stride;
        &x[first * self.row()..][..self.kernel * self.row()]
    }

    /// The windows, of `out` along an axis, that hold pixel `at`.
    #[inline(always)]
    fn around(&self, at: usize, out: usize) -> std::ops::Range<usize> {
        let first = (at + 1).saturating_sub(self.kernel).div_ceil(self.stride);
        first..(at / self.stride + 1).min(out)
    }
}

/// Calls `f` with the index of its first row and the two slices for parts of `a` and `b`, of whole rows each.
fn in_parts<A: Send, B: Send>(
    (a, a_row): (&mut [A], usize),
    (b, b_row): (&mut [B], usize),
    work: usize,
    lines: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let parts = a.par_chunks_mut(lines * a_row).zip(b.par_chunks_mut(lines * b_row)).enumerate();
    parts.with_min_len(tasks_per_share(lines.saturating_mul(work))).each_on_team(|(i, (a, b))| f(i * lines, a, b));
}

pub fn largest(op: &'static str, windows: &Windows, x: &Tensor, y: &mut Tensor, taps: &mut Tensor) -> Result<()> {
    real!(op, x.dtype(), T => {
        let x = x.as_slice::<T>()?;
        let (y, taps) = (y.as_mut_slice::<T>()?, taps.as_mut_slice::<u32>()?);
        let (row, work) = (windows.out_row(), windows.work());
        in_parts((y, row), (taps, row), work, windows.lines_per_task(work), |first, y, taps| {
            with_vector_instructions(Largest { windows, x, first, y, taps });
        });
        Ok(())
    })
}

struct Largest<'a, T> {
    windows: &'a Windows,
    x: &'a [T],
    first: usize,
    y: &'a mut [T],
    taps: &'a mut [u32],
}

impl<T: Real> Kernel for Largest<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Largest { windows, x, first, y, taps } = self;
        let (channels, row) = (windows.channels, windows.out_row());
        let lines = y.chunks_exact_mut(row).zip(taps.chunks_exact_mut(row));
        for (line, (y, taps)) in lines.enumerate() {
            let rows = windows.rows_of(x, first + line);
            let pixels = y.chunks_exact_mut(channels).zip(taps.chunks_exact_mut(channels));
            for (j, (y, taps)) in pixels.enumerate() {
                largest_of(windows, &rows[j * windows.stride * channels..], y, taps);
            }
        }
    }
}

/// The largest of each channel, from the window's first pixel on: tap by tap, in loops over channels that the compiler
/// makes whole vectors of.
#[inline(always)]
fn largest_of<T: Real>(windows: &Windows, window: &[T], y: &mut [T], taps: &mut [u32]) {
    y.copy_from_slice(&window[..windows.channels]);
    taps.fill(0);
    for r in 0..windows.kernel {
        let line = &window[r * windows.row()..];
        for s in 0..windows.kernel {
            let tap = (r * windows.kernel + s) as u32;
            let x = &line[s * windows.channels..][..windows.channels];
            for ((best, at), &x) in y.iter_mut().zip(&mut *taps).zip(x) {
                let (there, here) = (best.acc(), x.acc());
                // The comparisons with itself: a NaN is larger than any number, but not than another.
                #[expect(clippy::eq_op, reason = "what NaN is not equal to")]
                let larger = (here > there) | ((here != here) & (there == there));
                *best = if larger { x } else { *best };
                *at = if larger { tap } else { *at };
            }
        }
    }
}

pub fn mean(op: &'static str, windows: &Windows, x: &Tensor, y: &mut Tensor) -> Result<()> {
    real!(op, x.dtype(), T => {
        let (x, work) = (x.as_slice::<T>()?, windows.work());
        let lines = windows.lines_per_task(work);
        let parts = y.as_mut_slice::<T>()?.par_chunks_mut(lines * windows.out_row()).enumerate();
        parts.with_min_len(tasks_per_share(lines.saturating_mul(work))).each_on_team(|(i, y)| {
            with_vector_instructions(Mean { windows, x, first: i * lines, y });
        });
        Ok(())
    })
}

struct Mean<'a, T> {
    windows: &'a Windows,
    x: &'a [T],
    first: usize,
    y: &'a mut [T],
}

impl<T: Real> Kernel for Mean<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Mean { windows, x, first, y } = self;
        let channels = windows.channels;
        for (line, y) in y.chunks_exact_mut(windows.out_row()).enumerate() {
            let rows = windows.rows_of(x, first + line);
            for (j, y) in y.chunks_exact_mut(channels).enumerate() {
                let window = &rows[j * windows.stride * channels..];
                let (y, rest) = y.as_chunks_mut::<LANES>();
                let whole = y.len() * LANES;
                for (c, y) in y.iter_mut().enumerate() {
                    mean_of(windows, &window[c * LANES..], y);
                }
                for (c, y) in rest.iter_mut().enumerate() {
                    mean_of(windows, &window[whole + c..], std::array::from_mut(y));
                }
            }
        }
    }
}

/// As [`largest_of`], the mean.
#[inline(always)]
fn mean_of<T: Real, const N: usize>(windows: &Windows, window: &[T], y: &mut [T; N]) {
    let mut sums = [T::Acc::zero(); N];
    for r in 0..windows.kernel {
        let line = &window[r * windows.row()..];
        for s in 0..windows.kernel {
            let x = &line[s * windows.channels..][..N];
            for k in 0..N {
                sums[k] += x[k].acc();
            }
        }
    }
    let factor = T::Acc::of(1.0 / windows.taps() as f64);
    for k in 0..N {
        y[k] = T::narrow(sums[k] * factor);
    }
}

pub fn gather(op: &'static str, windows: &Windows, x: &Tensor, taps: &Tensor, y: &mut Tensor) -> Result<()> {
    real!(op, x.dtype(), T => {
        let (x, taps, row) = (x.as_slice::<T>()?, taps.as_slice::<u32>()?, windows.out_row());
        let lines = windows.lines_per_task(row);
        let parts = y.as_mut_slice::<T>()?.par_chunks_mut(lines * row).zip(taps.par_chunks(lines * row)).enumerate();
        parts.with_min_len(tasks_per_share(lines * row)).each_on_team(|(i, (y, taps))| {
            for (line, (y, taps)) in y.chunks_exact_mut(row).zip(taps.chunks_exact(row)).enumerate() {
                let rows = windows.rows_of(x, i * lines + line);
                for (at, (y, &tap)) in y.iter_mut().zip(taps).enumerate() {
                    let (j, c) = (at / windows.channels, at % windows.channels);
                    let (r, s) = (tap as usize / windows.kernel, tap as usize % windows.kernel);
                    *y = rows[r * windows.row() + (j * windows.stride + s) * windows.channels + c];
                }
            }
        });
        Ok(())
    })
}

/// `x` is the sum over the windows around a pixel of `factor y`, of those windows alone whose tap it is if `taps` are
/// given.
pub fn scatter(
    op: &'static str,
    windows: &Windows,
    y: &Tensor,
    taps: Option<&Tensor>,
    factor: f64,
    x: &mut Tensor,
) -> Result<()> {
    real!(op, y.dtype(), T => {
        let (y, taps) = (y.as_slice::<T>()?, taps.map(|taps| taps.as_slice::<u32>()).transpose()?);
        let (row, factor) = (windows.row(), <T as Real>::Acc::of(factor));
        let lines = windows.lines_per_task(row);
        let parts = x.as_mut_slice::<T>()?.par_chunks_mut(lines * row).enumerate();
        parts.with_min_len(tasks_per_share(lines * row)).each_on_team(|(i, x)| {
            with_vector_instructions(Scatter { windows, y, taps, factor, first: i * lines, x });
        });
        Ok(())
    })
}

struct Scatter<'a, T: Real> {
    windows: &'a Windows,
    y: &'a [T],
    taps: Option<&'a [u32]>,
    factor: T::Acc,
    /// The first row of the image that is made, counted over all images.
    first: usize,
    x: &'a mut [T],
}

impl<T: Real> Kernel for Scatter<'_, T> {
    #[inline(always)]
    fn run(self) {
        let (windows, channels) = (self.windows, self.windows.channels);
        for (line, x) in self.x.chunks_exact_mut(windows.row()).enumerate() {
            let (image, i) = ((self.first + line) / windows.height, (self.first + line) % windows.height);
            let around = windows.around(i, windows.out_height);
            for (j, x) in x.chunks_exact_mut(channels).enumerate() {
                let beside = windows.around(j, windows.out_width);
                // One window around a pixel at most is what most networks have: no sums then.
                let pixel = |a: usize, b: usize| {
                    let at = ((image * windows.out_height + a) * windows.out_width + b) * channels;
                    let tap = (i - a * windows.stride) * windows.kernel + (j - b * windows.stride);
                    (at, tap as u32)
                };
                if around.len() * beside.len() == 1 {
                    let (at, tap) = pixel(around.start, beside.start);
                    let y = &self.y[at..][..channels];
                    match self.taps.map(|taps| &taps[at..][..channels]) {
                        Some(taps) => {
                            for ((x, &y), &of) in x.iter_mut().zip(y).zip(taps) {
                                *x = if of == tap { y } else { T::zeroed() };
                            }
                        }
                        None => x.iter_mut().zip(y).for_each(|(x, &y)| *x = T::narrow(y.acc() * self.factor)),
                    }
                    continue;
                }
                for (c, x) in x.iter_mut().enumerate() {
                    let mut sum = T::Acc::zero();
                    for (a, b) in around.clone().flat_map(|a| beside.clone().map(move |b| (a, b))) {
                        let (at, tap) = pixel(a, b);
                        if self.taps.is_none_or(|taps| taps[at + c] == tap) {
                            sum += self.y[at + c].acc();
                        }
                    }
                    *x = T::narrow(sum * self.factor);
                }
            }
        }
    }
}
