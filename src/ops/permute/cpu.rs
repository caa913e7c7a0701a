use super::Walk;
use crate::backend::cpu::chunks;
use crate::error::Result;
use crate::tensor::{Element, Tensor, element};

/// Rows and columns of the squares that a transposition goes by: whole cache lines of either side.
const TILE: usize = 16;

pub fn permute(x: &Tensor, walk: &Walk, y: &mut Tensor) -> Result<()> {
    element!(x.dtype(), T => run::<T>(x, walk, y))
}

fn run<T: Element>(x: &Tensor, walk: &Walk, y: &mut Tensor) -> Result<()> {
    let Some((inner, outer)) = walk.axes.split_last() else { return Ok(()) };
    let (n, stride) = (inner.extent, inner.from);
    let start_of = |row: usize| outer.iter().map(|axis| row * n / axis.to % axis.extent * axis.from).sum::<usize>();
    let x = x.as_slice::<T>()?;
    chunks(y.as_mut_slice::<T>()?, n, |first, y| {
        if stride == 1 {
            for (row, y) in (first / n..).zip(y.chunks_exact_mut(n)) {
                y.copy_from_slice(&x[start_of(row)..][..n]);
            }
            return;
        }
        for (block, y) in y.chunks_mut(TILE * n).enumerate() {
            let mut starts = [0; TILE];
            let rows = y.len() / n;
            for (row, start) in starts[..rows].iter_mut().enumerate() {
                *start = start_of(first / n + block * TILE + row);
            }
            for column in (0..n).step_by(TILE) {
                let columns = column..n.min(column + TILE);
                for (y, start) in y.chunks_exact_mut(n).zip(starts) {
                    let from = &x[start..];
                    for (k, y) in columns.clone().zip(&mut y[columns.clone()]) {
                        *y = from[k * stride];
                    }
                }
            }
        }
    });
    Ok(())
}
