//! Bulk generation on the CPU.
//!
//! The loops run over blocks of Philox in plain arrays, which the compiler turns into vector code. Fused multiply-add
//! is exact wherever it is done, in hardware or in software, so all processors give the same bits.

use super::{Stream, philox, variates};
use crate::backend::cpu::{GRAIN, Kernel, parts, vectorized, with_vector_instructions};
use crate::error::{Error, Result};

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

impl<'a> Samples<'a> {
    /// The index of the batch's row `row`. Panics if there are ids but not that many.
    #[inline(always)]
    pub fn id(&self, row: usize) -> u32 {
        match self {
            Samples::From(first) => first.wrapping_add(row as u32),
            Samples::Ids(ids) => ids[row],
        }
    }

    /// The batch without its first `rows` rows.
    pub fn skip(&self, rows: usize) -> Samples<'a> {
        match *self {
            Samples::From(first) => Samples::From(first.wrapping_add(rows as u32)),
            Samples::Ids(ids) => Samples::Ids(ids.get(rows..).unwrap_or_default()),
        }
    }
}

/// Fills `out` with the first `len` numbers of each sample, sample after sample.
///
/// `out` holds a whole number of samples. Errors if it does not, if there are not as many ids as samples, or if `len`
/// passes 2^34, the elements that a sample can address.
pub fn fill<V: Variate>(
    variate: V,
    stream: &Stream,
    samples: Samples,
    len: usize,
    out: &mut [V::Number],
) -> Result<()> {
    if check(samples, len, out.len())? {
        tiles(samples, len, out, |_, tile, out| {
            fill_rows(variate, stream, tile.samples, tile.len, tile.first_block, out);
        });
    }
    Ok(())
}

/// As [`fill`], for numbers that are used and not kept: calls `f(first, tile, numbers)` for tiles of `out`, where
/// `first` is the tile's first element and `numbers` holds one number for each of the tile's elements.
pub fn with_numbers<V: Variate, T: Send>(
    variate: V,
    stream: &Stream,
    samples: Samples,
    len: usize,
    out: &mut [T],
    f: impl Fn(usize, &mut [T], &[V::Number]) + Sync,
) -> Result<()> {
    if check(samples, len, out.len())? {
        tiles(samples, len, out, |first, tile, out| {
            let mut numbers = vec![V::Number::default(); out.len()];
            fill_rows(variate, stream, tile.samples, tile.len, tile.first_block, &mut numbers);
            vectorized(|| f(first, out, &numbers));
        });
    }
    Ok(())
}

/// Whether there is anything to do; errors on sizes that do not fit.
fn check(samples: Samples, len: usize, total: usize) -> Result<bool> {
    if total == 0 {
        return Ok(false);
    }
    if len == 0 || !total.is_multiple_of(len) {
        return Err(Error::argument(
            "random fill",
            format!("{total} numbers are not a whole number of samples of {len}"),
        ));
    }
    let rows = total / len;
    if let Samples::Ids(ids) = samples
        && ids.len() != rows
    {
        return Err(Error::argument("random fill", format!("{rows} samples need as many ids, got {}", ids.len())));
    }
    if len as u64 > 1 << 34 {
        return Err(Error::argument("random fill", format!("a sample has at most 2^34 elements, asked for {len}")));
    }
    Ok(true)
}

/// Consecutive samples, or a part of one.
struct Tile<'a> {
    samples: Samples<'a>,
    /// Elements of each sample in the tile.
    len: usize,
    first_block: u32,
}

/// What a random number costs, in elements that are only read and written.
const WORK: usize = 4;

/// Hands out tiles of about [`GRAIN`] elements to all threads: several samples, or a part of one that begins with a
/// block.
fn tiles<T: Send>(samples: Samples, len: usize, out: &mut [T], f: impl Fn(usize, Tile, &mut [T]) + Sync) {
    if len >= GRAIN {
        parts(out, len, WORK * len, &|row, out| {
            let samples = Samples::From(samples.id(row));
            parts(out, GRAIN, WORK * GRAIN, &|i, out| {
                let tile = Tile { samples, len: out.len(), first_block: (i * (GRAIN / 4)) as u32 };
                f(row * len + i * GRAIN, tile, out);
            });
        });
    } else {
        let rows = GRAIN / len;
        parts(out, rows * len, WORK * rows * len, &|i, out| {
            let tile = Tile { samples: samples.skip(i * rows), len, first_block: 0 };
            f(i * rows * len, tile, out);
        });
    }
}

/// [`fill`] on the calling thread, from block `first_block` of each sample on. For ops that make their noise tile by
/// tile.
pub fn fill_rows<V: Variate>(
    variate: V,
    stream: &Stream,
    samples: Samples,
    len: usize,
    first_block: u32,
    out: &mut [V::Number],
) {
    with_vector_instructions(Fill { variate, stream, samples, len, first_block, out });
}

/// The arguments of [`fill_rows`].
struct Fill<'a, V: Variate> {
    variate: V,
    stream: &'a Stream,
    samples: Samples<'a>,
    len: usize,
    first_block: u32,
    out: &'a mut [V::Number],
}

impl<V: Variate> Kernel for Fill<'_, V> {
    #[inline(always)]
    fn run(self) {
        make(self.variate, self.stream, self.samples, self.len, self.first_block, self.out);
    }
}

/// Blocks of Philox made together: enough that the compiler keeps the loops and vectorises them, few enough for the L1
/// cache.
const LANES: usize = 64;

#[inline(always)]
fn make<V: Variate>(v: V, s: &Stream, samples: Samples, len: usize, first: u32, out: &mut [V::Number]) {
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

/// Copies a chunk's blocks, cutting each row's last one to what the row still needs; returns how many numbers that
/// were.
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

    fn check<V: Variate<Number = f32>>(v: V) {
        let stream = RandomKey::new(11, Purpose::Custom).stream().unwrap();
        let (mut wide, mut plain) = ([0.0; 4000], [0.0; 4000]);
        fill_rows(v, &stream, Samples::From(3), 1000, 5, &mut wide);
        make(v, &stream, Samples::From(3), 1000, 5, &mut plain);
        assert!(wide.map(f32::to_bits) == plain.map(f32::to_bits));
    }

    #[test]
    fn vector_instructions_do_not_change_the_bits() {
        check(Uniform);
        check(Exponential);
        check(Gumbel);
        check(Normal);
    }
}
