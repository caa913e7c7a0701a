use num_traits::Zero;

use super::Activation;
use crate::backend::cpu::chunks;
use crate::error::Result;
use crate::tensor::{Accumulator, Real, Tensor, real};

/// The function and its derivative.
trait Function<A>: Copy + Sync {
    fn value(self, x: A) -> A;
    fn slope(self, x: A) -> A;
}

pub fn forward(activation: Activation, x: &Tensor) -> Result<Tensor> {
    real!(activation.name(), x.dtype(), T => dispatch::<T>(activation, None, x))
}

pub fn backward(activation: Activation, dy: &Tensor, x: &Tensor) -> Result<Tensor> {
    real!(activation.name(), x.dtype(), T => dispatch::<T>(activation, Some(dy), x))
}

fn dispatch<T: Real>(activation: Activation, dy: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Silu => run::<T>(Silu, dy, x),
        Activation::Sigmoid => run::<T>(Sigmoid, dy, x),
        Activation::Tanh => run::<T>(Tanh, dy, x),
        Activation::Relu => run::<T>(LeakyRelu(T::Acc::zero()), dy, x),
        Activation::LeakyRelu(slope) => run::<T>(LeakyRelu(T::Acc::of(slope)), dy, x),
        Activation::Gelu => run::<T>(Gelu, dy, x),
        Activation::Softplus => run::<T>(Softplus, dy, x),
    }
}

/// The values without `dy`, the gradient with.
fn run<T: Real>(f: impl Function<T::Acc>, dy: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
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

#[inline(always)]
fn logistic<A: Accumulator>(x: A) -> A {
    A::one() / (A::one() + (-x).vector_exp())
}

#[derive(Clone, Copy)]
struct Silu;
impl<A: Accumulator> Function<A> for Silu {
    #[inline(always)]
    fn value(self, x: A) -> A {
        x * logistic(x)
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        let s = logistic(x);
        s * (A::one() + x * (A::one() - s))
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;
impl<A: Accumulator> Function<A> for Sigmoid {
    #[inline(always)]
    fn value(self, x: A) -> A {
        logistic(x)
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        logistic(x) * logistic(-x)
    }
}

#[derive(Clone, Copy)]
struct Tanh;
impl<A: Accumulator> Function<A> for Tanh {
    #[inline(always)]
    fn value(self, x: A) -> A {
        x.tanh()
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        let y = x.tanh();
        A::one() - y * y
    }
}

#[derive(Clone, Copy)]
struct LeakyRelu<A>(A);
impl<A: Accumulator> Function<A> for LeakyRelu<A> {
    #[inline(always)]
    fn value(self, x: A) -> A {
        let scaled = if x > A::zero() { x } else { x * self.0 };
        // So that ReLU maps -inf to 0, while NaN stays NaN.
        if x < A::zero() && self.0 == A::zero() { A::zero() } else { scaled }
    }
    #[inline(always)]
    fn slope(self, x: A) -> A {
        if x > A::zero() { A::one() } else { self.0 }
    }
}

#[derive(Clone, Copy)]
struct Gelu;
impl<A: Accumulator> Function<A> for Gelu {
    fn value(self, x: A) -> A {
        x * normal_cdf(x)
    }
    fn slope(self, x: A) -> A {
        let density = (-x * x / A::of(2.0)).exp() / (A::PI() + A::PI()).sqrt();
        normal_cdf(x) + x * density
    }
}

fn normal_cdf<A: Accumulator>(x: A) -> A {
    // erfc keeps the lower tail's digits, which 1 + erf would cancel.
    (-x * A::FRAC_1_SQRT_2()).erfc() / A::of(2.0)
}

#[derive(Clone, Copy)]
struct Softplus;
impl<A: Accumulator> Function<A> for Softplus {
    fn value(self, x: A) -> A {
        x.max(A::zero()) + (-x.abs()).exp().ln_1p()
    }
    fn slope(self, x: A) -> A {
        logistic(x)
    }
}
