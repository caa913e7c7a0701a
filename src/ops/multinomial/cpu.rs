use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::random::Draws;
use crate::tensor::{DType, Tensor};

/// Draws that a task makes.
const DRAWS: u64 = 1 << 14;

pub fn count(
    weights: &Tensor,
    [_, k]: [usize; 2],
    n: u32,
    draws: &Draws,
    counts: &mut Tensor,
    bad: &mut Tensor,
) -> Result<()> {
    let (stream, samples) = draws.host()?;
    let rows: Vec<Vec<u64>> = match weights.dtype() {
        DType::U32 => weights.as_slice::<u32>()?.chunks(k).map(|row| row.iter().map(|&w| w.into()).collect()).collect(),
        DType::F32 | DType::BF16 | DType::F64 => weights.to_f64()?.par_chunks(k).map(fixed_point).collect(),
    };
    let mut tables = Vec::with_capacity(rows.len());
    for (mut table, bad) in rows.into_iter().zip(bad.as_mut_slice::<u32>()?) {
        let mut sum = 0u64;
        for entry in &mut table {
            sum += *entry;
            *entry = sum;
        }
        *bad = (sum == 0).into();
        tables.push(table);
    }
    let found: Vec<AtomicU32> = (0..counts.len()).map(|_| AtomicU32::new(0)).collect();
    let n = u64::from(n);
    let tasks = tables.par_iter().zip(found.par_chunks(k)).enumerate();
    tasks.for_each(|(row, (table, found))| {
        let total = table.last().copied().unwrap_or(0);
        if total == 0 {
            return;
        }
        let sample = samples.id(row);
        (0..n.div_ceil(DRAWS)).into_par_iter().for_each(|task| {
            let draws = task * DRAWS..n.min((task + 1) * DRAWS);
            // A task begins with a block of Philox, whose four words make two draws.
            for first in draws.clone().step_by(2) {
                let words = stream.block(sample, (first / 2) as u32);
                for pair in words.chunks_exact(2).take((draws.end - first) as usize) {
                    let word = u64::from(pair[1]) << 32 | u64::from(pair[0]);
                    let at = ((u128::from(word) * u128::from(total)) >> 64) as u64;
                    let outcome = table.partition_point(|&sum| sum <= at);
                    // Whole numbers: their sum does not depend on the order.
                    found[outcome].fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    });
    let counts = counts.as_mut_slice::<u32>()?;
    if counts.len() != found.len() {
        return Err(Error::shape(super::OP, format!("{} counts", found.len()), counts.len()));
    }
    counts.iter_mut().zip(found).for_each(|(count, found)| *count = found.into_inner());
    Ok(())
}

/// The weights times a power of two that takes the largest into `[2^40, 2^41)`, rounded down; all zero if there is no
/// distribution.
///
/// The exponent is that of an f32 at least, as in the kernel, so that all dtypes agree.
fn fixed_point(row: &[f64]) -> Vec<u64> {
    let sound = row.iter().all(|w| w.is_finite() && *w >= 0.0);
    let largest = row.iter().copied().fold(0.0, f64::max);
    if !sound || largest == 0.0 {
        return vec![0; row.len()];
    }
    let exponent = exponent(largest).max(-126);
    let scaled = |&w: &f64| {
        let down = 12 + exponent - self::exponent(w);
        if down < 64 { mantissa(w) >> down } else { 0 }
    };
    row.iter().map(scaled).collect()
}

/// `e` and `m` with `x = m 2^(e - 52)`, for `x >= 0`.
fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52 & 0x7ff) as i32).max(1) - 1023
}

fn mantissa(x: f64) -> u64 {
    let hidden = u64::from(x.to_bits() >> 52 & 0x7ff != 0) << 52;
    (x.to_bits() & ((1 << 52) - 1)) | hidden
}
