use super::Function;
use crate::backend::cpu::chunks;
use crate::error::Result;
use crate::tensor::{Accumulator, Real, Tensor, real};

/// The function and its derivative, both of x; but the exponential's derivative is given e^x.
trait Pointwise<A>: Copy + Sync {
    fn value(self, x: A) -> A;
    fn slope(self, x: A) -> A;
}

pub fn forward(function: Function, x: &Tensor) -> Result<Tensor> {
    real!(function.name(), x.dtype(), T => dispatch::<T>(function, None, x))
}

pub fn backward(function: Function, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    real!(function.name(), x.dtype(), T => dispatch::<T>(function, Some(dy), x))
}

fn dispatch<T: Real>(function: Function, dy: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    match function {
        Function::Exp => run::<T>(Exp, dy, x),
        Function::Log => run::<T>(Log, dy, x),
        Function::Sqrt => run::<T>(Sqrt, dy, x),
        Function::Square => run::<T>(Square, dy, x),
        Function::Abs => run::<T>(Abs, dy, x),
        Function::Clamp { min, max } => run::<T>(Clamp { min: T::Acc::of(min), max: T::Acc::of(max) }, dy, x),
    }
}

/// The values without `dy`, the gradient with.
fn run<T: Real>(f: impl Pointwise<T::Acc>, dy: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    let mut y = x.empty_like()?;
    let out = y.as_mut_slice::<T>()?;
    let x = x.as_slice::<T>()?;
    match dy {
        None => chunks(out, 1, |first, out| {
            for (y, &x) in out.iter_mut().zip(&x[first..]) {
                *y = T::narrow(f.value(x.acc()));
            }
        }),
        Some(dy) => {
            let dy = dy.as_slice::<T>()?;
            chunks(out, 1, |first, out| {
                for ((dx, &x), &dy) in out.iter_mut().zip(&x[first..]).zip(&dy[first..]) {
                    *dx = T::narrow(dy.acc() * f.slope(x.acc()));
                }
            });
        }
    }
    Ok(y)
}

#[derive(Clone, Copy)]
struct Exp;
impl<A: Accumulator> Pointwise<A> for Exp {
    #[inline(always)]
    fn value(self, x: A) -> A {
        x.vector_exp()
    }
    #[inline(always)]
    fn slope(self, y: A) -> A {
        y
    }
}

#[derive(Clone, Copy)]
struct Log;
impl<A: Accumulator> Pointwise<A> for Log {
    #[inline(always)]
    fn value(self, x: A) -> A {
        x.ln()
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        x.recip()
    }
}

#[derive(Clone, Copy)]
struct Sqrt;
impl<A: Accumulator> Pointwise<A> for Sqrt {
    #[inline(always)]
    fn value(self, x: A) -> A {
        x.sqrt()
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        A::of(0.5) / x.sqrt()
    }
}

#[derive(Clone, Copy)]
struct Square;
impl<A: Accumulator> Pointwise<A> for Square {
    #[inline(always)]
    fn value(self, x: A) -> A {
        x * x
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        x + x
    }
}

#[derive(Clone, Copy)]
struct Abs;
impl<A: Accumulator> Pointwise<A> for Abs {
    #[inline(always)]
    fn value(self, x: A) -> A {
        x.abs()
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        // NaN stays NaN.
        if x > A::zero() {
            A::one()
        } else if x < A::zero() {
            -A::one()
        } else {
            x.abs()
        }
    }
}

#[derive(Clone, Copy)]
struct Clamp<A> {
    min: A,
    max: A,
}
impl<A: Accumulator> Pointwise<A> for Clamp<A> {
    #[inline(always)]
    fn value(self, x: A) -> A {
        // Comparisons that are false for NaN, which therefore stays.
        if x < self.min {
            self.min
        } else if x > self.max {
            self.max
        } else {
            x
        }
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        if x < self.min || x > self.max { A::zero() } else { A::one() }
    }
}
