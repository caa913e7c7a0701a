//! The gradient of a convolution's weight: the depth is pixels, two of which are a pair.
//!
//! The left factor is the gradient of the result, an output a row. The right one are the copies of the images, of which
//! a row of tiles is a pair of neighbouring pixels; a tap is a place to start from in one of them. Steps that go on
//! behind the last row of an image multiply what follows by zeros: a pixel that is not finite may so make NaN of all
//! taps of its channel, also of those that do not meet it.

use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::forward::{STEP, store};
use super::images::{Images, ShiftPairs};
use super::{CHANNELS, COLUMNS, LEAST_CHANNELS, PAIRS, ROWS, multiply};
use crate::backend::convolution::Convolution;
use crate::backend::cpu::OnTeam;
use crate::backend::cpu::amx;
use crate::backend::cpu::gemm::Factor;
use crate::backend::cpu::gemm::pack::by;
use crate::backend::cpu::gemm::pairs::Pairs;
use crate::backend::cpu::gemm::rows::Matrix;
use crate::backend::cpu::gemm::scratch::Scratch;
use crate::backend::cpu::isa::Isa;
use crate::error::{Error, Result};
use crate::stop;

/// Steps of the depth whose factors are packed at a time: those of one panel and of 32 channels stay in the
/// second-level cache.
const AT_ONCE: usize = 128;

/// Steps of an image beyond which its factors are too large for that, and as patches they are cut anywhere.
const LARGEST: usize = 4 * AT_ONCE;

/// Whether tiles are filled, and an image is not too large.
pub fn pays(shape: &Convolution) -> bool {
    let steps = (shape.out_height() * shape.out_width()).div_ceil(2 * amx::ROWS);
    shape.inputs >= LEAST_CHANNELS && steps <= LARGEST
}

/// As [`weight_gradient`](super::weight_gradient).
pub fn compute(images: &Images, dy: &[bf16], outputs: usize, dw: &mut [bf16]) -> Result<()> {
    let pixels = images.out_height * images.out_width;
    let (taps, inputs) = (images.kernel * images.kernel, images.channels);
    assert!(dy.len() >= images.batch * pixels * outputs && dw.len() >= outputs * taps * inputs, "gradients");
    let steps = pixels.div_ceil(2 * amx::LANES);
    let at_once = (AT_ONCE / steps).clamp(1, images.batch);
    let parts: Vec<_> = by(at_once, 0..images.batch).collect();

    // Several parts are summed up before they are rounded.
    let between = if parts.len() > 1 { outputs * taps * inputs } else { 0 };
    let mut total = Scratch::of::<f32>(between)?;
    let total = total.as_mut::<f32>().as_mut_ptr();
    let work = Work { images, outputs, steps, dw: dw.as_mut_ptr(), total };
    let mut left = Scratch::of::<f32>(at_once * work.panels() * steps * STEP)?;
    let mut right = Scratch::of::<f32>(at_once * images.chunks() * images.kernel * work.plane())?;
    for (i, part) in parts.iter().enumerate() {
        work.pack_left(part, dy, left.as_mut())?;
        work.pack_right(part, right.as_mut());
        let (left, right, steps) = (left.as_ref(), right.as_ref(), work.steps(part.len()));
        let factors = Factors { images: part.len(), left, right, steps, first: i == 0, last: i + 1 == parts.len() };
        // SAFETY: what is between has room, and nobody else has the result.
        unsafe { work.multiply(&factors) }?;
    }
    Ok(())
}

struct Work<'a> {
    images: &'a Images<'a>,
    outputs: usize,
    /// Of an image.
    steps: usize,
    dw: *mut bf16,
    /// Sums of some of the images, in the shape of the result.
    total: *mut f32,
}

// SAFETY: tasks write disjoint parts of the result (see `multiply`).
unsafe impl Sync for Work<'_> {}

