use crate::error::Result;
use crate::ops::random::{Draws, Rows};
use crate::random::{Words, with_numbers};
use crate::tensor::{Accumulator, Real, Tensor, real};

pub fn mask(x: &Tensor, threshold: u32, scale: f64, draws: &Draws, rows: Rows, y: &mut Tensor) -> Result<()> {
    real!("dropout", x.dtype(), T => run::<T>(x, threshold, scale, draws, rows, y))
}

fn run<T: Real>(x: &Tensor, threshold: u32, scale: f64, draws: &Draws, rows: Rows, y: &mut Tensor) -> Result<()> {
    let (stream, samples) = draws.host()?;
    let x = x.as_slice::<T>()?;
    let scale = T::Acc::of(scale);
    with_numbers(Words, &stream, samples, rows.len, y.as_mut_slice::<T>()?, |first, y, words| {
        for ((y, &x), &word) in y.iter_mut().zip(&x[first..]).zip(words) {
            *y = if word < threshold { T::zeroed() } else { T::narrow(x.acc() * scale) };
        }
    })
}
