use std::f64::consts::TAU;

use super::Frequencies;
use crate::backend::cpu::weighted_chunks;
use crate::error::Result;
use crate::tensor::{Accumulator, Real, Tensor, real};

/// What one sine and cosine cost, in elements that are merely copied.
const WORK: usize = 32;

pub fn forward(op: &'static str, x: &Tensor, half: usize, frequencies: &Frequencies, y: &mut Tensor) -> Result<()> {
    let turns = frequencies.list(half)?;
    real!(op, x.dtype(), T => {
        let x = x.as_slice::<T>()?;
        weighted_chunks(y.as_mut_slice::<T>()?, 2 * half, half * WORK, |first, y| {
            for (y, &x) in y.chunks_exact_mut(2 * half).zip(&x[first / (2 * half)..]) {
                let (cosines, sines) = y.split_at_mut(half);
                for ((cos, sin), &f) in cosines.iter_mut().zip(sines).zip(&turns) {
                    let (s, c) = sin_cos_turns(x.acc().widen() * f);
                    (*cos, *sin) = (T::narrow(Accumulator::of(c)), T::narrow(Accumulator::of(s)));
                }
            }
        });
        Ok(())
    })
}

pub fn backward(
    op: &'static str,
    dy: &Tensor,
    x: &Tensor,
    half: usize,
    frequencies: &Frequencies,
    dx: &mut Tensor,
) -> Result<()> {
    let turns = frequencies.list(half)?;
    real!(op, x.dtype(), T => {
        let (dy, x) = (dy.as_slice::<T>()?, x.as_slice::<T>()?);
        weighted_chunks(dx.as_mut_slice::<T>()?, 1, half * WORK, |first, dx| {
            for (at, dx) in (first..).zip(dx) {
                let (dcos, dsin) = dy[2 * half * at..][..2 * half].split_at(half);
                let mut sum = 0.0;
                for ((dcos, dsin), &f) in dcos.iter().zip(dsin).zip(&turns) {
                    let (s, c) = sin_cos_turns(x[at].acc().widen() * f);
                    sum += f * (dsin.acc().widen() * c - dcos.acc().widen() * s);
                }
                *dx = T::narrow(Accumulator::of(TAU * sum));
            }
        });
        Ok(())
    })
}

impl Frequencies {
    fn list(&self, half: usize) -> Result<Vec<f64>> {
        match self {
            Frequencies::Geometric { rate } => Ok((0..half).map(|i| (rate * i as f64).exp2() / TAU).collect()),
            Frequencies::Given(list) => list.to_f64(),
        }
    }
}

fn sin_cos_turns(turns: f64) -> (f64, f64) {
    (TAU * (turns - turns.round())).sin_cos()
}
