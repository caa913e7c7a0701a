//! What the CPU can do at most, measured: multiply-adds that touch no memory, and copies too large for any cache.

use std::hint::black_box;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::isa::Isa;
use crate::error::{Error, Result};

/// GFLOP/s (two per multiply-add) of f32 multiply-adds between registers, with the vector instructions in use, on
/// `threads` threads at once (at least one). The median of `rounds` rounds, each about 10 ms. Errors if so many threads
/// cannot be had.
pub fn multiply_add_gflops(threads: usize, rounds: usize) -> Result<f64> {
    median(rounds, || {
        let work = |()| {
            let start = Instant::now();
            one_round() / start.elapsed().as_secs_f64()
        };
        Ok(at_once(vec![(); threads.max(1)], work)?.iter().sum::<f64>() / 1e9)
    })
}

/// Steps of a round, and of one of products of tiles, which take longer.
const STEPS: usize = 1_000_000;
const TILE_STEPS: usize = 250_000;

/// One round on this thread; returns the floating-point operations done.
pub(super) fn one_round() -> f64 {
    let isa = Isa::current();
    black_box(multiply_adds(isa, STEPS));
    2.0 * per_step(isa) * STEPS as f64
}

/// As [`multiply_add_gflops`], of bf16 factors by the instruction for pairs or for tiles of them; `None` if the level
/// in use has none.
pub fn bf16_gflops(threads: usize, rounds: usize) -> Result<Option<f64>> {
    let isa = Isa::current();
    if isa < Isa::Avx512Bf16 {
        return Ok(None);
    }
    let rate = median(rounds, || {
        let work = |()| {
            let start = Instant::now();
            let operations = match isa {
                Isa::Amx => 2.0 * black_box(tile_products(TILE_STEPS)).0,
                _ => {
                    black_box(pair_products(STEPS));
                    4.0 * per_step(isa) * STEPS as f64
                }
            };
            operations / start.elapsed().as_secs_f64()
        };
        Ok(at_once(vec![(); threads.max(1)], work)?.iter().sum::<f64>() / 1e9)
    })?;
    Ok(Some(rate))
}

/// GB/s of a copy, bytes read plus bytes written, of `bytes` per thread (64 MB and more leave the caches behind) on
/// `threads` threads at once (at least one). The median of `rounds` rounds. Errors if so many threads cannot be had.
pub fn copy_gbytes_per_second(threads: usize, bytes: usize, rounds: usize) -> Result<f64> {
    let mut buffers: Vec<_> = (0..threads.max(1)).map(|_| (vec![1u8; bytes], vec![0u8; bytes])).collect();
    median(rounds, || {
        let copy = |(from, to): &mut (Vec<u8>, Vec<u8>)| {
            let start = Instant::now();
            to.copy_from_slice(black_box(from));
            black_box(to);
            start.elapsed().as_secs_f64()
        };
        let slowest = at_once(buffers.iter_mut().collect(), copy)?.into_iter().fold(0.0, f64::max);
        Ok(2.0 * (bytes * threads.max(1)) as f64 / slowest / 1e9)
    })
}

fn median(rounds: usize, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut found: Vec<f64> = (0..rounds.max(1)).map(|_| measure()).collect::<Result<_>>()?;
    found.sort_by(f64::total_cmp);
    Ok(found[found.len() / 2])
}

/// Does the work of all parts at once, each on a thread of its own; of a single one on the calling thread. Errors if
/// these cannot be had.
fn at_once<P: Send>(parts: Vec<P>, work: impl Fn(P) -> f64 + Sync) -> Result<Vec<f64>> {
    let (count, work) = (parts.len(), &work);
    if count == 1 {
        return Ok(parts.into_iter().map(work).collect());
    }
    // Those that are there wait for the others at a gate; should one not come, it never opens and they do nothing.
    let gate = &(Mutex::new(None), Condvar::new());
    let opens = |all: bool| {
        *gate.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(all);
        gate.1.notify_all();
    };
    std::thread::scope(|scope| {
        let mut running = Vec::with_capacity(count);
        for part in parts {
            let run = move || {
                let closed = gate.0.lock().unwrap_or_else(PoisonError::into_inner);
                let all = *gate.1.wait_while(closed, |all| all.is_none()).unwrap_or_else(PoisonError::into_inner);
                (all == Some(true)).then(|| work(part))
            };
            match std::thread::Builder::new().spawn_scoped(scope, run) {
                Ok(thread) => running.push(thread),
                Err(error) => {
                    opens(false);
                    let what = format!("{count} threads are needed, which cannot be had: {error}; raise ulimit -u");
                    return Err(Error::Device { op: "measuring the CPU", what });
                }
            }
        }
        opens(true);
        Ok(running.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect())
    })
}

/// Independent sums: enough to fill two units with a latency of four cycles, with room to spare, or six.
const SUMS: usize = 12;

