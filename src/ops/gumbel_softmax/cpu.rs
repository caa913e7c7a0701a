use std::sync::atomic::{AtomicUsize, Ordering};

use num_traits::{One, Zero};
use rayon::prelude::*;

use super::{Forward, GumbelNoise, OP};
use crate::backend::cpu::{
    GRAIN, Kernel, OnTeam, sum_of_pairs, tasks_per_share, weighted_chunks, with_vector_instructions,
};
use crate::error::Result;
use crate::ops::gumbel_rows::{
    ColumnPeaks, Columns, LANES, Noise, PerturbedRows, SHORT, columns, no_distribution, perturb_columns, rows, sum_of,
};
use crate::tensor::{Accumulator, Element, Real, Tensor, real};

pub fn forward(forward: &mut Forward) -> Result<()> {
    real!(OP, forward.x.dtype(), T => run::<T>(forward))
}

fn run<T: Real<Acc: Element>>(forward: &mut Forward) -> Result<()> {
    let Forward { x, tau, noise, soft, y } = forward;
    let k = x.shape()[1];
    let x = x.as_slice::<T>()?;
    let noise = match noise {
        GumbelNoise::Drawn(draws) => {
            let (stream, samples) = draws.host()?;
            Noise::Drawn { stream, samples, first_block: 0 }
        }
        GumbelNoise::Given(noise) => Noise::Given(noise.as_slice::<T::Acc>()?),
    };
    let size = k * (GRAIN / k).max(1);
    let tiles = x.len().div_ceil(size);
    let mut soft = tiles_of::<T>(soft.as_mut(), size, tiles)?;
    let mut y = tiles_of::<T>(y.as_mut(), size, tiles)?;
    let bad = AtomicUsize::new(usize::MAX);
    let tasks = x.par_chunks(size).zip(&mut soft).zip(&mut y).enumerate().with_min_len(tasks_per_share(size));
    tasks.each_on_team(|(i, ((x, soft), y))| {
        let inverse = T::Acc::of(1.0 / *tau);
        with_vector_instructions(Tile { k, inverse, x, noise, soft, y, first: i * size / k, bad: &bad });
    });
    match bad.into_inner() {
        usize::MAX => Ok(()),
        row => Err(no_distribution(OP, row)),
    }
}

/// The tensor in pieces of `size` elements, or as many empty ones.
fn tiles_of<T: Element>(tensor: Option<&mut Tensor>, size: usize, tiles: usize) -> Result<Vec<&mut [T]>> {
    Ok(match tensor {
        Some(tensor) => tensor.as_mut_slice::<T>()?.chunks_mut(size).collect(),
        None => (0..tiles).map(|_| &mut [][..]).collect(),
    })
}

/// Some rows, from the batch's row `first` on; `soft` or `y` is empty where nobody wants it.
struct Tile<'a, T: Real> {
    k: usize,
    inverse: T::Acc,
    x: &'a [T],
    noise: Noise<'a, T::Acc>,
    soft: &'a mut [T],
    y: &'a mut [T],
    first: usize,
    bad: &'a AtomicUsize,
}

impl<T: Real> Kernel for Tile<'_, T> {
    #[inline(always)]
    fn run(self) {
        if self.k <= SHORT { self.side_by_side() } else { self.one_by_one() }
    }
}

