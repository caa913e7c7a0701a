use super::function::Function;
use crate::backend::cpu::{GRAIN, Kernel, parts, with_vector_instructions};
use crate::error::Result;
use crate::tensor::{Real, Tensor, real};

pub fn forward<F: Function>(f: F, x: &Tensor) -> Result<Tensor> {
    real!(F::NAME, x.dtype(), T => values::<T, F>(f, x))
}

pub fn backward<F: Function>(f: F, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    real!(F::NAME, x.dtype(), T => gradient::<T, F>(f, dy, x))
}

fn values<T: Real, F: Function>(f: F, x: &Tensor) -> Result<Tensor> {
    let mut y = x.empty_like()?;
    let x = x.as_slice::<T>()?;
    parts(y.as_mut_slice::<T>()?, GRAIN, GRAIN, &|i, y| {
        with_vector_instructions(Values { f, x: &x[i * GRAIN..], y });
    });
    Ok(y)
}

struct Values<'a, T, F> {
    f: F,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real, F: Function> Kernel for Values<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = T::narrow(self.f.value(x.acc()));
        }
    }
}

fn gradient<T: Real, F: Function>(f: F, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut dx = x.empty_like()?;
    let (dy, x) = (dy.as_slice::<T>()?, x.as_slice::<T>()?);
    parts(dx.as_mut_slice::<T>()?, GRAIN, GRAIN, &|i, dx| {
        with_vector_instructions(Gradient { f, dy: &dy[i * GRAIN..], x: &x[i * GRAIN..], dx });
    });
    Ok(dx)
}

struct Gradient<'a, T, F> {
    f: F,
    dy: &'a [T],
    x: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real, F: Function> Kernel for Gradient<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        for ((dx, &x), &dy) in self.dx.iter_mut().zip(self.x).zip(self.dy) {
            *dx = T::narrow(dy.acc() * self.f.slope(x.acc()));
        }
    }
}
