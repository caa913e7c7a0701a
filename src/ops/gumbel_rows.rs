//! Rows of logits and their Gumbel noise, for the operations that draw from them: how a GPU's threads share such rows,
//! and how the CPU makes `x + g` in its cache, once.

use std::sync::atomic::{AtomicUsize, Ordering};

use num_traits::{Float, Zero};

pub(super) use crate::backend::cpu::{Columns, ROWS_AT_ONCE as LANES, SHORT, columns, rows};
use crate::backend::cpu::{Kernel, weighted_chunks, with_vector_instructions};
use crate::backend::gpu::{Launch, Ptr};
use crate::error::{Error, Result};
use crate::random::philox::philox4x32_10;
use crate::random::{Gumbel, Samples, Stream, fill_rows, variates};
use crate::tensor::{Accumulator, DType, Real};

/// Errors of `op` unless `tau` and its inverse are positive and finite, in f32 too.
pub(super) fn check_temperature(op: &'static str, tau: f64) -> Result<()> {
    let fits = (f32::MIN_POSITIVE..=f32::MAX).contains(&(tau as f32));
    if fits { Ok(()) } else { Err(Error::argument(op, format!("tau must be positive and finite, got {tau}"))) }
}

/// Errors of `op` unless u32 can number `k` labels and say that there is none.
pub(super) fn check_labels(op: &'static str, k: usize) -> Result<()> {
    let fits = (k as u64) < u64::from(u32::MAX);
    if fits { Ok(()) } else { Err(Error::argument(op, format!("{k} labels are more than 2^32 - 2"))) }
}

/// The error of `op` on a row of logits.
pub(super) fn no_distribution(op: &str, row: usize) -> Error {
    Error::NonFinite {
        what: format!("{op}: row {row} of the logits"),
        found: "all -inf, or a NaN or +inf; a row needs a finite logit, and only -inf besides".into(),
    }
}

/// How threads share the rows: what `RowTeam` and `load_columns` of `kernels/device/gumbel_rows.cuh` are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Teams {
    rows: usize,
    threads: u32,
    /// Neighbouring lanes of a warp a row; 0: a whole block.
    pub lanes: u32,
    /// Columns that a lane handles in one turn.
    pub columns_per_lane: u32,
    /// Columns that one instruction loads or stores.
    pub width: u32,
    /// Turns that a team needs for a row.
    pub turns: usize,
}

impl Teams {
    /// For rows of `k` numbers at `addresses`.
    pub fn of(rows: usize, k: usize, dtype: DType, addresses: &[Ptr]) -> Self {
        // Eight columns of bf16 would leave much of a short row's last lane without work.
        let columns: usize = if dtype == DType::BF16 && k > 128 { 8 } else { 4 };
        let lanes = if Launch::block_per_row(k) { 0 } else { k.div_ceil(columns).min(32) };
        let threads = if k > LONG { 512 } else { 256 };
        Self::with(rows, k, columns, lanes, threads, dtype, addresses)
    }

    /// The same with a block a row and four columns a lane.
    pub fn blocks(rows: usize, k: usize, dtype: DType, addresses: &[Ptr]) -> Self {
        let threads = k.div_ceil(4).next_multiple_of(32).clamp(32, 512);
        Self::with(rows, k, 4, 0, threads, dtype, addresses)
    }

    fn with(
        rows: usize,
        k: usize,
        columns: usize,
        lanes: usize,
        threads: usize,
        dtype: DType,
        addresses: &[Ptr],
    ) -> Self {
        let size = if lanes == 0 { threads } else { lanes };
        let fits = |width: usize| k.is_multiple_of(width) && Ptr::all_multiples(addresses, width * dtype.size());
        let width = [columns, 2].into_iter().find(|&width| fits(width)).unwrap_or(1);
        Teams {
            rows,
            threads: threads as u32,
            lanes: lanes as u32,
            columns_per_lane: columns as u32,
            width: width as u32,
            turns: k.div_ceil(columns).div_ceil(size),
        }
    }

