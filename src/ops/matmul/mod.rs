//! Products of matrices.

mod cpu;
pub(crate) mod gpu;
#[cfg(all(test, any(feature = "cuda", feature = "emulator")))]
pub(super) mod tests;

use super::{check_alike, check_float, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

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

/// A batch of matrices, or of their transposes.
#[derive(Clone)]
pub(crate) struct Factor {
    pub tensor: Tensor,
    pub transposed: bool,
}

impl Factor {
    pub fn new(tensor: &Tensor, transposed: bool) -> Self {
        Factor { tensor: tensor.clone(), transposed }
    }

    /// The transpose of this factor.
    pub fn flipped(&self) -> Self {
        Factor::new(&self.tensor, !self.transposed)
    }

    /// Leading axes, rows and columns.
    fn axes(&self) -> Option<(&[usize], usize, usize)> {
        match self.tensor.shape() as &[usize] {
            [lead @ .., rows, columns] if self.transposed => Some((lead, *columns, *rows)),
            [lead @ .., rows, columns] => Some((lead, *rows, *columns)),
            _ => None,
        }
    }
}

/// `batch` products of `m` × `k` with `k` × `n` matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Sizes {
    fn of(op: &'static str, a: &Factor, b: &Factor) -> Result<Self> {
        match (a.axes(), b.axes()) {
            (Some((lead, m, k)), Some((lead_b, k_b, n))) if lead == lead_b && k == k_b => {
                Ok(Sizes { batch: lead.iter().product(), m, n, k })
            }
            _ => {
                let expected = match (a.transposed, b.transposed) {
                    (false, false) => "[.., m, k] and [.., k, n]",
                    (false, true) => "[.., m, k] and [.., n, k]",
                    (true, false) => "[.., k, m] and [.., k, n]",
                    (true, true) => "[.., k, m] and [.., n, k]",
                };
                Err(Error::shape(op, expected, format!("{} and {}", a.tensor.shape(), b.tensor.shape())))
            }
        }
    }

    fn shape(self, a: &Factor) -> Result<Shape> {
        let lead = a.axes().map_or(&[][..], |(lead, _, _)| lead);
        Ok([lead, &[self.m, self.n]].concat().into())
    }
}

/// The products `[batch, m, n]`, with a bias `[n]` added to each row if given, without a tape. The caller has checked
/// that factors and bias have these sizes, one device and one dtype.
pub(crate) fn product(op: &'static str, a: &Factor, b: &Factor, bias: Option<&Tensor>, sizes: Sizes) -> Result<Tensor> {
    let device = a.tensor.device();
    let mut y = Tensor::empty([sizes.batch, sizes.m, sizes.n], a.tensor.dtype(), &device)?;
    if !y.is_empty() {
        on!(device, product(op, a, b, bias, sizes, &mut y))?;
    }
    Ok(y)
}
