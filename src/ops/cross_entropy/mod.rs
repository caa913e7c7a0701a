//! Cross-entropy of class labels.

mod cpu;
mod gpu;

use super::{cast, check_float, check_same_device, mul, on, scale, softmax, sub, sum};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

const OP: &str = "cross_entropy";

/// The mean over a batch of `-log softmax(logits)[label]`, without axes.
///
/// `logits` are `[b, k]`, `labels` are u32 `[b]`. The loss is f32 (f64 for f64), made relative to the largest logit, so
/// that nothing overflows; the gradient of the logits, `(softmax(logits) - onehot(label)) / b`, is computed from the
/// sums that the forward pass keeps. A NaN among the logits makes the loss NaN; logits of -inf are fine, and an
/// infinite loss if the label names one.
///
/// Errors if there are no rows or no classes, if a shape, dtype or device differs from the above, and, on the CPU, if a
/// label is not below `k`. On a GPU labels are not brought back to be looked at: such a label makes the loss and its
/// row's gradient NaN.
pub fn cross_entropy(logits: impl Into<Var>, labels: &Tensor) -> Result<Var> {
    let logits = &logits.into();
    check_float(OP, logits.value())?;
    let [rows, classes] = logits.shape().dims(OP, "logits [b, k]")?;
    if rows == 0 || classes == 0 {
        return Err(Error::shape(OP, "at least one row and one class", logits.shape()));
    }
    if labels.dtype() != DType::U32 {
        return Err(Error::dtype(OP, "labels of u32", labels.dtype()));
    }
    if labels.shape()[..] != [rows] {
        return Err(Error::shape(OP, format!("labels [{rows}] for logits {}", logits.shape()), labels.shape()));
    }
    check_same_device(OP, logits.value(), labels)?;

    let dtype = if logits.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let (x, labels) = (logits.value().clone(), labels.clone());
    // The shift and the logarithm of the sum of each row.
    let mut stats = Tensor::empty([rows, 2], dtype, &x.device())?;
    let mut loss = Tensor::empty([], dtype, &x.device())?;
    on!(x.device(), forward(OP, &x, &labels, &mut stats, &mut loss))?;
    Var::record_higher(OP, loss, [logits], move |dy, at| Ok([Some(gradient(dy, &at.input(0, &x), &labels, &stats)?)]))
}

/// The gradient of the logits.
fn gradient(dy: &Var, logits: &Var, labels: &Tensor, stats: &Tensor) -> Result<Var> {
    let mut dx = logits.value().empty_like()?;
    on!(dy.device(), backward(OP, dy.value(), logits.value(), labels, stats, &mut dx))?;
    let (cotangent, x, labels, stats) = (dy.value().clone(), logits.value().clone(), labels.clone(), stats.clone());
    Var::record_higher(OP, dx, [dy, logits], move |g, at| {
        let (dy, logits) = (at.input(0, &cotangent), at.input(1, &x));
        let d_dy = at.wanted(0, || {
            let one = Tensor::full(1.0, [], dy.dtype(), &dy.device())?;
            cast(mul(g, gradient(&one.into(), &logits, &labels, &stats)?)?, dy.dtype())?.sum_all()
        })?;
        // Of the difference of softmax and label, the softmax depends on the logits.
        let dx = at.wanted(1, || {
            let (k, rows) = (logits.shape().rank() - 1, logits.shape()[0]);
            let scaled = scale(mul(g, cast(&dy, g.dtype())?)?, 1.0 / rows as f64)?;
            let y = softmax(&logits)?;
            let mean = sum(mul(&y, &scaled)?, &[k])?.reshape([rows, 1])?;
            mul(y, sub(scaled, mean)?)
        })?;
        Ok([d_dy, dx])
    })
}
