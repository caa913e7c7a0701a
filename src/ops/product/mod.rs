//! Products without a tape: what `matmul`, `linear` and `conv2d` are made of.
//!
//! [`product`] multiplies batches of matrices. A convolution has kernels of its own, which read patches of images in
//! place of a matrix; it is cut into tiles and parts as any product is ([`gpu::Tiling`]), and its parts are summed
//! alike.

mod cpu;
mod few;
pub mod gpu;
pub mod hopper;
pub mod operands;
#[cfg(all(test, any(feature = "cuda", feature = "emulator", feature = "ptx")))]
pub mod tests;

use super::on;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// A batch of matrices, or of their transposes.
#[derive(Clone)]
pub struct Factor {
    pub tensor: Tensor,
    pub transposed: bool,
}

impl Factor {
    pub fn new(tensor: &Tensor, transposed: bool) -> Self {
        Factor { tensor: tensor.clone(), transposed }
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
pub struct Sizes {
    pub batch: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Sizes {
    /// Those of `a b`. Errors of `op` unless both have two axes or more, equal leading axes and a common depth.
    pub fn of(op: &'static str, a: &Factor, b: &Factor) -> Result<Self> {
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

    /// The shape of the result, whose leading axes are those of `a`.
    pub fn shape(self, a: &Factor) -> Result<Shape> {
        let lead = a.axes().map_or(&[][..], |(lead, _, _)| lead);
        Ok([lead, &[self.m, self.n]].concat().into())
    }
}

/// The products `[batch, m, n]`, with a bias `[n]` added to each row if given, without a tape. The caller has checked
/// that factors and bias have these sizes, one device and one dtype.
pub fn product(op: &'static str, a: &Factor, b: &Factor, bias: Option<&Tensor>, sizes: Sizes) -> Result<Tensor> {
    let device = a.tensor.device();
    let mut y = Tensor::empty([sizes.batch, sizes.m, sizes.n], a.tensor.dtype(), &device)?;
    if !y.is_empty() {
        on!(device, product(op, a, b, bias, sizes, &mut y))?;
    }
    Ok(y)
}

/// Errors of `op` unless `bias` has one value for each of the `outputs` of the weight `w`.
pub fn check_bias(op: &'static str, bias: Option<&Tensor>, outputs: usize, w: &Shape) -> Result<()> {
    match bias {
        Some(bias) if bias.shape() as &[usize] != &[outputs][..] => {
            Err(Error::shape(op, format!("a bias [{outputs}] for a weight {w}"), bias.shape()))
        }
        _ => Ok(()),
    }
}
