//! From inner products to sums of exponentials.

use std::ops::Range;

use super::{Kind, Setting};
use crate::backend::cpu::{Kernel, RowSum};
use crate::tensor::{Accumulator, Real};

/// Independent partial results of a row.
const LANES: usize = 16;

/// What is known so far of each row, or column.
pub struct Stats<A> {
    /// The largest logit.
    largest: Vec<A>,
    /// The sum of exponentials relative to it; of a sigmoid's logits, that of the losses.
    sum: Vec<A>,
    /// The sum of the positives' logits.
    positive: Vec<A>,
}

impl<A: Accumulator> Stats<A> {
    pub fn new(len: usize) -> Self {
        let zeros = || vec![A::zero(); len];
        Stats { largest: zeros(), sum: zeros(), positive: zeros() }
    }

    pub fn len(&self) -> usize {
        self.sum.len()
    }

    /// Those of some rows.
    pub fn parts(&mut self, rows: &Range<usize>) -> (&mut [A], &mut [A], &mut [A]) {
        (&mut self.largest[rows.clone()], &mut self.sum[rows.clone()], &mut self.positive[rows.clone()])
    }

    /// Adds what a run of rows says of some columns: their largest logits, sums and positives.
    pub fn merge(&mut self, columns: &Range<usize>, part: &[A]) {
        let width = columns.len();
        let (largest, sum, positive) = self.parts(columns);
        for (j, ((largest, sum), positive)) in largest.iter_mut().zip(sum).zip(positive).enumerate() {
            merge(largest, sum, RowSum { shift: part[j], sum: part[width + j] });
            *positive += part[2 * width + j];
        }
    }

    /// The logarithms of the sums of exponentials.
    pub fn lse(&self) -> Vec<A> {
        self.largest.iter().zip(&self.sum).map(|(&largest, sum)| largest + sum.ln()).collect()
    }

    /// The sum over rows of the logarithm of the sum of exponentials less the mean of the positives: of those with any,
    /// by `counts`, or where there are no counts, with one each.
    pub fn losses(&self, counts: &[usize]) -> f64 {
        let rows = self.largest.iter().zip(&self.sum).zip(&self.positive).enumerate();
        rows.filter(|(i, _)| counts.get(*i) != Some(&0))
            .map(|(i, ((largest, sum), positive))| {
                let count = counts.get(i).copied().unwrap_or(1);
                sum.widen().ln() - (positive.widen() / count as f64 - largest.widen())
            })
            .sum()
    }

    /// The sum of the sums.
    pub fn total(&self) -> f64 {
        self.sum.iter().map(|sum| sum.widen()).sum()
    }
}

/// Adds to a sum of exponentials relative to the largest logit, which may change with it.
#[inline(always)]
fn merge<A: Accumulator>(largest: &mut A, sum: &mut A, more: RowSum<A>) {
    if more.sum.is_zero() {
        return;
    }
    if sum.is_zero() {
        (*largest, *sum) = (more.shift, more.sum);
        return;
    }
    let shift = if more.shift > *largest { more.shift } else { *largest };
    *sum = *sum * (*largest - shift).vector_exp() + more.sum * (more.shift - shift).vector_exp();
    *largest = shift;
}

/// A run of a tile's rows: inner products become logits, and are summed.
pub struct Sums<'a, A> {
    pub setting: &'a Setting<'a, A>,
    /// The first row.
    pub first: usize,
    pub columns: Range<usize>,
    pub scores: &'a mut [A],
    pub largest: &'a mut [A],
    pub sum: &'a mut [A],
    pub positive: &'a mut [A],
    /// The same three of each column, if they are wanted, of this run alone.
    pub by_column: Option<&'a mut [A]>,
}

