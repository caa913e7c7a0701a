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
    Var::record(OP, y, [a, b], move |dy, wanted| {
        let Sizes { batch, m, n, k } = sizes;
        let (dy, dy_t) = (Factor::new(dy, false), Factor::new(dy, true));
        let da = wanted[0].then(|| {
            // da = dy b^T, or where a is stored transposed, (da)^T = b dy^T.
            match left.transposed {
                false => product(OP, &dy, &right.flipped(), None, Sizes { batch, m, n: k, k: n }),
                true => product(OP, &right, &dy_t, None, Sizes { batch, m: k, n: m, k: n }),
            }?
            .reshape(left.tensor.shape())
        });
        let db = wanted[1].then(|| {
            // db = a^T dy, or where b is stored transposed, (db)^T = dy^T a.
            match right.transposed {
                false => product(OP, &left.flipped(), &dy, None, Sizes { batch, m: k, n, k: m }),
                true => product(OP, &dy_t, &left, None, Sizes { batch, m: n, n: k, k: m }),
            }?
            .reshape(right.tensor.shape())
        });
        Ok([da.transpose()?, db.transpose()?])
    })
}
