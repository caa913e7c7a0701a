use num_traits::{Float, Zero};

use super::{Coefficient, OP};
use crate::backend::cpu::{Kernel, chunks, with_vector_instructions};
use crate::error::Result;
use crate::ops::random::{Draws, Rows};
use crate::random::{Normal, with_numbers};
use crate::tensor::{Accumulator, Element, Real, Tensor, real};

pub fn update(
    x: Option<&Tensor>,
    slope: Option<(&Coefficient, &Tensor)>,
    noise: Option<(&Coefficient, &Draws)>,
    y: &mut Tensor,
) -> Result<()> {
    real!(OP, y.dtype(), T => run::<T>(x, slope, noise, y))
}

fn run<T: Real<Acc: Element>>(
    x: Option<&Tensor>,
    slope: Option<(&Coefficient, &Tensor)>,
    noise: Option<(&Coefficient, &Draws)>,
    y: &mut Tensor,
) -> Result<()> {
    let len = Rows::of(y.shape()).len;
    let none = Factor::Shared(T::Acc::zero());
    let (a, d) = match slope {
        Some((a, d)) => (Factor::of(a)?, Some(d.as_slice::<T>()?)),
        None => (none, None),
    };
    let b = noise.map_or(Ok(none), |(b, _)| Factor::of(b))?;
    let x = x.map(Tensor::as_slice::<T>).transpose()?;
    let tile = |first: usize, out: &mut [T], z: Option<&[f32]>| {
        with_vector_instructions(Tile { first, len, x, d, z, a, b, out });
    };
    let out = y.as_mut_slice::<T>()?;
    match noise {
        None => chunks(out, 1, |first, out| tile(first, out, None)),
        Some((_, draws)) => {
            let (stream, samples) = draws.host()?;
            with_numbers(Normal, &stream, samples, len, out, |first, out, z| tile(first, out, Some(z)))?;
        }
    }
    Ok(())
}

/// The elements of `out`, which are those from `first` on of rows of `len`; `z` has a number for each.
struct Tile<'a, T: Real> {
    first: usize,
    len: usize,
    x: Option<&'a [T]>,
    d: Option<&'a [T]>,
    z: Option<&'a [f32]>,
    a: Factor<'a, T::Acc>,
    b: Factor<'a, T::Acc>,
    out: &'a mut [T],
}

impl<T: Real<Acc: Element>> Kernel for Tile<'_, T> {
    #[inline(always)]
    fn run(self) {
        let mut at = self.first;
        let end = at + self.out.len();
        while at < end {
            let row = at / self.len;
            let stop = end.min((row + 1) * self.len);
            let out = &mut self.out[at - self.first..stop - self.first];
            let (a, b) = (self.a.at(row), self.b.at(row));
            let x = self.x.map(|x| &x[at..stop]);
            match (x, self.d.map(|d| &d[at..stop]), self.z.map(|z| &z[at - self.first..stop - self.first])) {
                (Some(x), Some(d), Some(z)) => {
                    for (((y, x), d), &z) in out.iter_mut().zip(x).zip(d).zip(z) {
                        *y = T::narrow(b.mul_add(T::Acc::of(z.into()), a.mul_add(d.acc(), x.acc())));
                    }
                }
                (Some(x), Some(d), None) => {
                    for ((y, x), d) in out.iter_mut().zip(x).zip(d) {
                        *y = T::narrow(a.mul_add(d.acc(), x.acc()));
                    }
                }
                (x, d, z) => {
                    for (i, y) in out.iter_mut().enumerate() {
                        let mut v = x.map_or(T::Acc::zero(), |x| x[i].acc());
                        v = d.map_or(v, |d| a.mul_add(d[i].acc(), v));
                        v = z.map_or(v, |z| b.mul_add(T::Acc::of(z[i].into()), v));
                        *y = T::narrow(v);
                    }
                }
            }
            at = stop;
        }
    }
}

/// A coefficient ready for use.
#[derive(Clone, Copy)]
enum Factor<'a, A> {
    Shared(A),
    PerSample(&'a [A]),
}

impl<'a, A: Accumulator + Element> Factor<'a, A> {
    fn of(coefficient: &'a Coefficient) -> Result<Self> {
        Ok(match coefficient {
            Coefficient::Shared(value) => Factor::Shared(A::of(*value)),
            Coefficient::PerSample(values) => Factor::PerSample(values.as_slice()?),
        })
    }

    #[inline(always)]
    fn at(&self, row: usize) -> A {
        match self {
            Factor::Shared(value) => *value,
            Factor::PerSample(values) => values[row],
        }
    }
}