    /// The launch, in which all rows are handed out to teams.
    pub fn launch(&self, kernel: &'static str) -> Launch {
        let at_once = 32u32.checked_div(self.lanes).map_or(1, |teams| self.threads / 32 * teams);
        let blocks = self.rows.div_ceil(at_once as usize).clamp(1, 1 << 20) as u32;
        Launch::blocks(kernel, [blocks, 1, 1], self.threads)
    }

    /// The turns whose numbers a block has room for in shared memory, as f32, and the bytes that these take.
    pub fn kept(&self) -> (usize, usize) {
        let turn = (self.threads * self.columns_per_lane * 4) as usize;
        let turns = self.turns.min(4 * LONG / turn);
        (turns, turns * turn)
    }
}

/// The longest row that stays in shared memory: 48 KiB.
const LONG: usize = 12 << 10;

/// Where the Gumbel numbers of a batch come from, on the CPU.
#[derive(Debug, Clone, Copy)]
pub(super) enum Noise<'a, A> {
    /// The elements of each sample from block `first_block` on.
    Drawn { stream: Stream, samples: Samples<'a>, first_block: u32 },
    /// One number for each logit.
    Given(&'a [A]),
}

/// Adds to the columns of `x`, whose first row is the batch's row `row`, their noise.
#[inline(always)]
pub(super) fn perturb_columns<A: Accumulator>(x: &mut Columns<A>, k: usize, noise: &Noise<A>, row: usize, rows: usize) {
    match *noise {
        Noise::Drawn { stream, samples, first_block } => {
            let mut ids = [0; LANES];
            for (l, id) in ids[..rows].iter_mut().enumerate() {
                *id = samples.id(row + l);
            }
            for (b, x) in x[..k.next_multiple_of(4)].as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let mut words = [[0; LANES]; 4];
                for l in 0..LANES {
                    let counter = [first_block.wrapping_add(b as u32), ids[l], stream.tail[0], stream.tail[1]];
                    let block = philox4x32_10(counter, stream.key);
                    for (words, word) in words.iter_mut().zip(block) {
                        words[l] = word;
                    }
                }
                for (x, words) in x.iter_mut().zip(&words) {
                    for (x, &word) in x.iter_mut().zip(words) {
                        *x += A::of(variates::gumbel(word).into());
                    }
                }
            }
        }
        Noise::Given(noise) => {
            for (l, noise) in noise[row * k..].chunks_exact(k).take(rows).enumerate() {
                for (x, &g) in x.iter_mut().zip(noise) {
                    x[l] += g;
                }
            }
        }
    }
}

/// Of rows side by side: the largest number, its first column, and whether there is a NaN or +inf.
pub(super) struct ColumnPeaks<A> {
    pub max: [A; LANES],
    best: [u32; LANES],
    bad: [u32; LANES],
}

impl<A: Accumulator> ColumnPeaks<A> {
    #[inline(always)]
    pub fn of(t: &[[A; LANES]]) -> Self {
        let mut peaks = ColumnPeaks { max: [A::neg_infinity(); LANES], best: [0; LANES], bad: [0; LANES] };
        for (j, t) in t.iter().enumerate() {
            for (l, &t) in t.iter().enumerate() {
                peaks.bad[l] |= u32::from(is_bad(t));
                let larger = t > peaks.max[l];
                peaks.best[l] = if larger { j as u32 } else { peaks.best[l] };
                peaks.max[l] = if larger { t } else { peaks.max[l] };
            }
        }
        peaks
    }

    /// The first column with the largest number of row `l`; `None` if the row has no distribution.
    #[inline(always)]
    pub fn best(&self, l: usize) -> Option<usize> {
        let fine = self.bad[l] == 0 && self.max[l] > A::neg_infinity();
        fine.then_some(self.best[l] as usize)
    }
}

