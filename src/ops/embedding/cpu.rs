use num_traits::{One, Zero};

use super::{OP, out_of_range};
use crate::backend::cpu::{chunks, weighted_chunks};
use crate::error::Result;
use crate::tensor::{Real, Tensor, real};

pub fn forward(table: &Tensor, index: &Tensor, [rows, width]: [usize; 2], y: &mut Tensor) -> Result<()> {
    real!(OP, table.dtype(), T => {
        let table = table.as_slice::<T>()?;
        let index = checked(OP, index, rows)?;
        chunks(y.as_mut_slice::<T>()?, width, |first, y| {
            for (y, &row) in y.chunks_exact_mut(width).zip(&index[first / width..]) {
                y.copy_from_slice(&table[row as usize * width..][..width]);
            }
        });
        Ok(())
    })
}

/// Sorts the positions by the row they use (stably, by counting); then each row sums its own.
pub fn backward(dy: &Tensor, index: &Tensor, [rows, width]: [usize; 2], gradient: &mut Tensor) -> Result<()> {
    real!(OP, dy.dtype(), T => {
        let dy = dy.as_slice::<T>()?;
        let index = checked(OP, index, rows)?;
        let mut ends = vec![0usize; rows + 1];
        index.iter().for_each(|&row| ends[row as usize + 1] += 1);
        for row in 0..rows {
            ends[row + 1] += ends[row];
        }
        // Filling a row's share moves its start to its end, which is where the next row's share starts.
        let mut uses = vec![0usize; index.len()];
        for (place, &row) in index.iter().enumerate() {
            let next = &mut ends[row as usize];
            uses[*next] = place;
            *next += 1;
        }
        let uses_of = |row: usize| &uses[if row == 0 { 0 } else { ends[row - 1] }..ends[row]];
        let work = width * (1 + index.len() / rows);
        weighted_chunks(gradient.as_mut_slice::<T>()?, width, work, |first, gradient| {
            let mut sum = vec![<T as Real>::Acc::zero(); width];
            for (row, gradient) in (first / width..).zip(gradient.chunks_exact_mut(width)) {
                sum.fill(<T as Real>::Acc::zero());
                for &place in uses_of(row) {
                    for (sum, &dy) in sum.iter_mut().zip(&dy[place * width..][..width]) {
                        *sum += dy.acc();
                    }
                }
                for (gradient, &sum) in gradient.iter_mut().zip(&sum) {
                    *gradient = T::narrow(sum);
                }
            }
        });
        Ok(())
    })
}

pub fn one_hot(op: &'static str, index: &Tensor, k: usize, y: &mut Tensor) -> Result<()> {
    real!(op, y.dtype(), T => {
        let index = checked(op, index, k)?;
        chunks(y.as_mut_slice::<T>()?, k, |first, y| {
            y.fill(T::narrow(Zero::zero()));
            for (y, &hot) in y.chunks_exact_mut(k).zip(&index[first / k..]) {
                y[hot as usize] = T::narrow(One::one());
            }
        });
        Ok(())
    })
}

/// The indices, all of them below `rows`.
fn checked<'a>(op: &'static str, index: &'a Tensor, rows: usize) -> Result<&'a [u32]> {
    let index = index.as_slice::<u32>()?;
    match index.iter().position(|&row| row as usize >= rows) {
        Some(place) => Err(out_of_range(op, place, index[place], rows)),
        None => Ok(index),
    }
}
