//! A convolution, or the gradient of its input: tasks of some rows of an image and all or some columns of the result.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::images::{Images, Shift};
use super::{CHANNELS, COLUMNS, LEAST_CHANNELS, PAIRS, ROWS, multiply};
use crate::backend::cpu::amx::{self, LANES};
use crate::backend::cpu::gemm::Factor;
use crate::backend::cpu::gemm::scratch::Scratch;
use crate::backend::cpu::isa::Isa;
use crate::backend::cpu::{CpuBuffer, OnTeam};
use crate::error::{Error, Result};
use crate::stop;

/// Bytes of the copies of a task's rows, which then stay in the second-level cache beside the weights of a panel.
const COPIES: usize = 512 << 10;

/// Bytes of a row of an image in its copies.
fn row_of_copies(kernel: usize, channels: usize, width: usize) -> usize {
    kernel * channels.div_ceil(CHANNELS) * width * CHANNELS * size_of::<bf16>()
}

/// Rows of the result for whose copies there is room.
fn rows_at_once(kernel: usize, row: usize) -> usize {
    (COPIES / row).saturating_sub(kernel - 1)
}

/// Whether tiles are filled by pairs of channels, and copies have room for so many rows that the kernel's height does
/// not count too much.
pub fn pays(channels: usize, kernel: usize, height: usize, width: usize) -> bool {
    let even = channels.is_multiple_of(2) && channels >= LEAST_CHANNELS;
    even && rows_at_once(kernel, row_of_copies(kernel, channels, width)) >= height.min(kernel)
}

/// Weights packed for tiles: panels of [`COLUMNS`] columns, in each the taps, in each [`CHANNELS`] channels at a time.
pub struct Weights {
    memory: CpuBuffer,
    pub columns: usize,
    taps: usize,
    channels: usize,
}

impl Weights {
    /// Packs `factor`, a right one: each tap has `channels` of its rows, two of which are a pair. Errors if there is no
    /// memory for them.
    pub fn pack(factor: &Factor<f32>, columns: usize, taps: usize, channels: usize) -> Result<Weights> {
        let (pairs, chunks) = (channels / 2, channels.div_ceil(CHANNELS));
        let (steps, room) = (taps * chunks, chunks * amx::ROWS);
        let (panel, panels) = (steps * STEP, columns.div_ceil(COLUMNS));
        // Not from what threads keep: it may be kept, and those buffers are larger than need be.
        let mut memory = CpuBuffer::new(panels * panel * size_of::<f32>())?;
        let pack = |(index, to): (usize, &mut [f32])| {
            let columns = index * COLUMNS..columns.min((index + 1) * COLUMNS);
            for (tap, to) in to.chunks_exact_mut(room * COLUMNS).enumerate() {
                factor.pack_right(&PAIRS, columns.clone(), tap * pairs..(tap + 1) * pairs, to, room)?;
            }
            Ok(())
        };
        memory.as_mut_slice::<f32>().par_chunks_exact_mut(panel).enumerate().with_max_len(1).try_each_on_team(pack)?;
        Ok(Weights { memory, columns, taps, channels })
    }

    /// Whether they are so many.
    pub fn are_of(&self, columns: usize, taps: usize, channels: usize) -> bool {
        (self.columns, self.taps, self.channels) == (columns, taps, channels)
    }

    /// Steps of a panel.
    fn steps(&self) -> usize {
        self.taps * self.channels.div_ceil(CHANNELS)
    }

    fn panels(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    fn panel(&self, panel: usize) -> &[f32] {
        &self.memory.as_slice()[panel * self.steps() * STEP..][..self.steps() * STEP]
    }
}

/// Pairs of a step of the right factor.
pub const STEP: usize = amx::BYTES / size_of::<f32>();

/// `y = conv(images, weights) + bias`. Errors if there is no memory for copies, and once the calling thread is to
/// [stop].
pub fn compute(images: &Images, weights: &Weights, bias: Option<&[f32]>, y: &mut [bf16]) -> Result<()> {
    let columns = weights.columns;
    assert!(y.len() >= images.batch * images.out_height * images.out_width * columns, "a result of {}", y.len());
    assert!(bias.is_none_or(|bias| bias.len() == columns), "one bias per column");
    assert_eq!(weights.steps(), images.kernel * images.kernel * images.chunks(), "steps of the weights");

    // As many rows as copies have room for, in tasks that are as large as each other.
    let row = row_of_copies(images.kernel, images.channels, images.out_width);
    let rows = rows_at_once(images.kernel, row).clamp(1, images.out_height);
    let cuts = images.out_height.div_ceil(rows);
    // Threads that would have none share the columns.
    let tasks = images.batch * cuts;
    let groups = (2 * rayon::current_num_threads()).div_ceil(tasks).min(weights.panels());
    let tasks: Vec<_> = (0..images.batch * cuts * groups)
        .map(|task| {
            let (task, group) = (task / groups, task % groups);
            let (image, cut) = (task / cuts, task % cuts);
            let part = |of: usize, cuts: usize, cut: usize| of * cut / cuts..of * (cut + 1) / cuts;
            (image, part(images.out_height, cuts, cut), part(weights.panels(), groups, group))
        })
        .collect();
    let work = Work { images, weights, bias, y: y.as_mut_ptr() };
    let stopped = stop::watch();
    tasks.par_iter().with_max_len(1).try_each_on_team(|(image, rows, panels)| match stopped() {
        true => Err(Error::Stopped),
        // SAFETY: no two tasks have the same rows and panels, and the result has them.
        false => unsafe { work.task(*image, rows.clone(), panels.clone()) },
    })
}

struct Work<'a> {
    images: &'a Images<'a>,
    weights: &'a Weights,
    bias: Option<&'a [f32]>,
    y: *mut bf16,
}

