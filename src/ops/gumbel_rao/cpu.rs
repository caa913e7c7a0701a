use num_traits::{One, Zero};

use super::{Backward, OP};
use crate::backend::cpu::{Kernel, RowSum, parts, weighted_chunks, with_vector_instructions};
use crate::error::Result;
use crate::ops::gumbel_rows::{
    Columns, LANES, Noise, SHORT, columns, label_rows, no_distribution, perturb_columns, rows, sum_of,
};
use crate::ops::random::Draws;
use crate::random::{Gumbel, Samples, Stream, fill_rows};
use crate::tensor::{Accumulator, Real, Tensor, real};

pub fn forward(x: &Tensor, k: usize, draws: &Draws, y: &mut Tensor, labels: &mut Tensor) -> Result<()> {
    real!(OP, x.dtype(), T => run::<T>(x, k, draws, y, labels))
}

fn run<T: Real>(x: &Tensor, k: usize, draws: &Draws, y: &mut Tensor, labels: &mut Tensor) -> Result<()> {
    let (stream, samples) = draws.host()?;
    let noise = Noise::Drawn { stream, samples, first_block: 0 };
    let labels = labels.as_mut_slice::<u32>()?;
    if let Some(row) = label_rows(x.as_slice::<T>()?, k, noise, labels) {
        return Err(no_distribution(OP, row));
    }
    weighted_chunks(y.as_mut_slice::<T>()?, k, k, |first, y| {
        y.fill(T::narrow(T::Acc::zero()));
        for (y, &label) in y.chunks_exact_mut(k).zip(&labels[first / k..]) {
            y[label as usize] = T::narrow(T::Acc::one());
        }
    });
    Ok(())
}

pub fn backward(dy: &Tensor, saved: &Backward, dx: &mut Tensor) -> Result<()> {
    real!(OP, dy.dtype(), T => run_backward::<T>(dy, saved, dx))
}

fn run_backward<T: Real>(dy: &Tensor, saved: &Backward, dx: &mut Tensor) -> Result<()> {
    let &Backward { k, tau, samples: count, .. } = saved;
    let (stream, samples) = saved.draws.host()?;
    let (x, dy) = (saved.x.as_slice::<T>()?, dy.as_slice::<T>()?);
    let labels = saved.labels.as_slice::<u32>()?;
    let inverse = T::Acc::of(1.0 / tau);
    // Rows side by side, or one by one.
    let at_once = if k <= SHORT { LANES } else { 1 };
    parts(dx.as_mut_slice::<T>()?, at_once * k, at_once * k * count, &|i, dx| {
        let (row, span) = (i * at_once, i * at_once * k..i * at_once * k + dx.len());
        let (x, dy, labels) = (&x[span.clone()], &dy[span], &labels[row..][..dx.len() / k]);
        with_vector_instructions(Mean { k, count, inverse, x, dy, labels, stream, samples: samples.skip(row), dx });
    });
    Ok(())
}

/// Adds up the gradients of `count` samples of some rows.
struct Mean<'a, T: Real> {
    k: usize,
    count: usize,
    inverse: T::Acc,
    x: &'a [T],
    dy: &'a [T],
    labels: &'a [u32],
    stream: Stream,
    samples: Samples<'a>,
    dx: &'a mut [T],
}

impl<T: Real> Kernel for Mean<'_, T> {
    #[inline(always)]
    fn run(self) {
        if self.k <= SHORT { self.side_by_side() } else { self.one_row() }
    }
}