#[inline(always)]
fn is_bad<A: Accumulator>(t: A) -> bool {
    // A NaN is not below infinity either, which is what the negation is for.
    #[allow(clippy::neg_cmp_op_on_partial_ord)]
    let bad = !(t < A::infinity());
    bad
}

/// Of one row: the largest number, and whether there is a NaN or +inf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peak<A> {
    pub max: A,
    bad: bool,
}

impl<A: Accumulator> Peak<A> {
    /// Whether the row has a distribution.
    pub fn is_fine(&self) -> bool {
        !self.bad && self.max > A::neg_infinity()
    }

    /// The first column with the largest number.
    #[inline(always)]
    pub fn position(&self, t: &[A]) -> Option<usize> {
        // Whole chunks are compared by vector instructions; only one is searched.
        let has_max = |t: &[A]| t.iter().fold(false, |any, &t| any | (t == self.max));
        let chunk = t.chunks(PART).position(has_max)?;
        Some(chunk * PART + t[chunk * PART..].iter().position(|&t| t == self.max)?)
    }
}

/// Partial results side by side, which fill vector registers.
const PART: usize = 32;

/// The sum of what `f` makes of each number, which it may change, in a fixed order.
#[inline(always)]
pub(super) fn sum_of<A: Accumulator>(t: &mut [A], f: impl Fn(&mut A) -> A) -> A {
    let mut lanes = [A::zero(); PART];
    let (whole, rest) = t.as_chunks_mut::<PART>();
    for t in whole {
        for (lane, t) in lanes.iter_mut().zip(t) {
            *lane += f(t);
        }
    }
    for (lane, t) in lanes.iter_mut().zip(rest) {
        *lane += f(t);
    }
    lanes.into_iter().sum()
}

/// Gumbel numbers that are made at once, so that they stay in the first-level cache until they are used.
const AT_ONCE: usize = 4 << 10;

/// Makes `x + g` of one row after the other, in memory that serves them all.
pub(super) struct PerturbedRows<A> {
    noise: Vec<f32>,
    /// The rows whose numbers `noise` has, each padded to whole blocks.
    made: std::ops::Range<usize>,
    pub t: Vec<A>,
}

impl<A: Accumulator> PerturbedRows<A> {
    pub fn new(k: usize, rows: usize) -> Self {
        let padded = k.next_multiple_of(4);
        let noise = vec![0.0; padded.min(AT_ONCE) * (AT_ONCE / padded).clamp(1, rows.max(1))];
        PerturbedRows { noise, made: 0..0, t: vec![A::zero(); k] }
    }

    /// Leaves `x + g` in `t`, where `x` is the batch's row `row`, of which `rows` follow one another from here on.
    #[inline(always)]
    pub fn make<T: Real<Acc = A>>(&mut self, x: &[T], noise: &Noise<A>, row: usize, rows: usize) -> Peak<A> {
        let (k, padded) = (x.len(), x.len().next_multiple_of(4));
        match *noise {
            Noise::Given(noise) => add(x, &noise[row * k..], &mut self.t, |g| g),
            Noise::Drawn { stream, samples, first_block } if padded <= AT_ONCE => {
                if !self.made.contains(&row) {
                    let count = (self.noise.len() / padded).min(rows);
                    let noise = &mut self.noise[..count * padded];
                    fill_rows(Gumbel, &stream, samples.skip(row), padded, first_block, noise);
                    self.made = row..row + count;
                }
                let noise = &self.noise[(row - self.made.start) * padded..];
                add(x, noise, &mut self.t, |g| A::of(g.into()))
            }
            Noise::Drawn { stream, samples, first_block } => {
                let sample = Samples::From(samples.id(row));
                let mut peak = Peak { max: A::neg_infinity(), bad: false };
                for (i, (x, t)) in x.chunks(AT_ONCE).zip(self.t.chunks_mut(AT_ONCE)).enumerate() {
                    let noise = &mut self.noise[..x.len().next_multiple_of(4)];
                    let block = first_block.wrapping_add((i * (AT_ONCE / 4)) as u32);
                    fill_rows(Gumbel, &stream, sample, noise.len(), block, noise);
                    let part = add(x, noise, t, |g| A::of(g.into()));
                    peak.bad |= part.bad;
                    peak.max = if part.max > peak.max { part.max } else { peak.max };
                }
                peak
            }
        }
    }
}

