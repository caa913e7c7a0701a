use super::{Pairwise, Walk};
use crate::backend::cpu::chunks;
use crate::error::Result;
use crate::tensor::{Accumulator, Real, Tensor, real};

pub fn pairwise(op: &'static str, f: Pairwise, a: &Tensor, b: &Tensor, walk: &Walk, y: &mut Tensor) -> Result<()> {
    real!(op, a.dtype(), T => {
        type A = <T as Real>::Acc;
        match f {
            Pairwise::Combine { alpha, beta } => {
                let (alpha, beta) = (A::of(alpha), A::of(beta));
                pairs::<T>(a, b, walk, y, move |a, b| alpha * a + beta * b)
            }
            Pairwise::Mul => pairs::<T>(a, b, walk, y, |a, b| a * b),
            Pairwise::Div => pairs::<T>(a, b, walk, y, |a, b| a / b),
        }
    })
}

fn pairs<T: Real>(
    a: &Tensor,
    b: &Tensor,
    walk: &Walk,
    y: &mut Tensor,
    f: impl Fn(T::Acc, T::Acc) -> T::Acc + Copy + Sync,
) -> Result<()> {
    let (a, b) = (a.as_slice::<T>()?, b.as_slice::<T>()?);
    let y = y.as_mut_slice::<T>()?;
    let inner = walk.inner();
    if walk.is_contiguous() {
        chunks(y, 1, |first, y| {
            for ((y, &a), &b) in y.iter_mut().zip(&a[first..]).zip(&b[first..]) {
                *y = T::narrow(f(a.acc(), b.acc()));
            }
        });
        return Ok(());
    }
    chunks(y, inner, |first, y| {
        for (row, y) in y.chunks_mut(inner).enumerate() {
            let row = first / inner + row;
            let (at_a, step_a) = walk.row(0, row);
            let (at_b, step_b) = walk.row(1, row);
            let (a, b) = (&a[at_a..], &b[at_b..]);
            match (step_a, step_b) {
                (1, 0) => {
                    let b = b[0].acc();
                    y.iter_mut().zip(a).for_each(|(y, &a)| *y = T::narrow(f(a.acc(), b)));
                }
                (0, 1) => {
                    let a = a[0].acc();
                    y.iter_mut().zip(b).for_each(|(y, &b)| *y = T::narrow(f(a, b.acc())));
                }
                (1, 1) => y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = T::narrow(f(a.acc(), b.acc()))),
                _ => y.fill(T::narrow(f(a[0].acc(), b[0].acc()))),
            }
        }
    });
    Ok(())
}

pub fn affine(op: &'static str, x: &Tensor, alpha: f64, beta: f64, walk: &Walk, y: &mut Tensor) -> Result<()> {
    real!(op, x.dtype(), T => {
        type A = <T as Real>::Acc;
        let (alpha, beta) = (A::of(alpha), A::of(beta));
        let f = |x: T| T::narrow(alpha * x.acc() + beta);
        let x = x.as_slice::<T>()?;
        let y = y.as_mut_slice::<T>()?;
        let inner = walk.inner();
        chunks(y, inner.min(1 << 12), |first, y| {
            let mut done = 0;
            while done < y.len() {
                let (row, column) = ((first + done) / inner, (first + done) % inner);
                let run = (inner - column).min(y.len() - done);
                let (at, step) = walk.row(0, row);
                let y = &mut y[done..done + run];
                match step {
                    0 => y.fill(f(x[at])),
                    _ => y.iter_mut().zip(&x[at + column..]).for_each(|(y, &x)| *y = f(x)),
                }
                done += run;
            }
        });
        Ok(())
    })
}

pub fn accumulate(op: &'static str, sum: &mut Tensor, term: &Tensor) -> Result<()> {
    real!(op, sum.dtype(), T => {
        let term = term.as_slice::<T>()?;
        chunks(sum.as_mut_slice::<T>()?, 1, |first, sum| {
            for (sum, &term) in sum.iter_mut().zip(&term[first..]) {
                *sum = T::narrow(sum.acc() + term.acc());
            }
        });
        Ok(())
    })
}