impl<T: Real> Mean<'_, T> {
    /// Where the noise of sample `m` begins.
    fn first_block(&self, m: usize) -> u32 {
        ((m + 1) * self.k.div_ceil(4)) as u32
    }

    #[inline(always)]
    fn side_by_side(self) {
        let (k, rows_here) = (self.k, self.labels.len());
        let zero = [[T::Acc::zero(); LANES]; SHORT];
        let (mut x, mut dy, mut total): (Columns<T::Acc>, _, _) = (zero, zero, zero);
        for (l, row) in self.x.chunks_exact(k).enumerate() {
            let sum = RowSum::of(row);
            let log_sum = sum.shift + sum.log_sum();
            for (x, &logit) in x.iter_mut().zip(row) {
                x[l] = logit.acc() - log_sum;
            }
        }
        columns(self.dy, k, &mut dy);
        for m in 0..self.count {
            let mut w = zero;
            let noise = Noise::Drawn { stream: self.stream, samples: self.samples, first_block: self.first_block(m) };
            perturb_columns(&mut w, k, &noise, 0, rows_here);
            let mut top = [T::Acc::zero(); LANES];
            for (l, &label) in self.labels.iter().enumerate() {
                top[l] = w[label as usize][l];
            }
            for (x, w) in x[..k].iter().zip(&mut w) {
                for l in 0..LANES {
                    w[l] = weight(top[l], x[l] + w[l], self.inverse);
                }
            }
            for (l, &label) in self.labels.iter().enumerate() {
                w[label as usize][l] = T::Acc::one();
            }
            let (mut share, mut dot) = ([T::Acc::zero(); LANES], [T::Acc::zero(); LANES]);
            for (w, dy) in w[..k].iter().zip(&dy) {
                for l in 0..LANES {
                    share[l] += w[l];
                    dot[l] += product(w[l], dy[l]);
                }
            }
            for l in 0..LANES {
                share[l] = T::Acc::one() / share[l];
                dot[l] *= share[l];
            }
            for ((total, w), dy) in total[..k].iter_mut().zip(&w).zip(&dy) {
                for l in 0..LANES {
                    total[l] += product(w[l] * share[l], dy[l] - dot[l]);
                }
            }
        }
        let factor = self.inverse / T::Acc::of(self.count as f64);
        for total in &mut total[..k] {
            for total in total {
                *total *= factor;
            }
        }
        rows(&total, k, self.dx);
    }

    #[inline(always)]
    fn one_row(self) {
        let k = self.k;
        let sum = RowSum::of(self.x);
        let log_sum = sum.shift + sum.log_sum();
        let label = self.labels[0] as usize;
        let (mut noise, mut w) = (vec![0.0f32; k.next_multiple_of(4)], vec![T::Acc::zero(); k]);
        let mut total = w.clone();
        for m in 0..self.count {
            let sample = Samples::From(self.samples.id(0));
            fill_rows(Gumbel, &self.stream, sample, noise.len(), self.first_block(m), &mut noise);
            let top = T::Acc::of(noise[label].into());
            for ((w, x), &g) in w.iter_mut().zip(self.x).zip(&noise) {
                *w = weight(top, x.acc() - log_sum + T::Acc::of(g.into()), self.inverse);
            }
            w[label] = T::Acc::one();
            let share = T::Acc::one() / sum_of(&mut w, |w| *w);
            let mut dot = T::Acc::zero();
            for (&w, dy) in w.iter().zip(self.dy) {
                dot += product(w, dy.acc());
            }
            let dot = dot * share;
            for ((total, &w), dy) in total.iter_mut().zip(&w).zip(self.dy) {
                *total += product(w * share, dy.acc() - dot);
            }
        }
        let factor = self.inverse / T::Acc::of(self.count as f64);
        for (dx, total) in self.dx.iter_mut().zip(total) {
            *dx = T::narrow(total * factor);
        }
    }
}

/// `exp((v_j - v_d) / tau)`, where `v_d` is `top`.
#[inline(always)]
fn weight<A: Accumulator>(top: A, t: A, inverse: A) -> A {
    (-((top - t).vector_softplus() * inverse)).vector_exp()
}

/// `w dy`, without what a masked label is given.
#[inline(always)]
fn product<A: Accumulator>(w: A, dy: A) -> A {
    if w.is_zero() { A::zero() } else { w * dy }
}
