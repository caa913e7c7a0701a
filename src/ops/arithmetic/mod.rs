//! Arithmetic with NumPy's broadcasting: shapes are aligned at the last axis, and extents of 1 are repeated.

use super::broadcast::{Pairwise, affine, pairwise};
use super::reduce::sum_to_shape;
use crate::autograd::Var;
use crate::error::Result;
use crate::tensor::{Shape, Tensor};

/// `a + b`, with broadcasting. Errors if the shapes do not broadcast or dtypes or devices differ.
pub fn add(a: impl Into<Var>, b: impl Into<Var>) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    combine("add", a, 1.0, b, 1.0)
}

/// `a - b`, with broadcasting. Errors if the shapes do not broadcast or dtypes or devices differ.
pub fn sub(a: impl Into<Var>, b: impl Into<Var>) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    combine("sub", a, 1.0, b, -1.0)
}

/// `alpha a + beta b`, with broadcasting, in one pass: residual connections, interpolation, axpy.
/// Errors if the shapes do not broadcast or dtypes or devices differ.
pub fn add_scaled(a: impl Into<Var>, alpha: f64, b: impl Into<Var>, beta: f64) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    combine("add_scaled", a, alpha, b, beta)
}

fn combine(op: &'static str, a: &Var, alpha: f64, b: &Var, beta: f64) -> Result<Var> {
    let y = pairwise(op, Pairwise::Combine { alpha, beta }, a.value(), b.value())?;
    let shapes = [a.shape().clone(), b.shape().clone()];
    Var::record(op, y, [a, b], move |dy, wanted| {
        let gradient = |i: usize, factor: f64| -> Result<Option<Tensor>> {
            if !wanted[i] {
                return Ok(None);
            }
            let sum = sum_to_shape(op, dy, &shapes[i])?;
            Ok(Some(if factor == 1.0 { sum } else { affine(op, &sum, factor, 0.0, &shapes[i])? }))
        };
        Ok([gradient(0, alpha)?, gradient(1, beta)?])
    })
}

/// `a b`, element by element with broadcasting. Errors if the shapes do not broadcast or dtypes or devices differ.
pub fn mul(a: impl Into<Var>, b: impl Into<Var>) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    const OP: &str = "mul";
    let (x, y) = (a.value().clone(), b.value().clone());
    let product = pairwise(OP, Pairwise::Mul, &x, &y)?;
    Var::record(OP, product, [a, b], move |dy, wanted| {
        let gradient = |wanted: bool, of: &Tensor, other: &Tensor| -> Result<Option<Tensor>> {
            if !wanted {
                return Ok(None);
            }
            sum_to_shape(OP, &pairwise(OP, Pairwise::Mul, dy, other)?, of.shape()).map(Some)
        };
        Ok([gradient(wanted[0], &x, &y)?, gradient(wanted[1], &y, &x)?])
    })
}

/// `a / b`, element by element with broadcasting. Errors if the shapes do not broadcast or dtypes or devices differ.
pub fn div(a: impl Into<Var>, b: impl Into<Var>) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    const OP: &str = "div";
    let (x, y) = (a.value().clone(), b.value().clone());
    let quotient = pairwise(OP, Pairwise::Div, &x, &y)?;
    Var::record(OP, quotient, [a, b], move |dy, wanted| {
        let scaled = pairwise(OP, Pairwise::Div, dy, &y)?;
        let da = wanted[0].then(|| sum_to_shape(OP, &scaled, x.shape())).transpose()?;
        let db = wanted[1].then(|| {
            let ratio = pairwise(OP, Pairwise::Div, &x, &y)?;
            let full = pairwise(OP, Pairwise::Mul, &scaled, &ratio)?;
            let sum = sum_to_shape(OP, &full, y.shape())?;
            affine(OP, &sum, -1.0, 0.0, y.shape())
        });
        Ok([da, db.transpose()?])
    })
}

/// `factor x`. Errors on integers.
pub fn scale(x: impl Into<Var>, factor: f64) -> Result<Var> {
    let x = &x.into();
    let y = affine("scale", x.value(), factor, 0.0, x.shape())?;
    Var::record("scale", y, [x], move |dy, _| Ok([Some(affine("scale", dy, factor, 0.0, dy.shape())?)]))
}

/// `-x`. Errors on integers.
pub fn neg(x: impl Into<Var>) -> Result<Var> {
    let x = &x.into();
    scale(x, -1.0)
}

/// `x + offset`. Errors on integers.
pub fn shift(x: impl Into<Var>, offset: f64) -> Result<Var> {
    let x = &x.into();
    let y = affine("shift", x.value(), 1.0, offset, x.shape())?;
    Var::record("shift", y, [x], |dy, _| Ok([Some(dy.clone())]))
}

/// `x` repeated to `shape`. Errors if `x` does not broadcast to it.
pub fn broadcast_to(x: impl Into<Var>, shape: impl Into<Shape>) -> Result<Var> {
    let x = &x.into();
    let y = affine("broadcast_to", x.value(), 1.0, 0.0, &shape.into())?;
    let from = x.shape().clone();
    Var::record("broadcast_to", y, [x], move |dy, _| Ok([Some(sum_to_shape("broadcast_to", dy, &from)?)]))
}
