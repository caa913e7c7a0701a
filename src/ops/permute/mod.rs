//! Axes in another order, as a copy: tensors are contiguous.

mod cpu;
mod gpu;

use super::on;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};

const OP: &str = "permute";

/// Most axes that may be left once neighbours that stay together are merged.
const AXES: usize = 5;

/// `x` with its axes in the order `axes`: axis `i` of the result is axis `axes[i]` of `x`. A copy; any dtype.
///
/// `[0, 2, 3, 1]` turns NCHW images into NHWC ones, `[0, 3, 1, 2]` turns them back. The gradient is permuted back.
/// Errors unless `axes` names every axis once, and if more than five groups of axes are torn apart.
pub fn permute(x: impl Into<Var>, axes: &[usize]) -> Result<Var> {
    let x = &x.into();
    let y = permuted(x.value(), axes)?;
    let mut back = vec![0; axes.len()];
    for (to, &from) in axes.iter().enumerate() {
        back[from] = to;
    }
    Var::record_higher(OP, y, [x], move |dy, _| Ok([Some(permute(dy, &back)?)]))
}

/// `x` with two axes exchanged, as a copy; see [`permute`]. Errors if one does not exist.
pub fn transpose(x: impl Into<Var>, a: usize, b: usize) -> Result<Var> {
    let x = &x.into();
    let mut axes: Vec<usize> = (0..x.shape().rank()).collect();
    if a.max(b) >= axes.len() {
        return Err(Error::argument("transpose", format!("axes {a} and {b} of a tensor {}", x.shape())));
    }
    axes.swap(a, b);
    permute(x, &axes)
}

/// As [`permute`], without a tape: for weights and images on their way from and to files.
pub fn permuted(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.shape().rank()) {
        return Err(Error::argument(OP, format!("axes {axes:?} of a tensor {}: each must be named once", x.shape())));
    }
    let shape: Shape = axes.iter().map(|&axis| x.shape()[axis]).collect::<Vec<_>>().into();
    let walk = Walk::new(x.shape(), axes);
    if walk.axes.len() <= 1 || x.is_empty() {
        return x.reshape(shape);
    }
    if walk.axes.len() > AXES {
        return Err(Error::argument(OP, format!("axes {axes:?} fall into {} groups; {AXES} at most", walk.axes.len())));
    }
    let mut y = Tensor::empty(shape, x.dtype(), &x.device())?;
    on!(x.device(), permute(x, &walk, &mut y))?;
    Ok(y)
}

/// An axis of the result: how long it is, and how far apart its entries are in the operand and in the result.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    extent: usize,
    from: usize,
    to: usize,
}

/// The axes of the result, those that stay neighbours merged, those of extent 1 left out. The last is contiguous.
struct Walk {
    axes: Vec<Axis>,
}

impl Walk {
    fn new(shape: &Shape, order: &[usize]) -> Self {
        let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
        let mut axes: Vec<Axis> = Vec::new();
        for &axis in order.iter().filter(|&&axis| shape[axis] != 1) {
            let (extent, from) = (shape[axis], stride(axis));
            match axes.last_mut() {
                Some(last) if last.from == from * extent => {
                    last.extent *= extent;
                    last.from = from;
                }
                _ => axes.push(Axis { extent, from, to: 0 }),
            }
        }
        let mut to = 1;
        for axis in axes.iter_mut().rev() {
            axis.to = to;
            to *= axis.extent;
        }
        Walk { axes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_stay_together_are_merged() {
        let walk = |shape: &[usize], order: &[usize]| Walk::new(&shape.into(), order).axes;
        let axis = |extent, from, to| Axis { extent, from, to };
        // NCHW to NHWC: h and w stay together.
        assert_eq!(walk(&[2, 3, 4, 5], &[0, 2, 3, 1]), [axis(2, 60, 60), axis(20, 1, 3), axis(3, 20, 1)]);
        assert_eq!(walk(&[2, 3, 4], &[0, 1, 2]), [axis(24, 1, 1)]);
        // An axis of one entry is nowhere.
        assert_eq!(walk(&[2, 1, 4], &[1, 0, 2]), [axis(8, 1, 1)]);
        assert_eq!(walk(&[1, 1], &[1, 0]), []);
    }
}
