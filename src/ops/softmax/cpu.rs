use rayon::prelude::*;

use super::Setting;
use crate::backend::cpu::{GRAIN, Kernel, RowSum, sum_of_pairs, tasks_per_share, with_vector_instructions};
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
        .for_each(|(x, y, stats)| with_vector_instructions(Forward { columns, log, x, y, stats }));
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
        let rows = self.x.chunks(self.columns).zip(self.y.chunks_mut(self.columns));
        for ((x, y), stats) in rows.zip(self.stats.chunks_mut(2)) {
            let total = RowSum::of(x);
            let (shift, log_sum, scale) = (total.shift, total.log_sum(), total.scale());
            if self.log {
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
        .for_each(|(x, dy, dx, stats)| with_vector_instructions(Backward { columns, log, x, dy, stats, dx }));
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
        for (((x, dy), dx), stats) in
            x.chunks(columns).zip(dy.chunks(columns)).zip(dx.chunks_mut(columns)).zip(stats.chunks(2))
        {
            let probability = |x: T::Acc| (x - stats[0] - stats[1]).vector_exp();
            let sum = match log {
                true => sum_of_pairs(x, dy, |_, dy| dy),
                false => sum_of_pairs(x, dy, |x, dy| dy * probability(x)),
            };
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                let (dy, probability) = (dy.acc(), probability(x.acc()));
                *dx = T::narrow(if log { dy - probability * sum } else { probability * (dy - sum) });
            }
        }
    }
}
