use num_traits::{Float, One, Zero};
use rayon::prelude::*;

use super::{EPS, OP};
use crate::backend::cpu::{GRAIN, Kernel, OnTeam, sum_of_pairs, tasks_per_share, with_vector_instructions};
use crate::error::Result;
use crate::tensor::{Accumulator, Element, Real, Tensor, real};

pub fn forward(x: &Tensor, d: usize, y: &mut Tensor, inverse: &mut Tensor) -> Result<()> {
    real!(OP, x.dtype(), T => forward_as::<T>(x, d, y, inverse))
}

pub fn backward(dy: &Tensor, x: &Tensor, d: usize, inverse: &Tensor, dx: &mut Tensor) -> Result<()> {
    real!(OP, x.dtype(), T => backward_as::<T>(dy, x, d, inverse, dx))
}

fn forward_as<T: Real<Acc: Element>>(x: &Tensor, d: usize, y: &mut Tensor, inverse: &mut Tensor) -> Result<()> {
    let rows = (GRAIN / d).max(1);
    let tasks = (
        x.as_slice::<T>()?.par_chunks(rows * d),
        y.as_mut_slice::<T>()?.par_chunks_mut(rows * d),
        inverse.as_mut_slice::<T::Acc>()?.par_chunks_mut(rows),
    );
    let tasks = tasks.into_par_iter().with_min_len(tasks_per_share(rows * d));
    tasks.each_on_team(|(x, y, inverse)| with_vector_instructions(Forward { d, x, y, inverse }));
    Ok(())
}

struct Forward<'a, T: Real> {
    d: usize,
    x: &'a [T],
    y: &'a mut [T],
    inverse: &'a mut [T::Acc],
}

impl<T: Real> Kernel for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let eps = T::Acc::of(EPS);
        for ((x, y), inverse) in self.x.chunks(self.d).zip(self.y.chunks_mut(self.d)).zip(self.inverse) {
            let mut largest = T::Acc::zero();
            for x in x {
                let size = x.acc().abs();
                largest = if size > largest { size } else { largest };
            }
            let unit = if largest > T::Acc::zero() { T::Acc::one() / largest } else { T::Acc::zero() };
            // The inverse of a subnormal number may be infinite; such a row is short in any case.
            let unit = if unit.is_finite() { unit } else { T::Acc::zero() };
            let length = sum_of_pairs(x, x, |a, b| (a * unit) * (b * unit)).sqrt() * largest;
            *inverse = if length < eps { -T::Acc::one() / eps } else { T::Acc::one() / length };
            let factor = inverse.abs();
            for (y, x) in y.iter_mut().zip(x) {
                *y = T::narrow(x.acc() * factor);
            }
        }
    }
}

fn backward_as<T: Real<Acc: Element>>(
    dy: &Tensor,
    x: &Tensor,
    d: usize,
    inverse: &Tensor,
    dx: &mut Tensor,
) -> Result<()> {
    let rows = (GRAIN / d).max(1);
    let tasks = (
        dy.as_slice::<T>()?.par_chunks(rows * d),
        x.as_slice::<T>()?.par_chunks(rows * d),
        inverse.as_slice::<T::Acc>()?.par_chunks(rows),
        dx.as_mut_slice::<T>()?.par_chunks_mut(rows * d),
    );
    let tasks = tasks.into_par_iter().with_min_len(tasks_per_share(rows * d));
    tasks.each_on_team(|(dy, x, inverse, dx)| with_vector_instructions(Backward { d, dy, x, inverse, dx }));
    Ok(())
}

struct Backward<'a, T: Real> {
    d: usize,
    dy: &'a [T],
    x: &'a [T],
    inverse: &'a [T::Acc],
    dx: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let rows = self.dy.chunks(self.d).zip(self.x.chunks(self.d)).zip(self.dx.chunks_mut(self.d));
        for (((dy, x), dx), &inverse) in rows.zip(self.inverse) {
            let factor = inverse.abs();
            let along = match inverse > T::Acc::zero() {
                true => sum_of_pairs(x, dy, |x, dy| x * factor * dy),
                false => T::Acc::zero(),
            };
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = T::narrow((dy.acc() - x.acc() * factor * along) * factor);
            }
        }
    }
}
