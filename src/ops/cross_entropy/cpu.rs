use num_traits::{One, Zero};
use rayon::prelude::*;

use crate::backend::cpu::{
    GRAIN, Kernel, OnTeam, ROWS_AT_ONCE, RowSum, SHORT, ShortRows, tasks_per_share, with_vector_instructions,
};
use crate::error::{Error, Result};
use crate::tensor::{Accumulator, Element, Real, Tensor, real};

pub fn forward(op: &'static str, x: &Tensor, labels: &Tensor, stats: &mut Tensor, loss: &mut Tensor) -> Result<()> {
    let classes = x.shape()[1];
    let labels = labels.as_slice::<u32>()?;
    if let Some((row, label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
        return Err(Error::argument(
            op,
            format!("label {label} in row {row}: labels must be below {classes}, the classes"),
        ));
    }
    real!(op, x.dtype(), T => forward_as::<T>(x, labels, stats, loss))
}

pub fn backward(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    labels: &Tensor,
    stats: &Tensor,
    dx: &mut Tensor,
) -> Result<()> {
    real!(op, x.dtype(), T => backward_as::<T>(dy, x, labels.as_slice()?, stats, dx))
}

/// Rows that are handed out together.
fn rows_per_task(classes: usize) -> usize {
    (GRAIN / classes).max(1)
}

fn forward_as<T: Real>(x: &Tensor, labels: &[u32], stats: &mut Tensor, loss: &mut Tensor) -> Result<()>
where
    T::Acc: Element,
{
    let classes = x.shape()[1];
    let rows = rows_per_task(classes);
    let x = x.as_slice::<T>()?;
    let stats = stats.as_mut_slice::<T::Acc>()?;
    let tasks = (x.par_chunks(rows * classes), stats.par_chunks_mut(2 * rows));
    let tasks = tasks.into_par_iter().with_min_len(tasks_per_share(rows * classes));
    tasks.each_on_team(|(x, stats)| with_vector_instructions(Statistics { classes, x, stats }));
    let total: f64 = labels
        .iter()
        .zip(x.chunks(classes))
        .zip(stats.chunks(2))
        .map(|((&label, x), stats)| (stats[1] - (x[label as usize].acc() - stats[0])).widen())
        .sum();
    loss.as_mut_slice::<T::Acc>()?.fill(T::Acc::of(total / labels.len() as f64));
    Ok(())
}

struct Statistics<'a, T: Real> {
    classes: usize,
    x: &'a [T],
    stats: &'a mut [T::Acc],
}

impl<T: Real> Kernel for Statistics<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Statistics { classes, mut x, mut stats } = self;
        while classes <= SHORT && x.len() >= ROWS_AT_ONCE * classes {
            let totals = ShortRows::of(x, classes).exponentials();
            (x, stats) = (&x[ROWS_AT_ONCE * classes..], put(stats, &totals));
        }
        for (x, stats) in x.chunks(classes).zip(stats.chunks_mut(2)) {
            put(stats, &[RowSum::of(x)]);
        }
    }
}

/// Writes what the backward pass needs of some rows; the rest of `stats`.
#[inline(always)]
fn put<'a, A: Accumulator>(stats: &'a mut [A], totals: &[RowSum<A>]) -> &'a mut [A] {
    let (these, rest) = stats.split_at_mut(2 * totals.len());
    for (stats, total) in these.chunks_exact_mut(2).zip(totals) {
        stats[0] = total.shift;
        stats[1] = total.log_sum();
    }
    rest
}

fn backward_as<T: Real>(dy: &Tensor, x: &Tensor, labels: &[u32], stats: &Tensor, dx: &mut Tensor) -> Result<()>
where
    T::Acc: Element,
{
    let classes = x.shape()[1];
    let rows = rows_per_task(classes);
    let dy = dy.as_slice::<T::Acc>()?.first().copied().unwrap_or(T::Acc::zero());
    let scale = dy / T::Acc::of(labels.len() as f64);
    let x = x.as_slice::<T>()?.par_chunks(rows * classes);
    let dx = dx.as_mut_slice::<T>()?.par_chunks_mut(rows * classes);
    let stats = stats.as_slice::<T::Acc>()?.par_chunks(2 * rows);
    let tasks = (x, labels.par_chunks(rows), dx, stats).into_par_iter();
    tasks.with_min_len(tasks_per_share(rows * classes)).each_on_team(|(x, labels, dx, stats)| {
        with_vector_instructions(Gradient { classes, scale, x, labels, stats, dx });
    });
    Ok(())
}

struct Gradient<'a, T: Real> {
    classes: usize,
    scale: T::Acc,
    x: &'a [T],
    labels: &'a [u32],
    stats: &'a [T::Acc],
    dx: &'a mut [T],
}

impl<T: Real> Kernel for Gradient<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Gradient { classes, scale, x, labels, stats, dx } = self;
        for (((x, dx), stats), &label) in x.chunks(classes).zip(dx.chunks_mut(classes)).zip(stats.chunks(2)).zip(labels)
        {
            let probability = |x: T| (x.acc() - stats[0] - stats[1]).vector_exp();
            for (dx, &x) in dx.iter_mut().zip(x) {
                *dx = T::narrow(probability(x) * scale);
            }
            let label = label as usize;
            dx[label] = T::narrow((probability(x[label]) - T::Acc::one()) * scale);
        }
    }
}
