//! Putting tensors together along an axis, and taking them apart: copies of whole runs of elements.

mod cpu;
mod gpu;

use std::ops::Range;

use super::{check_alike, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

/// A run of columns of a matrix, to be copied. A result's row is the pieces' runs, one after the other.
struct Piece<'a> {
    /// A matrix of `pitch` columns, of which those from `first` on are taken; `None`: zeros.
    source: Option<&'a Tensor>,
    pitch: usize,
    first: usize,
    width: usize,
}

/// The tensors one after the other along `axis`: their other extents are equal, and `axis`'s add up.
///
/// Any dtype, any number of tensors (one at least); for the channels of images, `axis` is the last one. The gradient of
/// each tensor is its slice of the result's. Errors if `axis` does not exist, or if shapes, dtypes or devices do not
/// fit.
pub fn concat(tensors: &[&Var], axis: usize) -> Result<Var> {
    const OP: &str = "concat";
    let Some(first) = tensors.first() else {
        return Err(Error::argument(OP, "there are no tensors"));
    };
    if let [only] = tensors {
        check_axis(OP, only.shape(), axis)?;
        return Ok((*only).clone());
    }
    check_axis(OP, first.shape(), axis)?;
    check_alike(OP, &tensors.iter().map(|var| var.value()).collect::<Vec<_>>())?;
    let mut ends = Vec::with_capacity(tensors.len());
    let mut total = 0;
    for tensor in tensors {
        let mut like_first = tensor.shape().to_vec();
        if let Some(extent) = like_first.get_mut(axis) {
            total += *extent;
            *extent = first.shape()[axis];
        }
        if like_first != first.shape()[..] {
            return Err(Error::shape(OP, format!("{} but for axis {axis}", first.shape()), tensor.shape()));
        }
        ends.push(total);
    }
    let shape = with_extent(first.shape(), axis, total);
    let inner: usize = shape[axis + 1..].iter().product();
    let mut pieces = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let width = tensor.shape()[axis] * inner;
        pieces.push(Piece { source: Some(tensor.value()), pitch: width, first: 0, width });
    }
    let y = assemble(OP, &pieces, shape, first.value())?;
    Var::record_all_higher(OP, y, tensors, move |dy, at| {
        let starts = [0].iter().chain(&ends);
        let ranges = starts.zip(&ends).map(|(&start, &end)| start..end);
        ranges.enumerate().map(|(i, range)| at.wanted(i, || slice(dy, axis, range))).collect()
    })
}

/// Entries `range` of `axis`, as a copy; the other axes stay whole. Any dtype.
///
/// The gradient is zero outside of the slice. Errors if `axis` does not exist or `range` does not lie within it.
pub fn slice(x: impl Into<Var>, axis: usize, range: Range<usize>) -> Result<Var> {
    let x = &x.into();
    const OP: &str = "slice";
    check_axis(OP, x.shape(), axis)?;
    let extent = x.shape()[axis];
    if range.start > range.end || range.end > extent {
        return Err(Error::argument(OP, format!("entries {range:?} of axis {axis}, whose extent is {extent}")));
    }
    if range == (0..extent) {
        return Ok(x.clone());
    }
    let y = take(OP, x.value(), axis, range.clone())?;
    Var::record_higher(OP, y, [x], move |dy, _| Ok([Some(surrounded(OP, dy, axis, &range, extent)?)]))
}

/// `x` as entries `range` of `axis`, whose other entries, `extent` in all, are zero: the gradient of [`slice`].
fn surrounded(op: &'static str, x: &Var, axis: usize, range: &Range<usize>, extent: usize) -> Result<Var> {
    let shape = with_extent(x.shape(), axis, extent);
    let inner: usize = shape[axis + 1..].iter().product();
    let zeros = |width: usize| Piece { source: None, pitch: 0, first: 0, width: width * inner };
    let width = range.len() * inner;
    let kept = Piece { source: Some(x.value()), pitch: width, first: 0, width };
    let pieces = [zeros(range.start), kept, zeros(extent - range.end)];
    let y = assemble(op, &pieces, shape, x.value())?;
    let range = range.clone();
    Var::record_higher(op, y, [x], move |dy, _| Ok([Some(slice(dy, axis, range.clone())?)]))
}

fn take(op: &'static str, x: &Tensor, axis: usize, range: Range<usize>) -> Result<Tensor> {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let width = range.len() * inner;
    let piece = Piece { source: Some(x), pitch: x.shape()[axis] * inner, first: range.start * inner, width };
    assemble(op, &[piece], with_extent(x.shape(), axis, range.len()), x)
}

/// A tensor of `shape` whose rows are the pieces side by side; dtype and device are those of `like`.
fn assemble(op: &'static str, pieces: &[Piece], shape: Shape, like: &Tensor) -> Result<Tensor> {
    let mut y = Tensor::empty(shape, like.dtype(), &like.device())?;
    let pieces: Vec<&Piece> = pieces.iter().filter(|piece| piece.width > 0).collect();
    if !y.is_empty() {
        on!(like.device(), assemble(op, &pieces, &mut y))?;
    }
    Ok(y)
}

fn with_extent(shape: &Shape, axis: usize, extent: usize) -> Shape {
    let mut dims = shape.to_vec();
    dims[axis] = extent;
    dims.into()
}

fn check_axis(op: &'static str, shape: &Shape, axis: usize) -> Result<()> {
    match axis < shape.rank() {
        true => Ok(()),
        false => Err(Error::argument(op, format!("axis {axis} of a tensor {shape}, which has {} axes", shape.rank()))),
    }
}
