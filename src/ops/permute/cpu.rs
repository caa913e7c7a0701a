use super::Walk;
use crate::backend::cpu::chunks;
use crate::error::Result;
use crate::tensor::{Element, Tensor, element};

/// Entries along either side of the squares that a transposition goes by: whole cache lines.
const TILE: usize = 16;

pub fn permute(x: &Tensor, walk: &Walk, y: &mut Tensor) -> Result<()> {
    element!(x.dtype(), T => run::<T>(x, walk, y))
}

fn run<T: Element>(x: &Tensor, walk: &Walk, y: &mut Tensor) -> Result<()> {
    let [outer @ .., above, inner] = walk.axes.as_slice() else { return Ok(()) };
    let (n, stride) = (inner.extent, inner.from);
    let start_of = |row: usize| {
        let outer = outer.iter().map(|axis| row * n / axis.to % axis.extent * axis.from).sum::<usize>();
        outer + row % above.extent * above.from
    };
    // Short rows come many at a time, so that finding the first costs little.
    let block = (TILE * TILE / n).max(TILE);
    let x = x.as_slice::<T>()?;
    chunks(y.as_mut_slice::<T>()?, n, |first, y| {
        let (mut row, mut rest) = (first / n, y);
        while !rest.is_empty() {
            let rows = (above.extent - row % above.extent).min(rest.len() / n).min(block);
            let (y, after) = rest.split_at_mut(rows * n);
            let x = &x[start_of(row)..];
            match (stride, above.from) {
                (1, step) => rows_of(x, step, n, y),
                (_, 1) => transpose(x, stride, rows, n, y),
                (_, step) => {
                    for (r, y) in y.chunks_exact_mut(n).enumerate() {
                        y.iter_mut().enumerate().for_each(|(k, y)| *y = x[r * step + k * stride]);
                    }
                }
            }
            (row, rest) = (row + rows, after);
        }
    });
    Ok(())
}

/// Rows that are contiguous on both sides.
#[inline(always)]
fn rows_of<T: Element>(x: &[T], step: usize, n: usize, y: &mut [T]) {
    for (r, y) in y.chunks_exact_mut(n).enumerate() {
        y.copy_from_slice(&x[r * step..][..n]);
    }
}

/// `y` is rows of `n`; `x` has its columns, `stride` apart. By way of a tile, so that either side is touched a whole
/// cache line at a time: strides are often powers of two, and then lines that are kept for later push each other out of
/// the cache.
#[inline(always)]
fn transpose<T: Element>(x: &[T], stride: usize, rows: usize, n: usize, y: &mut [T]) {
    let mut tile = [[T::zeroed(); TILE]; TILE];
    for row in (0..rows).step_by(TILE) {
        let height = TILE.min(rows - row);
        for column in (0..n).step_by(TILE) {
            let width = TILE.min(n - column);
            for (k, line) in tile[..width].iter_mut().enumerate() {
                line[..height].copy_from_slice(&x[(column + k) * stride + row..][..height]);
            }
            for (r, y) in y[row * n..].chunks_exact_mut(n).take(height).enumerate() {
                for (y, line) in y[column..column + width].iter_mut().zip(&tile) {
                    *y = line[r];
                }
            }
        }
    }
}
