use super::OP;
use crate::backend::cpu::{Kernel, chunks, with_vector_instructions};
use crate::error::{Error, Result};
use crate::ops::step::follow;
use crate::tensor::{Accumulator, DType, Element, Tensor};

pub fn update(average: &mut Tensor, weights: &Tensor, part: f64) -> Result<()> {
    match weights.dtype() {
        DType::F32 => run::<f32>(average, weights, part),
        DType::F64 => run::<f64>(average, weights, part),
        other => Err(Error::dtype(OP, "f32 or f64", other)),
    }
}

struct Chunk<'a, A> {
    average: &'a mut [A],
    weights: &'a [A],
    part: A,
}

impl<A: Accumulator> Kernel for Chunk<'_, A> {
    #[inline(always)]
    fn run(self) {
        follow(self.weights, self.part, self.average, &mut []);
    }
}

fn run<A: Accumulator + Element>(average: &mut Tensor, weights: &Tensor, part: f64) -> Result<()> {
    let weights = weights.as_slice::<A>()?;
    chunks(average.as_mut_slice::<A>()?, 1, |first, average| {
        let weights = &weights[first..first + average.len()];
        with_vector_instructions(Chunk { average, weights, part: A::of(part) });
    });
    Ok(())
}
