//! Products of matrices, and their gradients; `product` computes both.

use super::product::{Factor, Sizes, product};
use super::{check_alike, check_float};
use crate::autograd::Var;
use crate::error::Result;

/// `y[i] = a[i] b[i]` for `a` `[.., m, k]` and `b` `[.., k, n]` with equal leading axes; `y` is `[.., m, n]`.
///
/// Sums are in f32 (f64 for f64), and rounded once for bf16. Errors unless both have two axes or more, equal leading
/// axes, a common `k`, and the same floating-point dtype and device.
pub fn matmul(a: impl Into<Var>, b: impl Into<Var>) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    matmul_transposed(a, false, b, false)
}

/// As [`matmul`], for an `a` that is stored as `[.., k, m]` if `a_transposed`, and a `b` that is stored as `[.., n, k]`
/// if `b_transposed`.
pub fn matmul_transposed(a: impl Into<Var>, a_transposed: bool, b: impl Into<Var>, b_transposed: bool) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    const OP: &str = "matmul";
    let (left, right) = (Factor::new(a.value(), a_transposed), Factor::new(b.value(), b_transposed));
    check_alike(OP, &[&left.tensor, &right.tensor])?;
    check_float(OP, &left.tensor)?;
    let sizes = Sizes::of(OP, &left, &right)?;
    let y = product(OP, &left, &right, None, sizes)?.reshape(sizes.shape(&left)?)?;
    let (left, right) = (left.tensor, right.tensor);
    Var::record_higher(OP, y, [a, b], move |dy, at| {
        let (a, b) = (at.input(0, &left), at.input(1, &right));
        let da = at.wanted(0, || match a_transposed {
            // da = dy b^T, or where a is stored transposed, (da)^T = b dy^T.
            false => matmul_transposed(dy, false, &b, !b_transposed),
            true => matmul_transposed(&b, b_transposed, dy, true),
        })?;
        let db = at.wanted(1, || match b_transposed {
            // db = a^T dy, or where b is stored transposed, (db)^T = dy^T a.
            false => matmul_transposed(&a, !a_transposed, dy, false),
            true => matmul_transposed(dy, true, &a, a_transposed),
        })?;
        Ok([da, db])
    })
}
