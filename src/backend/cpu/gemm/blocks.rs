//! How a product is cut into tasks.
//!
//! The smaller factor is packed once and shared; tasks own blocks of the result and pack their part of the other
//! factor, one depth block at a time. If the result is too small to give many tasks but the depth is large (a weight's
//! gradient), tasks own parts of the depth instead, and their sums are added in the order of the parts. Cuts in depth
//! depend on the shapes alone; the other cuts may depend on the number of threads, since they do not change how an
//! element is summed.

use std::ops::Range;

use rayon::prelude::*;

use super::Product;
use super::kernel::{Base, DEPTH, Kernel};
use super::pack::{by, store};
use super::region::{Region, Shared, Side, block_lines};
use super::rows::{Stored, Sum};
use super::scratch::Scratch;
use crate::backend::cpu::OnTeam;
use crate::backend::cpu::parallel::tasks_per_share;
use crate::error::{Error, Result};
use crate::stop;

/// Multiply-adds below which a product is not worth waking another thread for (docs/performance.md has what was
/// measured).
const SHARED_OUT: usize = 1 << 18;
/// Multiply-adds from which on a product is not left to one thread.
const LONG: usize = 1 << 26;
/// Multiply-adds below which the depth is left whole whatever the result's size.
const LARGE: usize = 1 << 20;
/// Elements of a shared packed factor (16 MB), and its lines; what is beyond is packed in turns.
const SHARED: usize = 1 << 22;
const SHARED_LINES: usize = 2048;
/// Least depth of a part when the depth is shared out.
const PART: usize = 4 * DEPTH;
/// Tasks that a product should give before its depth is left whole, blocks of `128 * 128` counted as one.
const TASKS: usize = 16;

fn multiply_adds((m, n, k): (usize, usize, usize)) -> usize {
    m.saturating_mul(n).saturating_mul(k)
}

/// Whether a product is worth several threads.
pub(super) fn is_large(size: (usize, usize, usize)) -> bool {
    multiply_adds(size) >= SHARED_OUT
}

/// Whether each of `count` products is to be shared out over the threads, instead of handing out whole ones: where
/// those would not come out even, or take a thread's time for long.
pub(super) fn are_shared_out_each(count: usize, size: (usize, usize, usize)) -> bool {
    count == 1 || is_large(size) && (count < 4 * rayon::current_num_threads() || multiply_adds(size) >= LONG)
}

/// How many products of a small size make a task.
pub(super) fn products_per_task(size: (usize, usize, usize)) -> usize {
    (SHARED_OUT / 2 / multiply_adds(size).max(1)).max(1)
}

/// Computes the product, on all of rayon's threads or on this one. Errors if there is no memory for panels, and once
/// the calling thread is to [stop]; the result is then unfinished.
pub(super) fn compute<T: Stored>(p: &Product<T::Sum>, result: &mut [T], stride: usize, parallel: bool) -> Result<()> {
    T::Sum::with_kernel(p, |p, kernel| compute_by(p, kernel, result, stride, parallel))
}

