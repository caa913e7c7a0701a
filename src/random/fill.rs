//! Bulk generation on the CPU.
//!
//! The loops are written over blocks of Philox in plain arrays, compiled three times (AVX-512, AVX2, portable), and chosen at run time.
//! Fused multiply-add is exact wherever it is done in hardware or software, so the three give the same bits.

use super::{Stream, philox, variates};
use crate::error::{Error, Result};
use rayon::prelude::*;

/// What the four words of a Philox block become.
pub trait Variate: Copy + Send + Sync {
    /// The type of one number.
    type Number: Copy + Default + Send;
    /// The numbers of the block's four elements.
    fn block(self, words: [u32; 4]) -> [Self::Number; 4];
}

macro_rules! variate {
    ($(#[$doc:meta])* $name:ident -> $number:ty, |$w:ident| $body:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl Variate for $name {
            type Number = $number;
            #[inline(always)]
            fn block(self, $w: [u32; 4]) -> [$number; 4] {
                $body
            }
        }
    };
}

variate!(/// The words themselves.
    Words -> u32, |w| w);
variate!(/// Uniform in (0, 1): [`variates::uniform`].
    Uniform -> f32, |w| [variates::uniform(w[0]), variates::uniform(w[1]), variates::uniform(w[2]), variates::uniform(w[3])]);
variate!(/// Standard exponential: [`variates::exponential`].
Exponential -> f32, |w| [
    variates::exponential(w[0]),
    variates::exponential(w[1]),
    variates::exponential(w[2]),
    variates::exponential(w[3]),
]);
variate!(/// Standard Gumbel: [`variates::gumbel`].
    Gumbel -> f32, |w| [variates::gumbel(w[0]), variates::gumbel(w[1]), variates::gumbel(w[2]), variates::gumbel(w[3])]);
variate!(/// Standard normal: [`variates::normal_pair`] of words 0 and 1, and of 2 and 3.
Normal -> f32, |w| {
    let (a, b) = variates::normal_pair(w[0], w[1]);
    let (c, d) = variates::normal_pair(w[2], w[3]);
    [a, b, c, d]
});

/// The indices of the samples in a batch.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    /// Consecutive ones from here (wrapping at 2^32).
    From(u32),
    /// These, in this order.
    Ids(&'a [u32]),
}

impl Samples<'_> {
    /// The index of the batch's row `row`. Panics if there are ids but not that many.
    #[inline(always)]
    pub fn id(&self, row: usize) -> u32 {
        match self {
            Samples::From(first) => first.wrapping_add(row as u32),
            Samples::Ids(ids) => ids[row],
        }
    }
}

/// Fills `out` with the first `len` numbers of each sample, sample after sample.
///
/// `out` holds a whole number of samples. Errors if it does not, if there are not as many ids as samples, or if `len` passes 2^34, the
/// elements that a sample can address.
pub fn fill<V: Variate>(
    variate: V,
    stream: &Stream,
    samples: Samples,
    len: usize,
    out: &mut [V::Number],
) -> Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    if len == 0 || !out.len().is_multiple_of(len) {
        return Err(Error::argument(
            "random fill",
            format!("{} numbers are not a whole number of samples of {len}", out.len()),
        ));
    }
    let rows = out.len() / len;
    if let Samples::Ids(ids) = samples
        && ids.len() != rows
    {
        return Err(Error::argument("random fill", format!("{rows} samples need as many ids, got {}", ids.len())));
    }
    if len as u64 > 1 << 34 {
        return Err(Error::argument("random fill", format!("a sample has at most 2^34 elements, asked for {len}")));
    }
    const TASK: usize = 1 << 15;
    if len >= TASK {
        out.par_chunks_mut(len).enumerate().for_each(|(row, out)| {
            let ids = Samples::From(samples.id(row));
            out.par_chunks_mut(TASK).enumerate().for_each(|(i, out)| {
                fill_rows(variate, stream, ids, out.len(), (i * (TASK / 4)) as u32, out);
            });
        });
    } else {
        let per_task = TASK / len;
        out.par_chunks_mut(per_task * len).enumerate().for_each(|(i, out)| {
            let first = i * per_task;
            let ids = match samples {
                Samples::From(_) => Samples::From(samples.id(first)),
                Samples::Ids(ids) => Samples::Ids(&ids[first..]),
            };
            fill_rows(variate, stream, ids, len, 0, out);
        });
    }
    Ok(())
}

