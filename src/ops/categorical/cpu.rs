use std::sync::atomic::{AtomicBool, Ordering};

use num_traits::Zero;

use super::NO_LABEL;
use crate::backend::cpu::{Kernel, weighted_chunks, with_vector_instructions};
use crate::error::Result;
use crate::ops::gumbel_rows::{ColumnPeaks, LANES, Noise, PerturbedRows, SHORT, columns, perturb_columns};
use crate::ops::random::Draws;
use crate::tensor::{Real, Tensor, real};

pub fn sample(logits: &Tensor, k: usize, draws: &Draws, labels: &mut Tensor, bad: &mut Tensor) -> Result<()> {
    let any = real!("categorical", logits.dtype(), T => run::<T>(logits, k, draws, labels))?;
    bad.as_mut_slice::<u32>()?[0] = any.into();
    Ok(())
}

fn run<T: Real>(logits: &Tensor, k: usize, draws: &Draws, labels: &mut Tensor) -> Result<bool> {
    let (stream, samples) = draws.host()?;
    let logits = logits.as_slice::<T>()?;
    let noise = Noise::Drawn { stream, samples, first_block: 0 };
    let bad = AtomicBool::new(false);
    weighted_chunks(labels.as_mut_slice::<u32>()?, 1, k, |first, labels| {
        let x = &logits[first * k..][..k * labels.len()];
        with_vector_instructions(Tile { k, x, noise, first, labels, bad: &bad });
    });
    Ok(bad.into_inner())
}

/// Some rows, from the batch's row `first` on.
struct Tile<'a, T: Real> {
    k: usize,
    x: &'a [T],
    noise: Noise<'a, T::Acc>,
    first: usize,
    labels: &'a mut [u32],
    bad: &'a AtomicBool,
}

impl<T: Real> Kernel for Tile<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Tile { k, x, noise, first, labels, bad } = self;
        let label = |best: Option<usize>| {
            best.map_or_else(
                || {
                    bad.store(true, Ordering::Relaxed);
                    NO_LABEL
                },
                |best| best as u32,
            )
        };
        if k <= SHORT {
            let mut t = [[T::Acc::zero(); LANES]; SHORT];
            for (i, (x, labels)) in x.chunks(LANES * k).zip(labels.chunks_mut(LANES)).enumerate() {
                columns(x, k, &mut t);
                perturb_columns(&mut t, k, &noise, first + i * LANES, labels.len());
                let peaks = ColumnPeaks::of(&t[..k]);
                labels.iter_mut().enumerate().for_each(|(l, to)| *to = label(peaks.best(l)));
            }
            return;
        }
        let rows = labels.len();
        let mut perturbed = PerturbedRows::new(k, rows);
        for (r, (x, to)) in x.chunks_exact(k).zip(labels).enumerate() {
            let peak = perturbed.make(x, &noise, first + r, rows - r);
            *to = label(if peak.is_fine() { peak.position(&perturbed.t) } else { None });
        }
    }
}