fn compute_by<T: Stored>(
    p: &Product<T::Sum>,
    kernel: &'static Kernel<T::Sum>,
    result: &mut [T],
    stride: usize,
    parallel: bool,
) -> Result<()> {
    let (m, n, k) = p.size();
    if m == 0 || n == 0 {
        return Ok(());
    }
    assert!(m == 1 || stride >= n, "rows of {n} elements, {stride} apart");
    assert!(result.len() > (m - 1) * stride + n - 1, "a {m}x{n} result in {} elements", result.len());
    let parts = depth_parts(m, n, k);
    if parts > 1 || k == 0 {
        return sum_of_parts(p, kernel, result, stride, parts, parallel);
    }
    let threads = if parallel { rayon::current_num_threads() } else { 1 };
    let sums = T::as_sums(result).map(|sums| sums.as_mut_ptr());
    let result = Destination { start: result.as_mut_ptr(), sums, stride };

    // Tasks pack lines of the longer factor (`long`); the other one is shared, in turns if it is very large.
    let (shared, factor, shared_side, long_side) = if m >= n {
        (n, &p.right, (Side::Right, kernel.columns), (m, kernel.rows))
    } else {
        (m, &p.left, (Side::Left, kernel.rows), (n, kernel.columns))
    };
    let (side, width) = shared_side;
    let lines_at_once = (SHARED / k).clamp(4 * width, SHARED_LINES) / width * width;
    for lines in by(lines_at_once, 0..shared) {
        let packed = Shared::pack(kernel, factor, side, lines.clone(), k, parallel)?;
        let room = kernel.panel_depth(kernel.block_depth(k));
        let (long_cuts, cuts) = task_cuts(long_side, (lines.len(), width), block_lines(long_side.1, room), threads);
        let tasks: Vec<_> = evenly(long_cuts, long_side.1, 0..long_side.0)
            .flat_map(|long| evenly(cuts, width, lines.clone()).map(move |lines| (long.clone(), lines)))
            .collect();
        each(parallel, &tasks, |(long, lines)| {
            let (rows, columns) = if side == Side::Right { (long, lines) } else { (lines, long) };
            let region = Region {
                product: p,
                kernel,
                rows: rows.clone(),
                columns: columns.clone(),
                depth: 0..k,
                left: (side == Side::Left).then_some(&packed),
                right: (side == Side::Right).then_some(&packed),
            };
            // SAFETY: the tasks' regions are disjoint and lie inside the result, as asserted above.
            unsafe { result.write(&region) }
        })?;
    }
    Ok(())
}

/// Into how many parts the depth is cut for tasks: depends on the shape alone, and so do the bits of the result.
fn depth_parts(m: usize, n: usize, k: usize) -> usize {
    let blocks = m.div_ceil(128).saturating_mul(n.div_ceil(128));
    if blocks >= TASKS || multiply_adds((m, n, k)) < LARGE { 1 } else { (TASKS / blocks).min(k / PART).max(1) }
}

/// Into how many tasks the longer factor and the other one are cut: some three per thread, as many for each, if need be
/// by cutting the other direction too, and none of more than `block` lines. Each direction is given as lines and lines
/// of a panel.
fn task_cuts(long: (usize, usize), other: (usize, usize), block: usize, threads: usize) -> (usize, usize) {
    let (long_panels, other_panels) = (long.0.div_ceil(long.1), other.0.div_ceil(other.1));
    let least = long_panels.div_ceil(block / long.1);
    if threads == 1 {
        return (least, 1);
    }
    let long_cuts = least.next_multiple_of(threads).max(3 * threads).min(long_panels.div_ceil(2));
    let cuts = 2 * threads / long_cuts;
    (long_cuts, cuts.clamp(1, other_panels.div_ceil(2)))
}

/// `lines` in at most `cuts` pieces of whole panels of `width` lines (the last panel may be shorter), as even as that
/// goes.
fn evenly(cuts: usize, width: usize, lines: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let panels = lines.len().div_ceil(width);
    let cuts = cuts.clamp(1, panels.max(1));
    let at = move |cut: usize| (lines.start + panels * cut / cuts * width).min(lines.end);
    (0..cuts).map(move |cut| at(cut)..at(cut + 1))
}

/// Does the work of every item. On several threads the items that are left are passed over once the calling thread is
/// to stop.
fn each<I: Sync>(parallel: bool, items: &[I], work: impl Fn(&I) -> Result<()> + Sync + Send) -> Result<()> {
    if parallel && items.len() > 1 {
        let stopped = stop::watch();
        items
            .par_iter()
            .with_max_len(1)
            .try_each_on_team(|item| if stopped() { Err(Error::Stopped) } else { work(item) })
    } else {
        items.iter().try_for_each(work)
    }
}

/// The result. Tasks write disjoint parts of it.
struct Destination<T: Stored> {
    start: *mut T,
    /// The same address, if the result is stored as sums.
    sums: Option<*mut T::Sum>,
    stride: usize,
}

// SAFETY: whoever writes through it must keep to a part of their own (see `write`).
unsafe impl<T: Stored> Sync for Destination<T> {}