fn per_step(isa: Isa) -> f64 {
    let lanes = match isa {
        Isa::Portable => 4,
        Isa::Neon => 8,
        Isa::Avx2 => 8,
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => 16,
    };
    (SUMS * lanes) as f64
}

fn multiply_adds(isa: Isa, steps: usize) -> f32 {
    match isa {
        // SAFETY: the level in use is one that the CPU has.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { multiply_adds_avx512(steps) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { multiply_adds_avx2(steps) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { multiply_adds_neon(steps) },
        _ => multiply_adds_portable(steps),
    }
}

fn multiply_adds_portable(steps: usize) -> f32 {
    let (factor, step) = (black_box([0.999f32; 4]), black_box([0.001f32; 4]));
    let mut sums = [[1.0f32; 4]; SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            for lane in 0..4 {
                sum[lane] = sum[lane] * factor[lane] + step[lane];
            }
        }
    }
    sums.iter().flatten().sum()
}

/// Two vectors for each of the sums, as some have four units. The sums are what the instruction overwrites; what is
/// added is too little to change them.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn multiply_adds_neon(steps: usize) -> f32 {
    use std::arch::aarch64::*;
    let (factor, step) = (vdupq_n_f32(black_box(1e-10)), vdupq_n_f32(black_box(1e-10)));
    let mut sums = [vdupq_n_f32(1.0); 2 * SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = vfmaq_f32(*sum, factor, step);
        }
    }
    vaddvq_f32(sums.into_iter().fold(vdupq_n_f32(0.0), |a, b| vaddq_f32(a, b)))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_adds_avx2(steps: usize) -> f32 {
    use std::arch::x86_64::*;
    let (factor, step) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    let mut sums = [_mm256_set1_ps(1.0); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, step);
        }
    }
    let total = sums.into_iter().fold(_mm256_setzero_ps(), |a, b| _mm256_add_ps(a, b));
    _mm256_cvtss_f32(total)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_adds_avx512(steps: usize) -> f32 {
    use std::arch::x86_64::*;
    let (factor, step) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    let mut sums = [_mm512_set1_ps(1.0); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, step);
        }
    }
    _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_setzero_ps(), |a, b| _mm512_add_ps(a, b)))
}

/// Sums of products of pairs, where the CPU has [`Isa::Avx512Bf16`].
fn pair_products(steps: usize) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if Isa::Avx512Bf16.is_supported() {
        // SAFETY: the CPU has the instructions.
        return unsafe { pair_products_avx512(steps) };
    }
    multiply_adds_portable(steps)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pair_products_avx512(steps: usize) -> f32 {
    use std::arch::x86_64::*;
    let ones = _mm512_set1_ps(black_box(1.0));
    let pairs = _mm512_cvtne2ps_pbh(ones, ones);
    let mut sums = [_mm512_set1_ps(0.0); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, pairs, pairs);
        }
    }
    _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_setzero_ps(), |a, b| _mm512_add_ps(a, b)))
}

/// Products of tiles, where the level in use is [`Isa::Amx`]: the multiply-adds of them all, and their sum.
fn tile_products(steps: usize) -> (f64, f32) {
    #[cfg(target_arch = "x86_64")]
    if Isa::Amx.is_supported() {
        // SAFETY: the CPU has the instructions and the system lets it run them.
        let (multiply_adds, sum) = unsafe { amx::multiply_tiles(steps) };
        return ((multiply_adds * steps) as f64, sum);
    }
    (per_step(Isa::Portable) * steps as f64, multiply_adds_portable(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_positive_and_finite() {
        for found in [
            multiply_add_gflops(2, 1),
            bf16_gflops(2, 1).map(|rate| rate.unwrap_or(1.0)),
            copy_gbytes_per_second(2, 1 << 20, 3),
            multiply_add_gflops(0, 0),
        ] {
            assert!(found.as_ref().is_ok_and(|rate| rate.is_finite() && *rate > 0.0), "{found:?}");
        }
    }

    #[test]
    fn the_loops_compute_what_they_say() {
        // x <- 0.999 x + 0.001 stays at its fixed point 1, up to the rounding of the two constants.
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
            let lanes = if isa == Isa::Avx2 { 1.0 } else { per_step(isa) / SUMS as f64 };
            let sum = multiply_adds(isa, 100) as f64;
            assert!((sum / (SUMS as f64 * lanes) - 1.0).abs() < 1e-4, "{isa}: {sum}");
        }
        if Isa::Avx512Bf16.is_supported() {
            assert_eq!(pair_products(100), (100 * 2 * SUMS * 16) as f32);
        }
        if Isa::Amx.is_supported() {
            // Each of the four products of a step adds up 32 products of ones for each of the 256 numbers of a tile.
            let multiply_adds = 10 * 4 * 256 * 32;
            assert_eq!(tile_products(10), (multiply_adds as f64, multiply_adds as f32));
        }
    }
}
