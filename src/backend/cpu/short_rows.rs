//! Rows that are too short to fill vector registers, several side by side. For use inside a [`Kernel`](super::Kernel).

use super::softmax::{RowSum, SHORT};
use crate::backend::dtype::{Accumulator, Real};

/// Rows that are worked on side by side.
pub const ROWS_AT_ONCE: usize = 32;

/// Up to [`ROWS_AT_ONCE`] rows of at most [`SHORT`] numbers, column after column.
pub type Columns<A> = [[A; ROWS_AT_ONCE]; SHORT];

/// The rows of `x`, `k` numbers each, as columns.
#[inline(always)]
pub fn columns<T: Real>(x: &[T], k: usize, to: &mut Columns<T::Acc>) {
    for (l, x) in x.chunks_exact(k).enumerate() {
        for (to, x) in to.iter_mut().zip(x) {
            to[l] = x.acc();
        }
    }
}

/// The columns as rows of `y`, `k` numbers each.
#[inline(always)]
pub fn rows<T: Real>(from: &Columns<T::Acc>, k: usize, y: &mut [T]) {
    for (l, y) in y.chunks_exact_mut(k).enumerate() {
        for (y, from) in y.iter_mut().zip(from) {
            *y = T::narrow(from[l]);
        }
    }
}

/// [`ROWS_AT_ONCE`] rows of `k` numbers.
#[derive(Clone)]
pub struct ShortRows<A> {
    columns: Columns<A>,
    k: usize,
}

impl<A: Accumulator> ShortRows<A> {
    /// Of the rows one after the other in `x`.
    #[inline(always)]
    pub fn of<T: Real<Acc = A>>(x: &[T], k: usize) -> Self {
        let mut rows = ShortRows { columns: [[A::zero(); ROWS_AT_ONCE]; SHORT], k };
        columns(&x[..ROWS_AT_ONCE * k], k, &mut rows.columns);
        rows
    }

    /// Writes the rows one after the other.
    #[inline(always)]
    pub fn write<T: Real<Acc = A>>(&self, to: &mut [T]) {
        rows(&self.columns, self.k, &mut to[..ROWS_AT_ONCE * self.k]);
    }

    /// Replaces each element `x` of row `r` by `f(r, x)`.
    #[inline(always)]
    pub fn map(&mut self, f: impl Fn(usize, A) -> A) {
        for column in &mut self.columns[..self.k] {
            for (r, x) in column.iter_mut().enumerate() {
                *x = f(r, *x);
            }
        }
    }

    /// Replaces each element `x` of row `r` by `f(r, x, other)`, with the other rows' element at its place.
    #[inline(always)]
    pub fn join(&mut self, others: &Self, f: impl Fn(usize, A, A) -> A) {
        for (column, others) in self.columns[..self.k].iter_mut().zip(&others.columns) {
            for (r, (x, &other)) in column.iter_mut().zip(others).enumerate() {
                *x = f(r, *x, other);
            }
        }
    }

    /// The sum of each row.
    #[inline(always)]
    pub fn sums(&self) -> [A; ROWS_AT_ONCE] {
        let mut sums = [A::zero(); ROWS_AT_ONCE];
        for column in &self.columns[..self.k] {
            for (sum, &x) in sums.iter_mut().zip(column) {
                *sum += x;
            }
        }
        sums
    }

    /// Replaces the elements by their exponentials relative to the row's largest: the denominators of the rows' softmax
    /// as [`RowSum::of`] has them, bit for bit.
    #[inline(always)]
    pub fn exponentials(&mut self) -> [RowSum<A>; ROWS_AT_ONCE] {
        let mut shifts = [A::neg_infinity(); ROWS_AT_ONCE];
        for column in &self.columns[..self.k] {
            for (shift, &x) in shifts.iter_mut().zip(column) {
                *shift = if x > *shift { x } else { *shift };
            }
        }
        for shift in &mut shifts {
            *shift = if *shift == A::neg_infinity() { A::zero() } else { *shift };
        }
        self.map(|r, x| (x - shifts[r]).vector_exp());
        let sums = self.sums();
        let mut totals = [RowSum { shift: A::zero(), sum: A::zero() }; ROWS_AT_ONCE];
        for (r, total) in totals.iter_mut().enumerate() {
            *total = RowSum { shift: shifts[r], sum: sums[r] };
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_side_by_side_have_the_sums_of_each() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for k in [1, 2, 10, SHORT] {
            let mut x: Vec<f32> = (0..ROWS_AT_ONCE * k).map(|i| (i * 37 % 101) as f32 / 7.0 - 3.0).collect();
            x[..k].fill(-inf);
            (x[k], x[2 * k], x[3 * k]) = (nan, inf, 1e30);
            let mut rows = ShortRows::of(&x, k);
            let totals = rows.exponentials();
            let mut exponentials = vec![0f32; x.len()];
            rows.write(&mut exponentials);
            for ((x, total), found) in x.chunks(k).zip(totals).zip(exponentials.chunks(k)) {
                let alone = RowSum::of(x);
                let bits =
                    |total: RowSum<f32>| [total.shift, total.sum].map(|it| if it.is_nan() { 0 } else { it.to_bits() });
                assert_eq!(bits(total), bits(alone), "{x:?}");
                let expected: Vec<f32> = x.iter().map(|x| (x - alone.shift).vector_exp()).collect();
                assert!(found.iter().zip(&expected).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{x:?}");
            }
        }
    }
}