/// `t = x + g`; the first of the noise is used, as much as there is of `x`.
#[inline(always)]
fn add<T: Real, G: Copy>(x: &[T], g: &[G], t: &mut [T::Acc], widen: impl Fn(G) -> T::Acc) -> Peak<T::Acc> {
    let (mut max, mut bad) = ([T::Acc::neg_infinity(); PART], [0u32; PART]);
    let mut see = |l: usize, t: T::Acc| {
        bad[l] |= u32::from(is_bad(t));
        max[l] = if t > max[l] { t } else { max[l] };
    };
    let g = &g[..x.len()];
    let ((x, x_rest), (g, g_rest)) = (x.as_chunks::<PART>(), g.as_chunks::<PART>());
    let (t, t_rest) = t.as_chunks_mut::<PART>();
    for ((x, g), t) in x.iter().zip(g).zip(t) {
        for l in 0..PART {
            t[l] = x[l].acc() + widen(g[l]);
            see(l, t[l]);
        }
    }
    for (l, ((x, &g), t)) in x_rest.iter().zip(g_rest).zip(t_rest).enumerate() {
        *t = x.acc() + widen(g);
        see(l, *t);
    }
    let max = max.into_iter().fold(T::Acc::neg_infinity(), |max, t| if t > max { t } else { max });
    Peak { max, bad: bad.iter().any(|&bad| bad != 0) }
}

/// What stands in the place of a label where a row of logits has no distribution.
pub const NO_LABEL: u32 = u32::MAX;

/// Writes the argmax of `x + g` of each row, or [`NO_LABEL`]; returns the first row without a distribution.
pub(super) fn label_rows<T: Real>(x: &[T], k: usize, noise: Noise<T::Acc>, labels: &mut [u32]) -> Option<usize> {
    let bad = AtomicUsize::new(usize::MAX);
    weighted_chunks(labels, 1, k, |first, labels| {
        with_vector_instructions(Labels { k, x: &x[first * k..][..k * labels.len()], noise, first, labels, bad: &bad });
    });
    Some(bad.into_inner()).filter(|&row| row != usize::MAX)
}

/// Some rows, from the batch's row `first` on.
struct Labels<'a, T: Real> {
    k: usize,
    x: &'a [T],
    noise: Noise<'a, T::Acc>,
    first: usize,
    labels: &'a mut [u32],
    bad: &'a AtomicUsize,
}

impl<T: Real> Kernel for Labels<'_, T> {
    #[inline(always)]
    fn run(self) {
        let Labels { k, x, noise, first, labels, bad } = self;
        let label = |row: usize, best: Option<usize>| {
            if best.is_none() {
                bad.fetch_min(first + row, Ordering::Relaxed);
            }
            best.map_or(NO_LABEL, |best| best as u32)
        };
        if k <= SHORT {
            let mut t = [[T::Acc::zero(); LANES]; SHORT];
            for (i, (x, labels)) in x.chunks(LANES * k).zip(labels.chunks_mut(LANES)).enumerate() {
                columns(x, k, &mut t);
                perturb_columns(&mut t, k, &noise, first + i * LANES, labels.len());
                let peaks = ColumnPeaks::of(&t[..k]);
                labels.iter_mut().enumerate().for_each(|(l, to)| *to = label(i * LANES + l, peaks.best(l)));
            }
            return;
        }
        let rows = labels.len();
        let mut perturbed = PerturbedRows::new(k, rows);
        for (r, (x, to)) in x.chunks_exact(k).zip(labels).enumerate() {
            let peak = perturbed.make(x, &noise, first + r, rows - r);
            *to = label(r, if peak.is_fine() { peak.position(&perturbed.t) } else { None });
        }
    }
}
