//! From inner products, made again, to the loss's gradient by the logits.

use std::ops::Range;

use super::{Kind, Setting};
use crate::backend::cpu::{Kernel, sum_of_pairs};
use crate::tensor::{Accumulator, Real};

/// A run of a tile's rows: inner products become `scale dL/ds`.
pub struct Slopes<'a, A> {
    pub setting: &'a Setting<'a, A>,
    /// The first row.
    pub first: usize,
    pub columns: Range<usize>,
    /// The loss's gradient times its weight.
    pub factor: A,
    /// Of every row the logarithm of its sum of exponentials, of every column, and of every row the inverse of the
    /// number of its positives (0 if it has none): as far as the kind has them.
    pub lse: &'a [A],
    pub column_lse: &'a [A],
    pub shares: &'a [A],
    pub scores: &'a mut [A],
    /// The sum of dL/ds over the run, of each column.
    pub column_sums: &'a mut [A],
    /// The sum of dL/ds times the inner product.
    pub products: &'a mut f64,
}

impl<A: Real<Acc = A> + Accumulator> Kernel for Slopes<'_, A> {
    #[inline(always)]
    fn run(self) {
        let Slopes { setting, first, columns, factor, lse, column_lse, shares, scores, column_sums, products } = self;
        let (width, scale) = (columns.len(), setting.scale);
        let offset = &setting.offset[columns.clone()];
        // Slices of nothing where the kind has none.
        let of_columns = |all: &'_ [A]| if all.is_empty() { Vec::new() } else { all[columns.clone()].to_vec() };
        let (column_lse, column_shares) = (of_columns(column_lse), of_columns(shares));
        let mut slopes = vec![A::zero(); width];
        column_sums.fill(A::zero());
        *products = 0.0;
        for (i, row) in scores.chunks_mut(width).enumerate() {
            let own = (first + i).checked_sub(columns.start).filter(|&c| c < width);
            // Loops and no `for_each`, which would not take on the vector instructions of this function.
            for ((logit, &s), &offset) in slopes.iter_mut().zip(&*row).zip(offset) {
                *logit = s * scale + offset;
            }
            match setting.kind {
                Kind::Rows => {
                    let lse = lse[first + i];
                    for g in &mut slopes {
                        *g = (*g - lse).vector_exp() * factor;
                    }
                }
                Kind::Both => {
                    let lse = lse[first + i];
                    for (g, &other) in slopes.iter_mut().zip(&column_lse) {
                        *g = ((*g - lse).vector_exp() + (*g - other).vector_exp()) * factor;
                    }
                }
                Kind::Own => {
                    let (lse, share, label) = (lse[first + i], shares[first + i], setting.labels[first + i]);
                    let one = |share: A| if share > A::zero() { A::one() } else { A::zero() };
                    let anchor = one(share);
                    let others = column_lse.iter().zip(&column_shares).zip(&setting.labels[columns.clone()]);
                    for (g, ((&other, &other_share), &other_label)) in slopes.iter_mut().zip(others) {
                        let s = *g;
                        let positive = if other_label == label { share + other_share } else { A::zero() };
                        let sum = (s - lse).vector_exp() * anchor + (s - other).vector_exp() * one(other_share);
                        *g = (sum - positive) * factor;
                    }
                }
                Kind::Sigmoid => {
                    for g in &mut slopes {
                        *g = logistic(*g) * factor;
                    }
                }
            }
            if let Some(c) = own {
                match setting.kind {
                    Kind::Rows => slopes[c] -= factor,
                    Kind::Both => slopes[c] -= factor + factor,
                    Kind::Own => slopes[c] = A::zero(),
                    Kind::Sigmoid => slopes[c] = -logistic(-(row[c] * scale + offset[c])) * factor,
                }
            }
            *products += sum_of_pairs(row, &slopes, |dot, slope| dot * slope).widen();
            for ((s, sum), &slope) in row.iter_mut().zip(&mut *column_sums).zip(&slopes) {
                *sum += slope;
                *s = slope * scale;
            }
        }
    }
}

/// 1 / (1 + e^-s), which neither overflows nor cancels.
#[inline(always)]
fn logistic<A: Accumulator>(s: A) -> A {
    let e = (-s.abs()).vector_exp();
    let above = A::one() / (A::one() + e);
    if s < A::zero() { e * above } else { above }
}
