use num_traits::{Float, One, Zero};
use rayon::prelude::*;

use super::{Gradients, OP, Setting};
use crate::backend::cpu::{GRAIN, Kernel, OnTeam, sum_of_pairs, tasks_per_share, with_vector_instructions};
use crate::error::Result;
use crate::tensor::{Accumulator, Device, Element, Real, Tensor, real};

/// Rows whose share of the gradients of gamma and beta is summed in the accumulator's type; the sums of such blocks are
/// added in f64.
const BLOCK: usize = 128;

pub fn forward(setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<(Tensor, Tensor)> {
    real!(OP, x.dtype(), T => forward_as::<T>(setting, x, gamma, beta))
}

pub fn backward(
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
) -> Result<Gradients> {
    real!(OP, x.dtype(), T => backward_as::<T>(setting, dy, x, gamma, beta, stats))
}

/// The values of gamma or beta, whose dtype may be wider than `x`'s.
fn widened<A: Accumulator>(affine: &Tensor) -> Result<Vec<A>> {
    Ok(affine.to_f64()?.into_iter().map(A::of).collect())
}

fn forward_as<T: Real>(setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<(Tensor, Tensor)>
where
    T::Acc: Element,
{
    let mut y = x.empty_like()?;
    let mut stats = Tensor::empty([setting.rows, 2], <T::Acc as Element>::DTYPE, &Device::Cpu)?;
    let (gamma, beta) = (widened::<T::Acc>(gamma)?, widened::<T::Acc>(beta)?);
    let c = setting.channels;
    let rows = (GRAIN / c).max(1);
    let tasks = (
        x.as_slice::<T>()?.par_chunks(rows * c),
        y.as_mut_slice::<T>()?.par_chunks_mut(rows * c),
        stats.as_mut_slice::<T::Acc>()?.par_chunks_mut(2 * rows),
    );
    let eps = T::Acc::of(setting.eps);
    tasks.into_par_iter().with_min_len(tasks_per_share(rows * c)).each_on_team(|(x, y, stats)| {
        with_vector_instructions(Forward { x, y, stats, gamma: &gamma, beta: &beta, eps });
    });
    Ok((y, stats))
}

struct Forward<'a, T: Real> {
    x: &'a [T],
    y: &'a mut [T],
    /// Of each row the mean, counted from its first element, and the factor.
    stats: &'a mut [T::Acc],
    gamma: &'a [T::Acc],
    beta: &'a [T::Acc],
    eps: T::Acc,
}

impl<T: Real> Kernel for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let c = self.gamma.len();
        let count = T::Acc::of(c as f64);
        for ((x, y), stats) in self.x.chunks(c).zip(self.y.chunks_mut(c)).zip(self.stats.chunks_mut(2)) {
            // A sum of x would round the mean, and a row's distance from it: differences of near numbers are exact.
            let first = x[0].acc();
            let mean = sum_of_pairs(x, x, |x, _| x - first) / count;
            let variance = sum_of_pairs(x, x, |x, _| (x - first - mean) * (x - first - mean)) / count;
            let scale = T::Acc::one() / (variance + self.eps).sqrt();
            for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(self.gamma).zip(self.beta) {
                *y = T::narrow((x.acc() - first - mean) * scale * gamma + beta);
            }
            stats[0] = mean;
            stats[1] = scale;
        }
    }
}

fn backward_as<T: Real>(
    setting: &Setting,
    dy: &Tensor,
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    stats: &Tensor,
) -> Result<Gradients>
where
    T::Acc: Element,
{
    let mut dx = x.empty_like()?;
    let c = setting.channels;
    let scale = widened::<T::Acc>(gamma)?;
    let tasks = (
        x.as_slice::<T>()?.par_chunks(BLOCK * c),
        dy.as_slice::<T>()?.par_chunks(BLOCK * c),
        dx.as_mut_slice::<T>()?.par_chunks_mut(BLOCK * c),
        stats.as_slice::<T::Acc>()?.par_chunks(2 * BLOCK),
    );
    let sums: Vec<Vec<T::Acc>> =
        tasks.into_par_iter().with_min_len(tasks_per_share(BLOCK * c)).map_on_team(|(x, dy, dx, stats)| {
            let mut sums = vec![T::Acc::zero(); 2 * c];
            with_vector_instructions(Backward { x, dy, dx, stats, gamma: &scale, sums: &mut sums });
            sums
        });
    let mut totals = vec![0.0; 2 * c];
    for sums in sums {
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum.widen());
    }
    let (of_gamma, of_beta) = totals.split_at(c);
    Ok(Gradients { x: dx, gamma: narrowed(of_gamma, gamma)?, beta: narrowed(of_beta, beta)? })
}

/// Sums in the dtype of the parameter whose gradient they are.
fn narrowed(sums: &[f64], like: &Tensor) -> Result<Tensor> {
    let mut gradient = like.empty_like()?;
    real!(OP, like.dtype(), T => {
        let out = gradient.as_mut_slice::<T>()?;
        out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = T::narrow(<T as Real>::Acc::of(sum)));
        Ok(())
    })?;
    Ok(gradient)
}

struct Backward<'a, T: Real> {
    x: &'a [T],
    dy: &'a [T],
    dx: &'a mut [T],
    stats: &'a [T::Acc],
    gamma: &'a [T::Acc],
    /// The gradients of gamma, then of beta.
    sums: &'a mut [T::Acc],
}

impl<T: Real> Kernel for Backward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let c = self.gamma.len();
        let count = T::Acc::of(c as f64);
        let (of_gamma, of_beta) = self.sums.split_at_mut(c);
        // Of a row, normalised values and gradients before gamma was applied to them.
        let mut row = vec![T::Acc::zero(); 2 * c];
        let (units, slopes) = row.split_at_mut(c);
        let rows = self.x.chunks(c).zip(self.dy.chunks(c)).zip(self.dx.chunks_mut(c)).zip(self.stats.chunks(2));
        for (((x, dy), dx), stats) in rows {
            let (first, mean, scale) = (x[0].acc(), stats[0], stats[1]);
            for ((unit, slope), ((&x, &dy), &gamma)) in
                units.iter_mut().zip(&mut *slopes).zip(x.iter().zip(dy).zip(self.gamma))
            {
                *unit = (x.acc() - first - mean) * scale;
                *slope = dy.acc() * gamma;
            }
            for (((of_gamma, of_beta), &unit), dy) in of_gamma.iter_mut().zip(&mut *of_beta).zip(&*units).zip(dy) {
                *of_gamma += dy.acc() * unit;
                *of_beta += dy.acc();
            }
            let slope = sum_of_pairs(slopes, units, |slope, _| slope);
            let product = sum_of_pairs(slopes, units, |slope, unit| slope * unit);
            let (slope, product) = (slope / count, product / count);
            for ((dx, &unit), &gradient) in dx.iter_mut().zip(&*units).zip(&*slopes) {
                *dx = T::narrow(scale * (gradient - slope - unit * product));
            }
        }
    }
}
