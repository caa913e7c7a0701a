use super::{Pairwise, Walk};
use crate::backend::cpu::{GRAIN, Kernel, chunks, parts, with_vector_instructions};
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
        parts(y, GRAIN, GRAIN, &|i, y| {
            with_vector_instructions(Pairs { f, a: Run::Each(&a[i * GRAIN..]), b: Run::Each(&b[i * GRAIN..]), y });
        });
        return Ok(());
    }
    let rows = (GRAIN / inner).max(1);
    parts(y, rows * inner, rows * inner, &|i, y| {
        with_vector_instructions(PairsOfRows { f, a, b, walk, first: i * rows, y });
    });
    Ok(())
}

/// What an operand has beside the elements of a row: as many of its own, or one for all.
#[derive(Clone, Copy)]
enum Run<'a, T> {
    Each(&'a [T]),
    Same(T),
}

impl<'a, T: Copy> Run<'a, T> {
    /// From element `at` on, `step` apart.
    #[inline(always)]
    fn new(of: &'a [T], (at, step): (usize, usize)) -> Self {
        if step == 0 { Run::Same(of[at]) } else { Run::Each(&of[at..]) }
    }
}

/// `y = f(a, b)`
struct Pairs<'a, T, F> {
    f: F,
    a: Run<'a, T>,
    b: Run<'a, T>,
    y: &'a mut [T],
}

impl<T: Real, F: Fn(T::Acc, T::Acc) -> T::Acc> Kernel for Pairs<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        let Pairs { f, a, b, y } = self;
        match (a, b) {
            (Run::Each(a), Run::Each(b)) => {
                y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = T::narrow(f(a.acc(), b.acc())));
            }
            (Run::Each(a), Run::Same(b)) => {
                let b = b.acc();
                y.iter_mut().zip(a).for_each(|(y, &a)| *y = T::narrow(f(a.acc(), b)));
            }
            (Run::Same(a), Run::Each(b)) => {
                let a = a.acc();
                y.iter_mut().zip(b).for_each(|(y, &b)| *y = T::narrow(f(a, b.acc())));
            }
            (Run::Same(a), Run::Same(b)) => y.fill(T::narrow(f(a.acc(), b.acc()))),
        }
    }
}

/// [`Pairs`], row by row as the operands are walked.
struct PairsOfRows<'a, T, F> {
    f: F,
    a: &'a [T],
    b: &'a [T],
    walk: &'a Walk,
    first: usize,
    y: &'a mut [T],
}

impl<T: Real, F: Fn(T::Acc, T::Acc) -> T::Acc + Copy> Kernel for PairsOfRows<'_, T, F> {
    #[inline(always)]
    fn run(self) {
        let PairsOfRows { f, a, b, walk, first, y } = self;
        for (row, y) in (first..).zip(y.chunks_mut(walk.inner())) {
            Pairs { f, a: Run::new(a, walk.row(0, row)), b: Run::new(b, walk.row(1, row)), y }.run();
        }
    }
}

pub fn affine(op: &'static str, x: &Tensor, alpha: f64, beta: f64, walk: &Walk, y: &mut Tensor) -> Result<()> {
    real!(op, x.dtype(), T => {
        type A = <T as Real>::Acc;
        let (alpha, beta) = (A::of(alpha), A::of(beta));
        let (x, y) = (x.as_slice::<T>()?, y.as_mut_slice::<T>()?);
        parts(y, GRAIN, GRAIN, &|i, y| {
            with_vector_instructions(Affine { x, alpha, beta, walk, first: i * GRAIN, y });
        });
        Ok(())
    })
}

/// `y = alpha x + beta`, from element `first` of the result on.
struct Affine<'a, T: Real> {
    x: &'a [T],
    alpha: T::Acc,
    beta: T::Acc,
    walk: &'a Walk,
    first: usize,
    y: &'a mut [T],
}

impl<T: Real> Kernel for Affine<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Affine { x, alpha, beta, walk, first, mut y } = self;
        let f = |x: T| T::narrow(alpha * x.acc() + beta);
        let (mut row, mut column) = (first / walk.inner(), first % walk.inner());
        while !y.is_empty() {
            let (part, rest) = y.split_at_mut((walk.inner() - column).min(y.len()));
            let (at, step) = walk.row(0, row);
            match step {
                0 => part.fill(f(x[at])),
                _ => part.iter_mut().zip(&x[at + column..]).for_each(|(y, &x)| *y = f(x)),
            }
            (y, row, column) = (rest, row + 1, 0);
        }
    }
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
