use std::sync::atomic::{AtomicBool, Ordering};

use num_traits::Float;

use super::NO_LABEL;
use crate::backend::cpu::weighted_chunks;
use crate::error::Result;
use crate::ops::random::Draws;
use crate::random::{Gumbel, fill_rows};
use crate::tensor::{Accumulator, Real, Tensor, real};

pub fn sample(logits: &Tensor, k: usize, draws: &Draws, labels: &mut Tensor, bad: &mut Tensor) -> Result<()> {
    let any = real!("categorical", logits.dtype(), T => run::<T>(logits, k, draws, labels))?;
    bad.as_mut_slice::<u32>()?[0] = any.into();
    Ok(())
}

fn run<T: Real>(logits: &Tensor, k: usize, draws: &Draws, labels: &mut Tensor) -> Result<bool> {
    let (stream, samples) = draws.host()?;
    let logits = logits.as_slice::<T>()?;
    let bad = AtomicBool::new(false);
    weighted_chunks(labels.as_mut_slice::<u32>()?, 1, k, |first, labels| {
        let mut noise = vec![0.0; k * labels.len()];
        fill_rows(Gumbel, &stream, samples.skip(first), k, 0, &mut noise);
        let rows = logits[first * k..].chunks_exact(k).zip(noise.chunks_exact(k));
        for (label, (logits, noise)) in labels.iter_mut().zip(rows) {
            *label = draw::<T>(logits, noise);
            if *label == NO_LABEL {
                bad.store(true, Ordering::Relaxed);
            }
        }
    });
    Ok(bad.into_inner())
}

/// The first label with the largest perturbed logit.
fn draw<T: Real>(logits: &[T], noise: &[f32]) -> u32 {
    let (mut best, mut label) = (T::Acc::neg_infinity(), NO_LABEL);
    for (j, (&logit, &g)) in logits.iter().zip(noise).enumerate() {
        let value = logit.acc() + T::Acc::of(g.into());
        if value.is_nan() || value == T::Acc::infinity() {
            return NO_LABEL;
        }
        if value > best {
            (best, label) = (value, j as u32);
        }
    }
    label
}