// SAFETY: tasks write disjoint parts of the result (see `task`).
unsafe impl Sync for Work<'_> {}

impl Work<'_> {
    /// Computes some rows of an image, of the columns of some panels.
    ///
    /// # Safety
    /// The result has them, and nobody else uses them meanwhile.
    unsafe fn task(&self, image: usize, rows: Range<usize>, panels: Range<usize>) -> Result<()> {
        let &Work { images, weights, bias, y } = self;
        let copied = rows.start..rows.end + images.kernel - 1;
        let line = images.out_width * CHANNELS;
        let plane = copied.len() * line;
        // Tiles are read whole where the pixels of the last block are fewer.
        let all = images.kernel * images.chunks() * plane + ROWS * CHANNELS;
        let mut copies = Scratch::of::<bf16>(all)?;
        let copies = &mut copies.as_mut::<bf16>()[..all];
        Isa::Amx.run_kernel(Shift { images, image, rows: copied, to: copies });

        let steps: Vec<amx::Step> = (0..weights.steps())
            .map(|step| {
                let (tap, chunk) = (step / images.chunks(), step % images.chunks());
                let (tap_y, tap_x) = (tap / images.kernel, tap % images.kernel);
                let left = (tap_x * images.chunks() + chunk) * plane + tap_y * line;
                amx::Step { left: left * size_of::<bf16>(), right: step * amx::BYTES }
            })
            .collect();
        let first = (image * images.out_height + rows.start) * images.out_width;
        let pixels = rows.len() * images.out_width;
        // SAFETY: the level is `amx`; copies and weights are whole and have what the steps name: the last pixel's last
        // tap is the last pixel of a plane, and a block goes on for so many pixels as there is room for behind the last
        // plane. The rest is the caller's.
        unsafe {
            amx::configure();
            for panel in panels {
                let column = panel * COLUMNS;
                let columns = COLUMNS.min(weights.columns - column);
                let bias = bias.map(|bias| &bias[column..column + columns]);
                for pixel in (0..pixels).step_by(ROWS) {
                    let rows = ROWS.min(pixels - pixel);
                    let left = copies[pixel * CHANNELS..].as_ptr().cast();
                    let mut sums = MaybeUninit::<[f32; ROWS * COLUMNS]>::uninit();
                    let to = sums.as_mut_ptr().cast();
                    let right = weights.panel(panel).as_ptr();
                    let to_stride = COLUMNS * size_of::<f32>();
                    multiply(&amx::Block { left, right, steps: &steps, to, to_stride }, (rows, columns));
                    store(
                        to,
                        (rows, columns),
                        bias,
                        y.add((first + pixel) * weights.columns + column),
                        weights.columns,
                    );
                }
            }
            amx::release();
        }
        Ok(())
    }
}

/// Rounds sums, [`COLUMNS`] apart, to rows that are `stride` apart, plus one value of `bias` per column.
///
/// # Safety
/// The CPU has the level `amx`; `sums` has the rows and columns, in whole vectors, and so has `to`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub unsafe fn store(
    sums: *const f32,
    (rows, columns): (usize, usize),
    bias: Option<&[f32]>,
    to: *mut bf16,
    stride: usize,
) {
    let mask = u32::MAX >> (COLUMNS - columns);
    let mut added = [_mm512_setzero_ps(); 2];
    if let Some(bias) = bias {
        let mut values = [0f32; COLUMNS];
        values[..columns].copy_from_slice(bias);
        // SAFETY: two vectors are there.
        added = unsafe { [_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(LANES))] };
    }
    for r in 0..rows {
        // SAFETY: sums of a row that a tile has written; where there is one tile only, the mask ends with it. Vectors
        // of bf16 are 512 bits, as those of whole numbers are.
        unsafe {
            let low = _mm512_add_ps(_mm512_loadu_ps(sums.add(r * COLUMNS)), added[0]);
            let high = if columns > LANES { _mm512_loadu_ps(sums.add(r * COLUMNS + LANES)) } else { added[1] };
            let high = _mm512_add_ps(high, added[1]);
            let halves: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
            _mm512_mask_storeu_epi16(to.add(r * stride).cast(), mask, halves);
        }
    }
}
