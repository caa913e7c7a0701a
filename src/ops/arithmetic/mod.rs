//! Arithmetic with NumPy's broadcasting: shapes are aligned at the last axis, and extents of 1 are repeated.

use super::broadcast::{Pairwise, affine, pairwise};
use super::reduce::{gather, spread};
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
    Var::record_higher(op, y, [a, b], move |dy, at| {
        let gradient = |i: usize, factor: f64| at.wanted(i, || gather(op, dy, factor, &shapes[i]));
        let first = gradient(0, alpha)?;
        let second = match &first {
            // One for both, as in residual connections.
            Some(first) if alpha == beta && shapes[0] == shapes[1] => at.wanted(1, || Ok(first.clone()))?,
            _ => gradient(1, beta)?,
        };
        Ok([first, second])
    })
}

/// `a b`, element by element with broadcasting. Errors if the shapes do not broadcast or dtypes or devices differ.
pub fn mul(a: impl Into<Var>, b: impl Into<Var>) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    const OP: &str = "mul";
    let (x, y) = (a.value().clone(), b.value().clone());
    let product = pairwise(OP, Pairwise::Mul, &x, &y)?;
    Var::record_higher(OP, product, [a, b], move |dy, at| {
        let gradient =
            |i: usize, of: &Tensor, other: Var| at.wanted(i, || gather(OP, &mul(dy, other)?, 1.0, of.shape()));
        Ok([gradient(0, &x, at.input(1, &y))?, gradient(1, &y, at.input(0, &x))?])
    })
}

/// `a / b`, element by element with broadcasting. Errors if the shapes do not broadcast or dtypes or devices differ.
pub fn div(a: impl Into<Var>, b: impl Into<Var>) -> Result<Var> {
    let (a, b) = (&a.into(), &b.into());
    const OP: &str = "div";
    let (x, y) = (a.value().clone(), b.value().clone());
    let quotient = pairwise(OP, Pairwise::Div, &x, &y)?;
    Var::record_higher(OP, quotient, [a, b], move |dy, at| {
        let (a, b) = (at.input(0, &x), at.input(1, &y));
        let scaled = div(dy, &b)?;
        let da = at.wanted(0, || gather(OP, &scaled, 1.0, a.shape()))?;
        let db = at.wanted(1, || gather(OP, &mul(&scaled, div(&a, &b)?)?, -1.0, b.shape()))?;
        Ok([da, db])
    })
}

/// `factor x`. Errors on integers.
pub fn scale(x: impl Into<Var>, factor: f64) -> Result<Var> {
    let x = &x.into();
    let y = affine("scale", x.value(), factor, 0.0, x.shape())?;
    Var::record_higher("scale", y, [x], move |dy, _| Ok([Some(scale(dy, factor)?)]))
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
    Var::record_higher("shift", y, [x], |dy, _| Ok([Some(dy.clone())]))
}

/// `x` repeated to `shape`. Errors if `x` does not broadcast to it.
pub fn broadcast_to(x: impl Into<Var>, shape: impl Into<Shape>) -> Result<Var> {
    let x = &x.into();
    spread("broadcast_to", x, 1.0, &shape.into())
}