impl<T: Stored> Destination<T> {
    /// Computes the region in its whole depth, with the product's scale, bias and accumulation.
    ///
    /// # Safety
    /// The region lies inside the result, and nobody else uses it meanwhile.
    unsafe fn write(&self, region: &Region<T::Sum>) -> Result<()> {
        let p = region.product;
        let (rows, columns) = (&region.rows, &region.columns);
        let bias = p.bias.map_or(Base::Zero, |bias| Base::Columns(bias[columns.clone()].as_ptr()));
        let corner = rows.start * self.stride + columns.start;
        let bias_apart = p.accumulate && p.bias.is_some();
        match self.sums {
            Some(sums) if !bias_apart => {
                let base = if p.accumulate { Base::Result } else { bias };
                // SAFETY: the caller's.
                unsafe { region.multiply(sums.add(corner), self.stride, p.alpha, base) }
            }
            _ => {
                let mut scratch = Scratch::of::<T::Sum>(rows.len() * columns.len())?;
                let sums = &mut scratch.as_mut()[..rows.len() * columns.len()];
                // SAFETY: the scratch has room for the region.
                unsafe { region.multiply(sums.as_mut_ptr(), columns.len(), p.alpha, bias) }?;
                for (r, sums) in sums.chunks_exact(columns.len()).enumerate() {
                    // SAFETY: row `r` of the region, which is the caller's.
                    let to = unsafe {
                        std::slice::from_raw_parts_mut(self.start.add(corner + r * self.stride), columns.len())
                    };
                    store(p.isa, sums, to, p.accumulate);
                }
                Ok(())
            }
        }
    }
}

/// Computes parts of the depth apart, then adds them up in order.
fn sum_of_parts<T: Stored>(
    p: &Product<T::Sum>,
    kernel: &'static Kernel<T::Sum>,
    result: &mut [T],
    stride: usize,
    parts: usize,
    parallel: bool,
) -> Result<()> {
    let (m, n, k) = p.size();
    let mut scratch = Scratch::of::<T::Sum>(parts.saturating_mul(m * n))?;
    let partial = &mut scratch.as_mut::<T::Sum>()[..parts * m * n];
    if k == 0 {
        partial.fill(T::Sum::ZERO);
    } else {
        let threads = if parallel { rayon::current_num_threads() } else { 1 };
        let cuts = if threads == 1 { 1 } else { (3 * threads).div_ceil(parts) };
        let cuts = cuts.min(n.div_ceil(2 * kernel.columns));
        let columns = |part| evenly(cuts, kernel.columns, 0..n).map(move |columns| (part, columns));
        let tasks: Vec<_> = (0..parts).flat_map(columns).collect();
        let partial = Destination::<T::Sum> { start: partial.as_mut_ptr(), sums: None, stride: n };
        each(parallel, &tasks, |(part, columns)| {
            let partial = &partial;
            let depth = k * part / parts..k * (part + 1) / parts;
            let region =
                Region { product: p, kernel, rows: 0..m, columns: columns.clone(), depth, left: None, right: None };
            // SAFETY: each task has its own part and its own columns.
            unsafe { region.multiply(partial.start.add(part * m * n + columns.start), n, T::Sum::ONE, Base::Zero) }
        })?;
    }

    let partial = &*partial;
    let finish = |(r, to): (usize, &mut [T])| -> Result<()> {
        let mut row = Scratch::of::<T::Sum>(n)?;
        let row = &mut row.as_mut()[..n];
        row.copy_from_slice(&partial[r * n..(r + 1) * n]);
        for part in 1..parts {
            for (sum, &more) in row.iter_mut().zip(&partial[(part * m + r) * n..]) {
                *sum += more;
            }
        }
        for (c, sum) in row.iter_mut().enumerate() {
            *sum = p.alpha * *sum + p.bias.map_or(T::Sum::ZERO, |bias| bias[c]);
        }
        store(p.isa, row, &mut to[..n], p.accumulate);
        Ok(())
    };
    let rows = &mut result[..(m - 1) * stride + n];
    let stride = stride.max(n);
    if parallel {
        rows.par_chunks_mut(stride).with_min_len(tasks_per_share(parts * n)).enumerate().try_each_on_team(finish)
    } else {
        rows.chunks_mut(stride).enumerate().try_for_each(finish)
    }
}
