//! Rows of a table by their index: learnt embeddings, and one-hot rows.

mod cpu;
mod gpu;

use super::{check_float, check_same_device, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Shape, Tensor};

const OP: &str = "embedding";

/// `y[.., :] = table[index[..], :]`: `table` is `[v, d]`, `index` u32 of any shape; the result has the shape of `index`
/// with `d` appended.
///
/// The gradient of a row sums, in the order of `index`, what its uses get; rows that are not used get zeros. Sums are
/// in f32 (f64 for f64) and equal inputs give equal bits: no atomics.
///
/// An index that is not below `v` is an error on the CPU. A GPU, which nobody waits for, makes that row of the result
/// NaN and leaves it out of the gradient; it reads nothing outside the table. Errors on other shapes and dtypes.
pub fn embedding(table: impl Into<Var>, index: &Tensor) -> Result<Var> {
    let table = &table.into();
    let [rows, width] = table.shape().dims(OP, "a table [v, d]")?;
    check_float(OP, table.value())?;
    check_index(OP, table.value(), index)?;
    let shape = Shape::from([index.shape(), &[width][..]].concat());
    let mut y = Tensor::empty(shape, table.dtype(), &table.device())?;
    if !y.is_empty() {
        on!(table.device(), forward(table.value(), index, [rows, width], &mut y))?;
    }
    let index = index.clone();
    Var::record_higher(OP, y, [table], move |dy, _| Ok([Some(gathered(dy, &index, [rows, width])?)]))
}

/// The rows of `dy` summed into rows `index` of a table: the gradient of [`embedding`].
fn gathered(dy: &Var, index: &Tensor, [rows, width]: [usize; 2]) -> Result<Var> {
    let mut gradient = Tensor::empty([rows, width], dy.dtype(), &dy.device())?;
    if !gradient.is_empty() {
        on!(dy.device(), backward(dy.value(), index, [rows, width], &mut gradient))?;
    }
    let index = index.clone();
    Var::record_higher(OP, gradient, [dy], move |dy, _| Ok([Some(embedding(dy, &index)?)]))
}

/// `[.., k]` rows that are 1 at `index` and 0 elsewhere, for `index` u32 of any shape.
///
/// An index that is not below `k` is an error on the CPU; a GPU makes that row NaN. Errors if `dtype` is not
/// floating-point.
pub fn one_hot(index: &Tensor, k: usize, dtype: DType) -> Result<Tensor> {
    const OP: &str = "one_hot";
    if !dtype.is_float() {
        return Err(Error::dtype(OP, "a floating-point dtype for the rows", dtype));
    }
    let mut y = Tensor::empty(Shape::from([index.shape(), &[k][..]].concat()), dtype, &index.device())?;
    check_index(OP, &y, index)?;
    if !y.is_empty() {
        on!(index.device(), one_hot(OP, index, k, &mut y))?;
    }
    Ok(y)
}

fn check_index(op: &'static str, table: &Tensor, index: &Tensor) -> Result<()> {
    check_same_device(op, table, index)?;
    match index.dtype() {
        DType::U32 => Ok(()),
        other => Err(Error::dtype(op, "u32 for the index", other)),
    }
}

fn out_of_range(op: &'static str, place: usize, index: u32, rows: usize) -> Error {
    Error::argument(op, format!("index {index} at position {place}; indices must be below {rows}"))
}
