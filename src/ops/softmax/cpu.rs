use num_traits::Zero;
use rayon::prelude::*;

use super::Setting;
use crate::backend::cpu::{
    GRAIN, Kernel, OnTeam, ROWS_AT_ONCE, RowSum, SHORT, ShortRows, sum_of_pairs, tasks_per_share,
    with_vector_instructions,
};
use crate::error::Result;
use crate::tensor::{Accumulator, Element, Real, Tensor, real};

pub fn forward(setting: Setting, x: &Tensor, y: &mut Tensor, stats: &mut Tensor) -> Result<()> {
    real!(setting.op, x.dtype(), T => forward_as::<T>(setting, x, y, stats))
}

pub fn backward(setting: Setting, dy: &Tensor, x: &Tensor, stats: &Tensor, dx: &mut Tensor) -> Result<()> {
    real!(setting.op, x.dtype(), T => backward_as::<T>(setting, dy, x, stats, dx))
}

fn forward_as<T: Real>(setting: Setting, x: &Tensor, y: &mut Tensor, stats: &mut Tensor) -> Result<()>
where
    T::Acc: Element,
{
    let Setting { columns, log, .. } = setting;
    let rows = (GRAIN / columns).max(1);
    let x = x.as_slice::<T>()?.par_chunks(rows * columns);
    let y = y.as_mut_slice::<T>()?.par_chunks_mut(rows * columns);
    let stats = stats.as_mut_slice::<T::Acc>()?.par_chunks_mut(2 * rows);
    (x, y, stats)
        .into_par_iter()
        .with_min_len(tasks_per_share(rows * columns))
        .each_on_team(|(x, y, stats)| with_vector_instructions(Forward { columns, log, x, y, stats }));
    Ok(())
}

struct Forward<'a, T: Real> {
    columns: usize,
    log: bool,
    x: &'a [T],
    y: &'a mut [T],
    stats: &'a mut [T::Acc],
}

impl<T: Real> Kernel for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Forward { columns, log, x, y, stats } = self;
        let several = if columns <= SHORT { ROWS_AT_ONCE } else { 1 };
        let lots = x.chunks(several * columns).zip(y.chunks_mut(several * columns)).zip(stats.chunks_mut(2 * several));
        for ((x, y), stats) in lots {
            if several > 1 && x.len() == several * columns {
                short_rows(columns, log, x, y, stats);
            } else {
                rows(columns, log, x, y, stats);
            }
        }
    }
}

/// Rows one after the other.
#[inline(always)]
fn rows<T: Real>(columns: usize, log: bool, x: &[T], y: &mut [T], stats: &mut [T::Acc]) {
    let rows = x.chunks(columns).zip(y.chunks_mut(columns));
    for ((x, y), stats) in rows.zip(stats.chunks_mut(2)) {
        let total = RowSum::of(x);
        let (shift, log_sum, scale) = (total.shift, total.log_sum(), total.scale());
        if log {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = T::narrow(x.acc() - shift - log_sum);
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = T::narrow((x.acc() - shift).vector_exp() * scale);
            }
        }
        stats[0] = shift;
        stats[1] = log_sum;
    }
}

/// [`ROWS_AT_ONCE`] short rows side by side.
#[inline(always)]
fn short_rows<T: Real>(columns: usize, log: bool, x: &[T], y: &mut [T], stats: &mut [T::Acc]) {
    let mut rows = ShortRows::of(x, columns);
    let totals = rows.exponentials();
    let zeros = [T::Acc::zero(); ROWS_AT_ONCE];
    let (mut shifts, mut log_sums, mut scales) = (zeros, zeros, zeros);
    for (r, (stats, total)) in stats.chunks_exact_mut(2).zip(&totals).enumerate() {
        (shifts[r], log_sums[r], scales[r]) = (total.shift, total.log_sum(), total.scale());
        (stats[0], stats[1]) = (shifts[r], log_sums[r]);
    }
    if log {
        rows = ShortRows::of(x, columns);
        rows.map(|r, x| x - shifts[r] - log_sums[r]);
    } else {
        rows.map(|r, x| x * scales[r]);
    }
    rows.write(y);
}

