use half::bf16;

use super::{Distribution, Draws, Rows};
use crate::backend::math::to_bf16;
use crate::error::{Error, Result};
use crate::random::{self, Exponential, Gumbel, Normal, Uniform, Variate, Words, with_numbers};
use crate::tensor::{DType, Tensor};

pub fn fill(distribution: Distribution, draws: &Draws, rows: Rows, y: &mut Tensor) -> Result<()> {
    match distribution {
        Distribution::Words => {
            let (stream, samples) = draws.host()?;
            random::fill(Words, &stream, samples, rows.len, y.as_mut_slice()?)
        }
        Distribution::Uniform => floats(Uniform, draws, rows, y),
        Distribution::Normal => floats(Normal, draws, rows, y),
        Distribution::Exponential => floats(Exponential, draws, rows, y),
        Distribution::Gumbel => floats(Gumbel, draws, rows, y),
    }
}

fn floats<V: Variate<Number = f32>>(v: V, draws: &Draws, rows: Rows, y: &mut Tensor) -> Result<()> {
    let (stream, samples) = draws.host()?;
    match y.dtype() {
        DType::F32 => random::fill(v, &stream, samples, rows.len, y.as_mut_slice()?),
        DType::BF16 => with_numbers(v, &stream, samples, rows.len, y.as_mut_slice::<bf16>()?, |_, out, numbers| {
            out.iter_mut().zip(numbers).for_each(|(y, &x)| *y = to_bf16(x));
        }),
        DType::F64 => with_numbers(v, &stream, samples, rows.len, y.as_mut_slice::<f64>()?, |_, out, numbers| {
            out.iter_mut().zip(numbers).for_each(|(y, &x)| *y = x.into());
        }),
        DType::U32 => Err(Error::dtype("random", "a floating-point dtype", DType::U32)),
    }
}
