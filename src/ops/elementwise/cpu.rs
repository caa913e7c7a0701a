use super::function::Function;
use crate::backend::cpu::chunks;
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
    chunks(y.as_mut_slice::<T>()?, 1, |first, y| {
        for (y, &x) in y.iter_mut().zip(&x[first..]) {
            *y = T::narrow(f.value(x.acc()));
        }
    });
    Ok(y)
}

fn gradient<T: Real, F: Function>(f: F, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    let mut dx = x.empty_like()?;
    let (dy, x) = (dy.as_slice::<T>()?, x.as_slice::<T>()?);
    chunks(dx.as_mut_slice::<T>()?, 1, |first, dx| {
        for ((dx, &x), &dy) in dx.iter_mut().zip(&x[first..]).zip(&dy[first..]) {
            *dx = T::narrow(dy.acc() * f.slope(x.acc()));
        }
    });
    Ok(dx)
}
