use half::bf16;
use rayon::prelude::*;

use super::{AdamState, Factors, OP};
use crate::backend::cpu::{GRAIN, Kernel, OnTeam, tasks_per_share, with_vector_instructions};
use crate::error::{Error, Result};
use crate::ops::step::{follow, split};
use crate::tensor::{Accumulator, DType, Element, Real, Tensor};

pub fn update(factors: Factors, state: AdamState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()> {
    match (state.weights.dtype(), gradient.dtype()) {
        (DType::F32, DType::F32) => run::<f32, f32>(factors, state, gradient, clip),
        (DType::F32, DType::BF16) => run::<f32, bf16>(factors, state, gradient, clip),
        (DType::F64, DType::F64) => run::<f64, f64>(factors, state, gradient, clip),
        (_, other) => Err(Error::dtype(OP, "f32 or bf16 gradients (f64 for f64 weights)", other)),
    }
}

/// [`Factors`] in the type of the weights.
#[derive(Clone, Copy)]
struct Rounded<A> {
    lr: A,
    root: A,
    w1: A,
    w2: A,
    eps: A,
    decay: A,
    ema: A,
}

/// A chunk of every buffer; `ema` and `copy` are empty where there are none.
struct Chunk<'a, A, G> {
    f: Rounded<A>,
    factor: A,
    weights: &'a mut [A],
    m: &'a mut [A],
    v: &'a mut [A],
    ema: &'a mut [A],
    copy: &'a mut [bf16],
    gradient: &'a [G],
}

fn run<A, G>(f: Factors, state: AdamState, gradient: &Tensor, clip: Option<&Tensor>) -> Result<()>
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
    let f = Rounded {
        lr: A::of(f.lr),
        root: A::of(f.root),
        w1: A::of(f.w1),
        w2: A::of(f.w2),
        eps: A::of(f.eps),
        decay: A::of(f.decay),
        ema: A::of(f.ema),
    };
    let gradient = gradient.as_slice::<G>()?;
    let chunks = gradient.len().div_ceil(GRAIN);
    let mut emas = split(state.ema, chunks)?;
    let mut copies = split(state.copy, chunks)?;
    let weights = state.weights.as_mut_slice::<A>()?.par_chunks_mut(GRAIN);
    let moments =
        state.m.as_mut_slice::<A>()?.par_chunks_mut(GRAIN).zip(state.v.as_mut_slice::<A>()?.par_chunks_mut(GRAIN));
    let rest = gradient.par_chunks(GRAIN).zip(&mut emas).zip(&mut copies);
    let tasks = weights.zip(moments).zip(rest).with_min_len(tasks_per_share(GRAIN));
    tasks.each_on_team(|((weights, (m, v)), ((gradient, ema), copy))| {
        with_vector_instructions(Chunk { f, factor, weights, m, v, ema, copy, gradient });
    });
    Ok(())
}

impl<A, G> Kernel for Chunk<'_, A, G>
where
    A: Accumulator + Real<Acc = A>,
    G: Real<Acc = A>,
{
    /// The operations of `kernels/adam.cu`, in the same order.
    #[inline(always)]
    fn run(self) {
        let Chunk { f, factor, weights, m, v, ema, copy, gradient } = self;
        for (((w, m), v), g) in weights.iter_mut().zip(&mut *m).zip(&mut *v).zip(gradient) {
            let g = g.acc() * factor;
            *m = f.w1.mul_add(g - *m, *m);
            *v = f.w2.mul_add(g * g - *v, *v);
            let decayed = (-f.decay).mul_add(*w, *w);
            let slope = *m / v.sqrt().mul_add(f.root, f.eps);
            *w = (-f.lr).mul_add(slope, decayed);
        }
        follow(weights, f.ema, ema, copy);
    }
}
