//! The sum behind softmax, cross-entropy and attention.

use num_traits::Zero;

use crate::backend::dtype::{Accumulator, Real};

/// The longest row that is short.
pub const SHORT: usize = 32;
/// Independent partial results of a row: what fills vector registers.
const LANES: usize = 32;

/// The denominator of a row's softmax, `sum` times e^`shift`.
#[derive(Debug, Clone, Copy)]
pub struct RowSum<A> {
    /// The largest element; 0 if all are -inf.
    pub shift: A,
    /// The sum of exp(x - shift); 0 if all are -inf, NaN if one is NaN.
    pub sum: A,
}

impl<A: Accumulator> RowSum<A> {
    /// The largest element of `row` and the sum of exponentials relative to it. For use inside a
    /// [`Kernel`](super::Kernel).
    #[inline(always)]
    pub fn of<T: Real<Acc = A>>(row: &[T]) -> Self {
        // `>` leaves a NaN out here; it comes back with the sum.
        let larger = |max: A, x: A| if x > max { x } else { max };
        let largest = fold(row, A::neg_infinity(), larger, larger);
        let shift = if largest == A::neg_infinity() { A::zero() } else { largest };
        let sum = fold(row, A::zero(), |sum, x| sum + (x - shift).vector_exp(), |a, b| a + b);
        RowSum { shift, sum }
    }

    /// The sum's logarithm; 0 where there is nothing but -inf.
    #[inline(always)]
    pub fn log_sum(&self) -> A {
        if self.sum == A::zero() { A::zero() } else { self.sum.ln() }
    }

    /// What exp(x - shift) is multiplied with to give a probability; 0 where there is nothing but -inf.
    #[inline(always)]
    pub fn scale(&self) -> A {
        if self.sum == A::zero() { A::zero() } else { A::one() / self.sum }
    }
}

/// `add` runs over each lane's elements, then `join` over the lanes in order.
#[inline(always)]
fn fold<T: Real>(
    row: &[T],
    start: T::Acc,
    add: impl Fn(T::Acc, T::Acc) -> T::Acc,
    join: impl Fn(T::Acc, T::Acc) -> T::Acc,
) -> T::Acc {
    let mut lanes = [start; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = add(*lane, x.acc());
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = add(*lane, x.acc());
    }
    lanes.into_iter().fold(start, join)
}

/// The sum of `f(a_i, b_i)`, in vector code and a fixed order; of a short row, one after the other, which takes less
/// time than adding up partial results. For use inside a [`Kernel`](super::Kernel).
#[inline(always)]
pub fn sum_of_pairs<T: Real>(a: &[T], b: &[T], f: impl Fn(T::Acc, T::Acc) -> T::Acc) -> T::Acc {
    /// Far more than vector registers need, and joined by halves: of fewer, or joined one after the other, the compiler
    /// keeps each in a register of its own and makes no vector code at all.
    const MANY: usize = 128;
    if a.len() <= SHORT {
        return a.iter().zip(b).fold(T::Acc::zero(), |sum, (a, b)| sum + f(a.acc(), b.acc()));
    }
    let mut lanes = [T::Acc::zero(); MANY];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<MANY>(), b.as_chunks::<MANY>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a.acc(), b.acc());
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += f(a.acc(), b.acc());
    }
    let mut half = MANY / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::RowSum;

    #[test]
    fn edges() {
        let inf = f32::INFINITY;
        let of = |row: &[f32]| RowSum::of(row);
        assert_eq!((of(&[-inf, -inf]).shift, of(&[-inf, -inf]).sum), (0.0, 0.0));
        assert_eq!((of(&[]).scale(), of(&[]).log_sum()), (0.0, 0.0));
        assert_eq!((of(&[1e30, -inf, 1e30]).shift, of(&[1e30, -inf, 1e30]).sum), (1e30, 2.0));
        assert!(of(&[-inf, f32::NAN]).sum.is_nan());
        assert!(of(&[inf, 0.0]).sum.is_nan());
    }
}
