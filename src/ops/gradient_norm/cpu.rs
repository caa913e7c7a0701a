use rayon::prelude::*;

use super::OP;
use crate::backend::cpu::{GRAIN, OnTeam, tasks_per_share, vectorized};
use crate::error::Result;
use crate::tensor::{Accumulator, DType, Real, Tensor, real};

pub fn norm(gradients: &[&Tensor], max_norm: f64, result: &mut Tensor) -> Result<()> {
    let mut total = 0.0;
    for gradient in gradients {
        total += real!(OP, gradient.dtype(), T => squares::<T>(gradient))?;
    }
    let norm = total.sqrt();
    let factor = if norm.is_finite() { (max_norm / (norm + 1e-6)).min(1.0) } else { f64::NAN };
    match result.dtype() {
        DType::F64 => result.as_mut_slice()?.copy_from_slice(&[norm, factor]),
        _ => result.as_mut_slice()?.copy_from_slice(&[norm as f32, factor as f32]),
    }
    Ok(())
}

fn squares<T: Real>(gradient: &Tensor) -> Result<f64> {
    let chunks = gradient.as_slice::<T>()?.par_chunks(GRAIN).with_min_len(tasks_per_share(GRAIN));
    let partial: Vec<f64> = chunks.map_on_team(|g| vectorized(|| sum::<T>(g)));
    Ok(partial.into_iter().sum())
}

/// Sum of squares in sixteen lanes, which vector units work on side by side.
#[inline(always)]
fn sum<T: Real>(g: &[T]) -> f64 {
    let (blocks, rest) = g.as_chunks::<16>();
    let mut lanes = [0.0f64; 16];
    for block in blocks {
        for (lane, &g) in lanes.iter_mut().zip(block) {
            let g = g.acc().widen();
            *lane += g * g;
        }
    }
    let rest: f64 = rest.iter().map(|&g| g.acc().widen() * g.acc().widen()).sum();
    lanes.iter().sum::<f64>() + rest
}
