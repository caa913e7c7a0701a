//! Cross-entropy of class labels.

mod cpu;
mod gpu;

use super::{check_float, check_same_device, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

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
    const OP: &str = "cross_entropy";
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
    Var::record(OP, loss, [logits], move |dy, _| {
        let mut dx = x.empty_like()?;
        on!(dy.device(), backward(OP, dy, &x, &labels, &stats, &mut dx))?;
        Ok([Some(dx)])
    })
}