impl<A: Real<Acc = A> + Accumulator> Kernel for Sums<'_, A> {
    #[inline(always)]
    fn run(self) {
        let Sums { setting, first, columns, scores, largest, sum, positive, by_column } = self;
        let (width, scale) = (columns.len(), setting.scale);
        let offset = &setting.offset[columns.clone()];
        for (i, row) in scores.chunks_mut(width).enumerate() {
            for (s, &offset) in row.iter_mut().zip(offset) {
                *s = *s * scale + offset;
            }
            // Where the row meets itself, or its one positive.
            let own = (first + i).checked_sub(columns.start).filter(|&c| c < width);
            match (setting.kind, own) {
                (Kind::Sigmoid, _) => {
                    if let Some(c) = own {
                        row[c] = -row[c];
                    }
                    sum[i] += A::of(sum_of_softplus(row));
                    continue;
                }
                (Kind::Own, own) => {
                    if let Some(c) = own {
                        row[c] = A::zero();
                    }
                    positive[i] += sum_of_label(row, &setting.labels[columns.clone()], setting.labels[first + i]);
                    if let Some(c) = own {
                        row[c] = A::neg_infinity();
                    }
                }
                (_, Some(c)) => positive[i] = row[c],
                (_, None) => {}
            }
            merge(&mut largest[i], &mut sum[i], RowSum::of(row));
        }
        let Some(by_column) = by_column else { return };
        let (largest, rest) = by_column.split_at_mut(width);
        let (sum, positive) = rest.split_at_mut(width);
        largest.fill(A::neg_infinity());
        sum.fill(A::zero());
        positive.fill(A::zero());
        for row in scores.chunks(width) {
            for (largest, &s) in largest.iter_mut().zip(row) {
                *largest = if s > *largest { s } else { *largest };
            }
        }
        for largest in &mut *largest {
            *largest = if *largest == A::neg_infinity() { A::zero() } else { *largest };
        }
        for (i, row) in scores.chunks(width).enumerate() {
            for ((sum, &largest), &s) in sum.iter_mut().zip(&*largest).zip(row) {
                *sum += (s - largest).vector_exp();
            }
            match setting.kind {
                Kind::Own => {
                    let label = setting.labels[first + i];
                    let labels = &setting.labels[columns.clone()];
                    for ((positive, &s), &other) in positive.iter_mut().zip(row).zip(labels) {
                        *positive += if other == label { s } else { A::zero() };
                    }
                }
                _ => {
                    if let Some(c) = (first + i).checked_sub(columns.start).filter(|&c| c < width) {
                        positive[c] = row[c];
                    }
                }
            }
        }
    }
}

/// The sum of the elements with this label, in a fixed order.
#[inline(always)]
fn sum_of_label<A: Accumulator>(row: &[A], labels: &[u32], label: u32) -> A {
    let mut lanes = [A::zero(); LANES];
    let ((rows, row_rest), (others, other_rest)) = (row.as_chunks::<LANES>(), labels.as_chunks::<LANES>());
    for (row, others) in rows.iter().zip(others) {
        for ((lane, &s), &other) in lanes.iter_mut().zip(row).zip(others) {
            *lane += if other == label { s } else { A::zero() };
        }
    }
    for ((lane, &s), &other) in lanes.iter_mut().zip(row_rest).zip(other_rest) {
        *lane += if other == label { s } else { A::zero() };
    }
    lanes.into_iter().sum()
}

/// The sum of log(1 + e^s). The logarithms of a lane are taken at once, of the product of all 1 + e^-|s|: in f64 that
/// rounds nothing away that counts, and a tile's row keeps it below 2^64; where all are so small that it would, they
/// are their own logarithms.
#[inline(always)]
fn sum_of_softplus<A: Accumulator>(row: &[A]) -> f64 {
    const SMALL: f64 = 1e-8;
    let (mut products, mut small, mut linear) = ([1.0; LANES], [0.0; LANES], [0.0; LANES]);
    for row in row.chunks(LANES) {
        for (((&s, product), small), linear) in row.iter().zip(&mut products).zip(&mut small).zip(&mut linear) {
            let e = (-s.abs()).vector_exp().widen();
            *product *= 1.0 + e;
            *small += e;
            *linear += if s > A::zero() { s.widen() } else { 0.0 };
        }
    }
    let log = |(product, small): (f64, f64)| if small < SMALL { small } else { product.ln() };
    linear.into_iter().sum::<f64>() + products.into_iter().zip(small).map(log).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_softplus_are_exact_from_end_to_end() {
        for shift in [-200.0, -40.0, -18.0, -3.0, 0.0, 5.0, 90.0] {
            let row: Vec<f64> = (0..1000).map(|i| shift + f64::from(i % 37) / 10.0).collect();
            let expected: f64 = row.iter().map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()).sum();
            approx::assert_relative_eq!(sum_of_softplus(&row), expected, max_relative = 2e-8);
        }
        assert!(sum_of_softplus(&[0.0, f64::NAN]).is_nan());
    }

    #[test]
    fn merged_sums_are_those_of_the_whole() {
        let parts: [&[f64]; 4] = [&[1.0, -3.0], &[f64::NEG_INFINITY], &[700.0, 699.0], &[-900.0]];
        let (mut largest, mut sum) = (0.0, 0.0);
        parts.iter().for_each(|part| merge(&mut largest, &mut sum, RowSum::of(part)));
        approx::assert_relative_eq!(largest + sum.ln(), 700.0 + (1.0 + (-1f64).exp()).ln(), max_relative = 1e-14);
        merge(&mut largest, &mut sum, RowSum::of(&[f64::NAN]));
        assert!(sum.is_nan());
    }
}
