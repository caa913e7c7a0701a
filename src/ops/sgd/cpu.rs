use half::bf16;
use rayon::prelude::*;

use super::{Factors, OP, SgdState};
use crate::backend::cpu::{GRAIN, Kernel, OnTeam, tasks_per_share, with_vector_instructions};
use crate::error::{Error, Result};
use crate::ops::step::{follow, split};
use crate::tensor::{Accumulator, DType, Element, Real, Tensor};

pub fn update(factors: Factors, state: SgdState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()> {
    match (state.weights.dtype(), gradient.dtype()) {
        (DType::F32, DType::F32) => run::<f32, f32>(factors, state, gradient, clip),
        (DType::F32, DType::BF16) => run::<f32, bf16>(factors, state, gradient, clip),
        (DType::F64, DType::F64) => run::<f64, f64>(factors, state, gradient, clip),
        (_, other) => Err(Error::dtype(OP, "f32 or bf16 gradients (f64 for f64 weights)", other)),
    }
}

/// A chunk of every buffer; those that there are not are empty.
struct Chunk<'a, A, G> {
    f: Factors,
    factor: A,
    weights: &'a mut [A],
    momentum: &'a mut [A],
    squares: &'a mut [A],
    ema: &'a mut [A],
    copy: &'a mut [bf16],
    gradient: &'a [G],
    /// Room for the direction.
    scratch: &'a mut [A],
}

fn run<A, G>(f: Factors, state: SgdState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()>
where
    A: Accumulator + Element + Real<Acc = A>,
    G: Real<Acc = A>,
{
    let factor = match clip {
        None => A::one(),
        Some(clip) => clip.as_slice::<A>()?[1],
    };
    if !factor.is_finite() {
        return Ok(());
    }
    let gradient = gradient.as_slice::<G>()?;
    let chunks = gradient.len().div_ceil(GRAIN);
    let mut momenta = split(state.momentum, chunks)?;
    let mut squares = split(state.squares, chunks)?;
    let mut emas = split(state.ema, chunks)?;
    let mut copies = split(state.copy, chunks)?;
    let rest = momenta.par_iter_mut().zip(&mut squares).zip(&mut emas).zip(&mut copies);
    let weights = state.weights.as_mut_slice::<A>()?.par_chunks_mut(GRAIN);
    let tasks = weights.zip(gradient.par_chunks(GRAIN)).zip(rest).with_min_len(tasks_per_share(GRAIN));
    tasks.each_on_team(|((weights, gradient), rest)| {
        let (((momentum, squares), ema), copy) = rest;
        let scratch = &mut vec![A::zero(); gradient.len()];
        with_vector_instructions(Chunk { f, factor, weights, momentum, squares, ema, copy, gradient, scratch });
    });
    Ok(())
}

impl<A, G> Kernel for Chunk<'_, A, G>
where
    A: Accumulator + Real<Acc = A>,
    G: Real<Acc = A>,
{
    /// The operations of `kernels/sgd.cu`, in the same order.
    #[inline(always)]
    fn run(self) {
        let Chunk { f, factor, weights, momentum, squares, ema, copy, gradient, scratch: direction } = self;
        let (lr, mu, decay) = (A::of(f.lr), A::of(f.momentum), A::of(f.decay));
        let (part, eps) = (A::of(f.part), A::of(f.eps));
        for ((d, g), &w) in direction.iter_mut().zip(gradient).zip(&*weights) {
            *d = decay.mul_add(w, g.acc() * factor);
        }
        for (d, s) in direction.iter_mut().zip(squares) {
            *s = part.mul_add(*d * *d - *s, *s);
            *d /= s.sqrt() + eps;
        }
        for (d, b) in direction.iter_mut().zip(momentum) {
            *b = mu.mul_add(*b, *d);
            *d = if f.nesterov { mu.mul_add(*b, *d) } else { *b };
        }
        for (w, &d) in weights.iter_mut().zip(&*direction) {
            *w = (-lr).mul_add(d, *w);
        }
        follow(weights, A::of(f.ema), ema, copy);
    }
}