/// [`fill`] on the calling thread, from block `first_block` of each sample on. For ops that make their noise tile by tile.
pub fn fill_rows<V: Variate>(
    variate: V,
    stream: &Stream,
    samples: Samples,
    len: usize,
    first_block: u32,
    out: &mut [V::Number],
) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            // SAFETY: the CPU has the features.
            return unsafe { fill_rows_avx512(variate, stream, samples, len, first_block, out) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has the features.
            return unsafe { fill_rows_avx2(variate, stream, samples, len, first_block, out) };
        }
    }
    fill_rows_portable(variate, stream, samples, len, first_block, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
fn fill_rows_avx512<V: Variate>(v: V, s: &Stream, ids: Samples, len: usize, first: u32, out: &mut [V::Number]) {
    fill_rows_portable(v, s, ids, len, first, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fill_rows_avx2<V: Variate>(v: V, s: &Stream, ids: Samples, len: usize, first: u32, out: &mut [V::Number]) {
    fill_rows_portable(v, s, ids, len, first, out);
}

/// Blocks of Philox made together: enough that the compiler keeps the loops and vectorises them, few enough for the L1 cache.
const LANES: usize = 64;

#[inline(always)]
fn fill_rows_portable<V: Variate>(v: V, s: &Stream, samples: Samples, len: usize, first: u32, out: &mut [V::Number]) {
    let mut chunk = [V::Number::default(); 4 * LANES];
    let mut at = Cursor { row: 0, block: 0, per_row: len.div_ceil(4) };
    let whole = len.is_multiple_of(4);
    let mut done = 0;
    while done < out.len() {
        let (mut blocks, mut ids) = ([0u32; LANES], [0u32; LANES]);
        let start = at;
        if at.block + LANES <= at.per_row {
            let (from, id) = (first.wrapping_add(at.block as u32), samples.id(at.row));
            for l in 0..LANES {
                blocks[l] = from.wrapping_add(l as u32);
                ids[l] = id;
            }
            at.block += LANES;
        } else {
            let rows = out.len() / len;
            for l in 0..LANES {
                if at.block == at.per_row {
                    at = Cursor { row: at.row + 1, block: 0, ..at };
                }
                if at.row == rows {
                    break; // the remaining lanes make numbers that nobody reads
                }
                (blocks[l], ids[l]) = (first.wrapping_add(at.block as u32), samples.id(at.row));
                at.block += 1;
            }
        }
        if at.block == at.per_row {
            at = Cursor { row: at.row + 1, block: 0, ..at };
        }
        if whole && out.len() - done >= 4 * LANES {
            let (to, _) = out[done..].as_chunks_mut::<{ 4 * LANES }>();
            lanes(v, s, &blocks, &ids, &mut to[0]);
            done += 4 * LANES;
        } else {
            lanes(v, s, &blocks, &ids, &mut chunk);
            done += copy_blocks(&chunk, start, len, &mut out[done..]);
        }
    }
}

/// Where in the batch the next block belongs.
#[derive(Clone, Copy)]
struct Cursor {
    row: usize,
    block: usize,
    per_row: usize,
}

/// Copies a chunk's blocks, cutting each row's last one to what the row still needs; returns how many numbers that were.
#[inline(always)]
fn copy_blocks<T: Copy, const N: usize>(chunk: &[T; N], start: Cursor, len: usize, out: &mut [T]) -> usize {
    let (mut block, mut done) = (start.block, 0);
    for four in chunk.chunks_exact(4) {
        let take = (len - 4 * block).min(4).min(out.len() - done);
        out[done..done + take].copy_from_slice(&four[..take]);
        done += take;
        block += 1;
        if block == start.per_row {
            block = 0;
        }
    }
    done
}

#[inline(always)]
fn lanes<V: Variate>(v: V, s: &Stream, blocks: &[u32; LANES], ids: &[u32; LANES], out: &mut [V::Number; 4 * LANES]) {
    let mut words = [[0u32; LANES]; 4];
    for l in 0..LANES {
        let w = philox::philox4x32_10([blocks[l], ids[l], s.tail[0], s.tail[1]], s.key);
        for i in 0..4 {
            words[i][l] = w[i];
        }
    }
    for l in 0..LANES {
        let numbers = v.block([words[0][l], words[1][l], words[2][l], words[3][l]]);
        out[4 * l..4 * l + 4].copy_from_slice(&numbers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, RandomKey};

    /// Bits of all variates through one of the compiled versions.
    fn bits(fill: impl Fn(&Stream, &mut [f32], u8)) -> Vec<u32> {
        let stream = RandomKey::new(11, Purpose::Custom).stream().unwrap();
        let mut out = [0.0; 4000];
        (0..4u8)
            .flat_map(|kind| {
                fill(&stream, &mut out, kind);
                out.map(f32::to_bits)
            })
            .collect()
    }

    macro_rules! through {
        ($version:ident) => {
            bits(|s, out, kind| match kind {
                0 => $version(Uniform, s, Samples::From(3), 1000, 5, out),
                1 => $version(Exponential, s, Samples::From(3), 1000, 5, out),
                2 => $version(Gumbel, s, Samples::From(3), 1000, 5, out),
                _ => $version(Normal, s, Samples::From(3), 1000, 5, out),
            })
        };
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        let want = through!(fill_rows_portable);
        assert!(through!(fill_rows) == want);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has the features.
            assert!(unsafe { through!(fill_rows_avx2) } == want);
        }
    }
}