impl<T: Real> Tile<'_, T> {
    #[inline(always)]
    fn side_by_side(self) {
        let Tile { k, inverse, x, noise, soft, y, first, bad } = self;
        let mut t: Columns<T::Acc> = [[T::Acc::zero(); LANES]; SHORT];
        for (i, x) in x.chunks(LANES * k).enumerate() {
            let (row, count, span) = (first + i * LANES, x.len() / k, i * LANES * k..i * LANES * k + x.len());
            columns(x, k, &mut t);
            perturb_columns(&mut t, k, &noise, row, count);
            let peaks = ColumnPeaks::of(&t[..k]);
            if let Some(l) = (0..count).find(|&l| peaks.best(l).is_none()) {
                bad.fetch_min(row + l, Ordering::Relaxed);
            }
            if !soft.is_empty() {
                let mut sum = [T::Acc::zero(); LANES];
                for t in &mut t[..k] {
                    for l in 0..LANES {
                        t[l] = ((t[l] - peaks.max[l]) * inverse).vector_exp();
                        sum[l] += t[l];
                    }
                }
                let share = sum.map(|sum| T::Acc::one() / sum);
                for t in &mut t[..k] {
                    for l in 0..LANES {
                        t[l] *= share[l];
                    }
                }
                rows(&t, k, &mut soft[span.clone()]);
            }
            if !y.is_empty() {
                for (l, y) in y[span].chunks_exact_mut(k).enumerate() {
                    one_hot(y, peaks.best(l));
                }
            }
        }
    }

    #[inline(always)]
    fn one_by_one(self) {
        let Tile { k, inverse, x, noise, soft, y, first, bad } = self;
        let count = x.len() / k;
        let mut perturbed = PerturbedRows::new(k, count);
        for (r, x) in x.chunks_exact(k).enumerate() {
            let peak = perturbed.make(x, &noise, first + r, count - r);
            if !peak.is_fine() {
                bad.fetch_min(first + r, Ordering::Relaxed);
                continue;
            }
            let t = &mut perturbed.t;
            if !y.is_empty() {
                one_hot(&mut y[r * k..][..k], peak.position(t));
            }
            if !soft.is_empty() {
                let sum = sum_of(t, |t| {
                    *t = ((*t - peak.max) * inverse).vector_exp();
                    *t
                });
                let share = T::Acc::one() / sum;
                for (soft, &t) in soft[r * k..][..k].iter_mut().zip(&*t) {
                    *soft = T::narrow(t * share);
                }
            }
        }
    }
}

#[inline(always)]
fn one_hot<T: Real>(y: &mut [T], best: Option<usize>) {
    y.fill(T::narrow(T::Acc::zero()));
    if let Some(y) = best.and_then(|best| y.get_mut(best)) {
        *y = T::narrow(T::Acc::one());
    }
}

pub fn backward(dy: &Tensor, soft: &Tensor, k: usize, tau: f64, dx: &mut Tensor) -> Result<()> {
    real!(OP, dy.dtype(), T => run_backward::<T>(dy, soft, k, tau, dx))
}

fn run_backward<T: Real>(dy: &Tensor, soft: &Tensor, k: usize, tau: f64, dx: &mut Tensor) -> Result<()> {
    let (dy, soft) = (dy.as_slice::<T>()?, soft.as_slice::<T>()?);
    let inverse = T::Acc::of(1.0 / tau);
    weighted_chunks(dx.as_mut_slice::<T>()?, k, k, |first, dx| {
        let span = first..first + dx.len();
        with_vector_instructions(BackwardTile { k, inverse, dy: &dy[span.clone()], soft: &soft[span], dx });
    });
    Ok(())
}

struct BackwardTile<'a, T: Real> {
    k: usize,
    inverse: T::Acc,
    dy: &'a [T],
    soft: &'a [T],
    dx: &'a mut [T],
}

/// `soft dy`, without what a masked label is given.
#[inline(always)]
fn product<A: Accumulator>(soft: A, dy: A) -> A {
    if soft.is_zero() { A::zero() } else { soft * dy }
}

impl<T: Real> Kernel for BackwardTile<'_, T> {
    #[inline(always)]
    fn run(self) {
        let BackwardTile { k, inverse, dy, soft, dx } = self;
        for ((dy, soft), dx) in dy.chunks_exact(k).zip(soft.chunks_exact(k)).zip(dx.chunks_exact_mut(k)) {
            let (sum, dot) = (sum_of_pairs(soft, dy, |s, _| s), sum_of_pairs(soft, dy, product));
            let share = T::Acc::one() / sum;
            let dot = dot * share;
            for ((dx, s), dy) in dx.iter_mut().zip(soft).zip(dy) {
                *dx = T::narrow(product(s.acc() * share * inverse, dy.acc() - dot));
            }
        }
    }
}
