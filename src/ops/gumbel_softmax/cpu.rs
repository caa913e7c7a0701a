use std::sync::atomic::{AtomicUsize, Ordering};

use num_traits::{One, Zero};
use rayon::prelude::*;

use super::{GumbelNoise, OP};
use crate::backend::cpu::{GRAIN, Kernel, tasks_per_share, weighted_chunks, with_vector_instructions};
use crate::error::{Error, Result};
use crate::random::{Gumbel, fill_rows};
use crate::tensor::{Accumulator, Element, Real, Tensor, real};

pub fn forward(
    x: &Tensor,
    tau: f64,
    hard: bool,
    noise: GumbelNoise,
    soft: &mut Tensor,
    y: Option<&mut Tensor>,
) -> Result<()> {
    real!(OP, x.dtype(), T => run::<T>(x, tau, hard, noise, soft, y))
}

fn run<T: Real<Acc: Element>>(
    x: &Tensor,
    tau: f64,
    hard: bool,
    noise: GumbelNoise,
    soft: &mut Tensor,
    y: Option<&mut Tensor>,
) -> Result<()> {
    let k = x.shape()[1];
    let x = x.as_slice::<T>()?;
    let draws = match noise {
        GumbelNoise::Drawn(draws) => Some(draws.host()?),
        GumbelNoise::Given(_) => None,
    };
    let given = match noise {
        GumbelNoise::Drawn(_) => None,
        GumbelNoise::Given(noise) => Some(noise.as_slice::<T::Acc>()?),
    };
    let size = k * (GRAIN / k).max(1);
    let soft = soft.as_mut_slice::<T::Acc>()?;
    let mut y: Vec<&mut [T]> = match y {
        Some(y) => y.as_mut_slice::<T>()?.chunks_mut(size).collect(),
        None => soft.chunks(size).map(|_| &mut [][..]).collect(),
    };
    let bad = AtomicUsize::new(usize::MAX);
    let tasks = soft.par_chunks_mut(size).zip(&mut y).enumerate().with_min_len(tasks_per_share(size));
    tasks.for_each(|(i, (soft, y))| {
        let (first, count) = (i * size, soft.len());
        let mut drawn = vec![0.0f32; if draws.is_some() { count } else { 0 }];
        if let Some((stream, samples)) = &draws {
            fill_rows(Gumbel, stream, samples.skip(first / k), k, 0, &mut drawn);
        }
        with_vector_instructions(Tile {
            k,
            inverse: T::Acc::of(1.0 / tau),
            hard,
            x: &x[first..first + count],
            drawn: &drawn,
            given: given.map(|given| &given[first..first + count]),
            soft,
            y,
            first_row: first / k,
            bad: &bad,
        });
    });
    match bad.into_inner() {
        usize::MAX => Ok(()),
        row => Err(Error::NonFinite {
            what: format!("{OP}: row {row} of the logits"),
            found: "all -inf, or a NaN or +inf; a row needs a finite logit, and only -inf besides".into(),
        }),
    }
}

/// Some rows; `y` is empty where `soft` is the result.
struct Tile<'a, T: Real> {
    k: usize,
    inverse: T::Acc,
    hard: bool,
    x: &'a [T],
    drawn: &'a [f32],
    given: Option<&'a [T::Acc]>,
    soft: &'a mut [T::Acc],
    y: &'a mut [T],
    first_row: usize,
    bad: &'a AtomicUsize,
}

impl<T: Real> Kernel for Tile<'_, T> {
    #[inline(always)]
    fn run(self) {
        let k = self.k;
        match self.given {
            Some(given) => {
                for ((t, x), &g) in self.soft.iter_mut().zip(self.x).zip(given) {
                    *t = x.acc() + g;
                }
            }
            None => {
                for ((t, x), &g) in self.soft.iter_mut().zip(self.x).zip(self.drawn) {
                    *t = x.acc() + T::Acc::of(g.into());
                }
            }
        }
        for (r, soft) in self.soft.chunks_exact_mut(k).enumerate() {
            let Some(best) = relax(soft, self.inverse) else {
                self.bad.fetch_min(self.first_row + r, Ordering::Relaxed);
                continue;
            };
            let y = if self.y.is_empty() { &mut [][..] } else { &mut self.y[r * k..(r + 1) * k] };
            for (j, (y, &s)) in y.iter_mut().zip(&*soft).enumerate() {
                *y = T::narrow(match self.hard {
                    false => s,
                    true if j == best => T::Acc::one(),
                    true => T::Acc::zero(),
                });
            }
        }
    }
}

/// Turns `t` into `softmax(t / tau)`; returns the first largest entry, or `None` if there is no distribution.
#[inline(always)]
fn relax<A: Accumulator>(t: &mut [A], inverse: A) -> Option<usize> {
    let (mut max, mut best) = (A::neg_infinity(), None);
    for (j, &t) in t.iter().enumerate() {
        if t.is_nan() || t == A::infinity() {
            return None;
        }
        if t > max {
            (max, best) = (t, Some(j));
        }
    }
    let best = best?;
    for t in t.iter_mut() {
        // 0 / tau is 0 even where 1 / tau overflows.
        *t = if *t == max { A::one() } else { ((*t - max) * inverse).vector_exp() };
    }
    let sum: A = t.iter().copied().sum();
    t.iter_mut().for_each(|t| *t /= sum);
    Some(best)
}

pub fn backward(dy: &Tensor, soft: &Tensor, k: usize, tau: f64, dx: &mut Tensor) -> Result<()> {
    real!(OP, dy.dtype(), T => run_backward::<T>(dy, soft, k, tau, dx))
}

fn run_backward<T: Real<Acc: Element>>(dy: &Tensor, soft: &Tensor, k: usize, tau: f64, dx: &mut Tensor) -> Result<()> {
    let (dy, soft) = (dy.as_slice::<T>()?, soft.as_slice::<T::Acc>()?);
    let inverse = T::Acc::of(1.0 / tau);
    weighted_chunks(dx.as_mut_slice::<T>()?, k, k, |first, dx| {
        let rows = dy[first..].chunks_exact(k).zip(soft[first..].chunks_exact(k));
        for (dx, (dy, soft)) in dx.chunks_exact_mut(k).zip(rows) {
            let mut dot = T::Acc::zero();
            for (&s, dy) in soft.iter().zip(dy) {
                if !s.is_zero() {
                    dot += s * dy.acc();
                }
            }
            for ((dx, &s), dy) in dx.iter_mut().zip(soft).zip(dy) {
                *dx = T::narrow(if s.is_zero() { s } else { s * (dy.acc() - dot) * inverse });
            }
        }
    });
    Ok(())
}
