//! Sums and means over axes, in a fixed order: equal inputs give equal bits, whatever the number of threads.

mod cpu;
mod gpu;

use super::broadcast::affine;
use super::{cast, check_float, div, on, shift, sqrt, square, sub};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Shape, Tensor};

/// Rows that are summed in one go; the sums of such blocks are then added in order.
const BLOCK: usize = 1024;

/// `x` seen as `[outer, n, inner]`; the middle axis is summed away.
#[derive(Debug, Clone, Copy)]
struct Extents {
    outer: usize,
    n: usize,
    inner: usize,
}

/// The sum over `axes`, which disappear from the shape; no axes: `x` itself. Sums are in f32 (f64 for f64).
///
/// Errors if an axis is named twice or does not exist, and on integers.
pub fn sum(x: impl Into<Var>, axes: &[usize]) -> Result<Var> {
    let x = &x.into();
    reduced("sum", x, axes, |_| 1.0)
}

/// The mean over `axes`, which disappear from the shape.
///
/// Errors if an axis is named twice or does not exist, if there is nothing to average, and on integers.
pub fn mean(x: impl Into<Var>, axes: &[usize]) -> Result<Var> {
    let x = &x.into();
    let y = reduced("mean", x, axes, |count| 1.0 / count as f64)?;
    if x.value().is_empty() && !y.value().is_empty() {
        return Err(Error::shape("mean", "at least one element to average", x.shape()));
    }
    Ok(y)
}

/// `x` summed down to `shape`, from which it may have been broadcast. Errors if `shape` does not broadcast to `x`'s.
pub fn sum_to(x: impl Into<Var>, shape: impl Into<Shape>) -> Result<Var> {
    let x = &x.into();
    gather("sum_to", x, 1.0, &shape.into())
}

/// `factor` times `x` summed down to `shape`: the gradient of [`spread`].
pub(crate) fn gather(op: &'static str, x: &Var, factor: f64, shape: &Shape) -> Result<Var> {
    if factor == 1.0 && x.shape() == shape {
        return Ok(x.clone());
    }
    let sum = sum_to_shape(op, x.value(), shape)?;
    let y = if factor == 1.0 { sum } else { affine(op, &sum, factor, 0.0, shape)? };
    let from = x.shape().clone();
    Var::record_higher(op, y, [x], move |dy, _| Ok([Some(spread(op, dy, factor, &from)?)]))
}

/// `factor x`, repeated to `shape`: the gradient of [`gather`].
pub(crate) fn spread(op: &'static str, x: &Var, factor: f64, shape: &Shape) -> Result<Var> {
    let y = affine(op, x.value(), factor, 0.0, shape)?;
    let from = x.shape().clone();
    Var::record_higher(op, y, [x], move |dy, _| Ok([Some(gather(op, dy, factor, &from)?)]))
}

fn reduced(op: &'static str, x: &Var, axes: &[usize], factor: impl Fn(usize) -> f64) -> Result<Var> {
    check_float(op, x.value())?;
    let shape = x.shape().clone();
    let mut summed = vec![false; shape.rank()];
    for &axis in axes {
        match summed.get_mut(axis) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(Error::argument(op, format!("axes {axes:?} of a tensor {shape}: each must exist, once"))),
        }
    }
    let count = axes.iter().map(|&axis| shape[axis]).product();
    let factor = factor(count);
    let kept: Vec<usize> = (0..shape.rank()).filter(|&axis| !summed[axis]).map(|axis| shape[axis]).collect();
    let with_ones: Vec<usize> = (0..shape.rank()).map(|axis| if summed[axis] { 1 } else { shape[axis] }).collect();
    let y = sum_axes(op, x.value(), &summed, factor)?.reshape(kept)?;
    Var::record_higher(op, y, [x], move |dy, _| {
        Ok([Some(spread(op, &dy.reshape(with_ones.as_slice())?, factor, &shape)?)])
    })
}

/// `x` summed down to `shape`, without a tape.
pub(crate) fn sum_to_shape(op: &'static str, x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if x.shape() == shape {
        return Ok(x.clone());
    }
    let fits = x.shape().broadcast(shape, op).is_ok_and(|both| both == *x.shape());
    let missing = match x.shape().rank().checked_sub(shape.rank()) {
        Some(missing) if fits => missing,
        _ => return Err(Error::shape(op, format!("a shape that broadcasts to {}", x.shape()), shape)),
    };
    let summed: Vec<bool> =
        (0..x.shape().rank()).map(|axis| axis < missing || shape[axis - missing] != x.shape()[axis]).collect();
    sum_axes(op, x, &summed, 1.0)?.reshape(shape)
}

/// `x` seen as `[n, pixels, groups, width]`, less its mean over the pixels and channels of a group, and divided by the
/// root of their (biased) variance and `eps`; in the precision of statistics. What normalisations are made of, for
/// gradients of higher order.
pub(crate) fn standardized(x: &Var, extents: [usize; 4], eps: f64) -> Result<Var> {
    let x = cast(x, if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 })?.reshape(extents)?;
    let kept = [extents[0], 1, extents[2], 1];
    let centred = sub(&x, mean(&x, &[1, 3])?.reshape(kept)?)?;
    let variance = mean(square(&centred)?, &[1, 3])?.reshape(kept)?;
    div(centred, sqrt(shift(variance, eps)?)?)
}

/// `factor` times the sum over the marked axes, runs of neighbouring axes at a time; the result's shape is not
/// meaningful.
fn sum_axes(op: &'static str, x: &Tensor, summed: &[bool], factor: f64) -> Result<Tensor> {
    let shape = x.shape().clone();
    let mut y = x.clone();
    let mut inner = 1;
    let mut pending = factor;
    let mut axis = shape.rank();
    while axis > 0 {
        axis -= 1;
        if !summed[axis] {
            inner *= shape[axis];
            continue;
        }
        let mut n = shape[axis];
        while axis > 0 && summed[axis - 1] {
            axis -= 1;
            n *= shape[axis];
        }
        let extents = Extents { outer: shape[..axis].iter().product(), n, inner };
        y = sum_middle(op, &y, extents, std::mem::replace(&mut pending, 1.0))?;
    }
    Ok(if pending == 1.0 { y } else { affine(op, &y, pending, 0.0, &y.shape().clone())? })
}

fn sum_middle(op: &'static str, x: &Tensor, extents: Extents, factor: f64) -> Result<Tensor> {
    let shape = [extents.outer, extents.inner];
    if extents.n == 0 {
        return Tensor::zeros(shape, x.dtype(), &x.device());
    }
    if extents.n == 1 && factor == 1.0 {
        return x.reshape(shape);
    }
    let mut y = Tensor::empty(shape, x.dtype(), &x.device())?;
    if !y.is_empty() {
        on!(x.device(), sum(op, x, extents, factor, &mut y))?;
    }
    Ok(y)
}