fn backward_as<T: Real>(setting: Setting, dy: &Tensor, x: &Tensor, stats: &Tensor, dx: &mut Tensor) -> Result<()>
where
    T::Acc: Element,
{
    let Setting { columns, log, .. } = setting;
    let rows = (GRAIN / columns).max(1);
    let x = x.as_slice::<T>()?.par_chunks(rows * columns);
    let dy = dy.as_slice::<T>()?.par_chunks(rows * columns);
    let dx = dx.as_mut_slice::<T>()?.par_chunks_mut(rows * columns);
    let stats = stats.as_slice::<T::Acc>()?.par_chunks(2 * rows);
    (x, dy, dx, stats)
        .into_par_iter()
        .with_min_len(tasks_per_share(rows * columns))
        .each_on_team(|(x, dy, dx, stats)| with_vector_instructions(Backward { columns, log, x, dy, stats, dx }));
    Ok(())
}

struct Backward<'a, T: Real> {
    columns: usize,
    log: bool,
    x: &'a [T],
    dy: &'a [T],
    stats: &'a [T::Acc],
    dx: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Backward { columns, log, x, dy, stats, dx } = self;
        let several = if columns <= SHORT { ROWS_AT_ONCE } else { 1 };
        let lots = x.chunks(several * columns).zip(dy.chunks(several * columns));
        let lots = lots.zip(dx.chunks_mut(several * columns)).zip(stats.chunks(2 * several));
        for (((x, dy), dx), stats) in lots {
            if several > 1 && x.len() == several * columns {
                short_gradients(columns, log, x, dy, stats, dx);
            } else {
                gradients(columns, log, x, dy, stats, dx);
            }
        }
    }
}

/// [`ROWS_AT_ONCE`] short rows side by side.
#[inline(always)]
fn short_gradients<T: Real>(columns: usize, log: bool, x: &[T], dy: &[T], stats: &[T::Acc], dx: &mut [T]) {
    let (mut shifts, mut log_sums) = ([T::Acc::zero(); ROWS_AT_ONCE], [T::Acc::zero(); ROWS_AT_ONCE]);
    for (r, stats) in stats.chunks_exact(2).enumerate().take(ROWS_AT_ONCE) {
        (shifts[r], log_sums[r]) = (stats[0], stats[1]);
    }
    let mut probabilities = ShortRows::of(x, columns);
    probabilities.map(|r, x| (x - shifts[r] - log_sums[r]).vector_exp());
    let mut slopes = ShortRows::of(dy, columns);
    if log {
        let sums = slopes.sums();
        slopes.join(&probabilities, |r, dy, probability| dy - probability * sums[r]);
    } else {
        let mut products = slopes.clone();
        products.join(&probabilities, |_, dy, probability| dy * probability);
        let sums = products.sums();
        slopes.join(&probabilities, |r, dy, probability| probability * (dy - sums[r]));
    }
    slopes.write(dx);
}

/// Rows one after the other.
#[inline(always)]
fn gradients<T: Real>(columns: usize, log: bool, x: &[T], dy: &[T], stats: &[T::Acc], dx: &mut [T]) {
    for (((x, dy), dx), stats) in
        x.chunks(columns).zip(dy.chunks(columns)).zip(dx.chunks_mut(columns)).zip(stats.chunks(2))
    {
        let probability = |x: T| (x.acc() - stats[0] - stats[1]).vector_exp();
        if log {
            let sum = sum_of_pairs(x, dy, |_, dy| dy);
            for ((dx, &x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = T::narrow(dy.acc() - probability(x) * sum);
            }
        } else if size_of::<T>() == size_of::<T::Acc>() {
            // Probabilities wait in `dx`, where they are not rounded.
            dx.iter_mut().zip(x).for_each(|(dx, &x)| *dx = T::narrow(probability(x)));
            let sum = sum_of_pairs(dx, dy, |probability, dy| dy * probability);
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = T::narrow(dx.acc() * (dy.acc() - sum)));
        } else {
            let sum = sum_of_pairs(x, dy, |x, dy| dy * (x - stats[0] - stats[1]).vector_exp());
            for ((dx, &x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = T::narrow(probability(x) * (dy.acc() - sum));
            }
        }
    }
}
