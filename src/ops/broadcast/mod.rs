//! Pairs of tensors and repeated tensors without a tape: what arithmetic, and the gradients of sums, are made of.

mod cpu;
mod gpu;
mod walk;

use super::{check_alike, check_float, on};
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
use walk::Walk;

/// What is done with a pair of elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pairwise {
    /// `alpha a + beta b`
    Combine { alpha: f64, beta: f64 },
    /// `a b`
    Mul,
    /// `a / b`
    Div,
}

/// `f(a, b)` with broadcasting, without a tape.
pub fn pairwise(op: &'static str, f: Pairwise, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    check_float(op, a)?;
    check_alike(op, &[a, b])?;
    let shape = a.shape().broadcast(b.shape(), op)?;
    let walk = Walk::new(op, &shape, &[a.shape(), b.shape()])?;
    let mut y = Tensor::empty(shape, a.dtype(), &a.device())?;
    if !y.is_empty() {
        on!(a.device(), pairwise(op, f, a, b, &walk, &mut y))?;
    }
    Ok(y)
}

/// `alpha x + beta`, repeated to `shape`, without a tape.
pub fn affine(op: &'static str, x: &Tensor, alpha: f64, beta: f64, shape: &Shape) -> Result<Tensor> {
    check_float(op, x)?;
    let walk = Walk::new(op, shape, &[x.shape()])?;
    let mut y = Tensor::empty(shape, x.dtype(), &x.device())?;
    if !y.is_empty() {
        on!(x.device(), affine(op, x, alpha, beta, &walk, &mut y))?;
    }
    Ok(y)
}

/// `sum + term`, in place where nobody else holds `sum`: how gradients accumulate. Errors if shapes, dtypes or devices
/// differ.
pub fn accumulate(mut sum: Tensor, term: &Tensor) -> Result<Tensor> {
    const OP: &str = "accumulate";
    check_alike(OP, &[&sum, term])?;
    if sum.shape() != term.shape() {
        return Err(Error::shape(OP, sum.shape().to_string(), term.shape()));
    }
    if !sum.is_empty() {
        on!(sum.device(), accumulate(OP, &mut sum, term))?;
    }
    Ok(sum)
}