impl Work<'_> {
    /// Panels of outputs.
    fn panels(&self) -> usize {
        self.outputs.div_ceil(ROWS)
    }

    /// Pairs of numbers of a copy of 32 channels of an image: those that steps go beyond the last row are zeros.
    fn plane(&self) -> usize {
        let (rows, pairs) = (self.images.kernel - 1, self.images.out_width / 2);
        (rows * pairs + self.steps * amx::ROWS) * CHANNELS
    }

    /// Where the depth of `count` images is, from a panel and a place in a copy on.
    fn steps(&self, count: usize) -> Vec<amx::Step> {
        let copies = self.images.kernel * self.plane() * size_of::<f32>();
        let step = |image: usize, step: usize| amx::Step {
            left: (image * self.panels() * self.steps + step) * amx::BYTES,
            right: image * copies + step * amx::BYTES,
        };
        (0..count).flat_map(|image| (0..self.steps).map(move |s| step(image, s))).collect()
    }

    /// Packs the gradient of the result of some images: `[image][panel][step]`.
    fn pack_left(&self, part: &Range<usize>, dy: &[bf16], to: &mut [f32]) -> Result<()> {
        let (panel, pixels) = (self.steps * STEP, self.images.out_height * self.images.out_width);
        let to = &mut to[..part.len() * self.panels() * panel];
        to.par_chunks_exact_mut(panel).enumerate().try_each_on_team(|(i, to)| {
            let (image, panel) = (part.start + i / self.panels(), i % self.panels());
            let dy = Matrix::new(&dy[image * pixels * self.outputs..], pixels, self.outputs);
            let pairs = Pairs::new(&dy, false);
            let outputs = panel * ROWS..self.outputs.min((panel + 1) * ROWS);
            Factor::transposed(&pairs).pack_left(&PAIRS, outputs, 0..pixels / 2, to, self.steps * amx::ROWS)
        })
    }

    /// Packs the images: `[chunk][image][kernel column][row][pair of columns][channel]`.
    fn pack_right(&self, part: &Range<usize>, to: &mut [f32]) {
        let copies = self.images.kernel * self.plane();
        let to = &mut to[..self.images.chunks() * part.len() * copies];
        to.par_chunks_exact_mut(copies).enumerate().each_on_team(|(i, to)| {
            let (chunk, image) = (i / part.len(), part.start + i % part.len());
            Isa::Amx.run_kernel(ShiftPairs { images: self.images, image, chunk, to });
        });
    }

    /// Multiplies the factors: all taps, of which each has a part of the result.
    ///
    /// # Safety
    /// The result is there, and what is between if this is not the first or not the last part; nobody else uses them.
    unsafe fn multiply(&self, factors: &Factors) -> Result<()> {
        let (taps, panels) = (self.images.kernel * self.images.kernel, self.panels());
        // Those of a chunk after each other, and all taps together unless that would leave a thread without any.
        let whole = self.images.chunks() * panels >= 4 * rayon::current_num_threads();
        let at_once = if whole { taps } else { 1 };
        let tasks: Vec<_> = (0..self.images.chunks() * panels)
            .flat_map(|task| by(at_once, 0..taps).map(move |taps| (task / panels, task % panels, taps)))
            .collect();
        let stopped = stop::watch();
        tasks.par_iter().with_max_len(1).try_each_on_team(|(chunk, panel, taps)| {
            if stopped() {
                return Err(Error::Stopped);
            }
            // SAFETY: the caller's; tasks have outputs, channels or taps of their own.
            unsafe { self.task(factors, *chunk, *panel, taps.clone()) };
            Ok(())
        })
    }

    /// Computes some taps of the outputs of a panel and the channels of a chunk.
    ///
    /// # Safety
    /// As for [`multiply`](Self::multiply), of this part of the result.
    unsafe fn task(&self, factors: &Factors, chunk: usize, panel: usize, some: Range<usize>) {
        let &Work { images, outputs, .. } = self;
        let (taps, plane) = (images.kernel * images.kernel, self.plane());
        let (output, channel) = (panel * ROWS, chunk * CHANNELS);
        let size = (ROWS.min(outputs - output), COLUMNS.min(images.channels - channel));
        let stride = taps * images.channels;
        // SAFETY: the level is `amx`; the factors have what the steps name, also from the last tap on. The rest is the
        // caller's.
        unsafe {
            amx::configure();
            for tap in some {
                let (tap_y, tap_x) = (tap / images.kernel, tap % images.kernel);
                let first = (chunk * factors.images * images.kernel + tap_x) * plane;
                let right = factors.right[first + tap_y * images.out_width / 2 * CHANNELS..].as_ptr();
                let left = factors.left[panel * self.steps * STEP..].as_ptr();
                let mut sums = MaybeUninit::<[f32; ROWS * COLUMNS]>::uninit();
                let sums = sums.as_mut_ptr().cast();
                let (steps, to_stride) = (&factors.steps, COLUMNS * size_of::<f32>());
                multiply(&amx::Block { left, right, steps, to: sums, to_stride }, size);
                let at = (output * taps + tap) * images.channels + channel;
                if !factors.first {
                    add(self.total.add(at), stride, size, sums);
                }
                match factors.last {
                    true => store(sums, size, None, self.dw.add(at), stride),
                    false => copy(sums, size, self.total.add(at), stride),
                }
            }
            amx::release();
        }
    }
}

/// Both factors of some images.
struct Factors<'a> {
    images: usize,
    left: &'a [f32],
    right: &'a [f32],
    /// For a panel's outputs, and the channels of a chunk one tap away.
    steps: Vec<amx::Step>,
    /// Whether these are the first images of all, and the last.
    first: bool,
    last: bool,
}

/// Adds rows that are `stride` apart to sums, [`COLUMNS`] apart.
///
/// # Safety
/// Both have the rows and columns.
unsafe fn add(from: *const f32, stride: usize, (rows, columns): (usize, usize), sums: *mut f32) {
    for r in 0..rows {
        for c in 0..columns {
            // SAFETY: the caller's.
            unsafe { *sums.add(r * COLUMNS + c) += *from.add(r * stride + c) };
        }
    }
}

/// Copies sums, [`COLUMNS`] apart, to rows that are `stride` apart.
///
/// # Safety
/// Both have the rows and columns.
unsafe fn copy(sums: *const f32, (rows, columns): (usize, usize), to: *mut f32, stride: usize) {
    for r in 0..rows {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(sums.add(r * COLUMNS), to.add(r * stride), columns) };
    }
}
