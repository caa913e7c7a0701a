//! Shapes.

use std::fmt;
use std::ops::Deref;

use crate::error::{Error, Result};

/// The extent of each axis; the last axis is contiguous in memory. No axes: a scalar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements: the product of the extents.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The number of elements, or an error of `op` where it (in bytes) does not fit the address space.
    pub fn checked_elements(&self, op: &'static str) -> Result<usize> {
        self.0
            .iter()
            .try_fold(1usize, |count, &extent| count.checked_mul(extent))
            .filter(|&count| count <= isize::MAX as usize / 8)
            .ok_or_else(|| Error::shape(op, "a shape that fits in memory", self))
    }

    /// The extents of exactly `N` axes, or an error of `op` that shows `expected`.
    pub fn dims<const N: usize>(&self, op: &'static str, expected: &str) -> Result<[usize; N]> {
        self.0.as_slice().try_into().map_err(|_| Error::shape(op, expected, self))
    }

    /// The shape that both broadcast to, by NumPy's rule: aligned at the last axis, extents equal or 1.
    pub fn broadcast(&self, other: &Shape, op: &'static str) -> Result<Shape> {
        let rank = self.rank().max(other.rank());
        let extent = |shape: &Shape, axis: usize| (axis + shape.rank()).checked_sub(rank).map_or(1, |i| shape[i]);
        (0..rank)
            .map(|axis| match (extent(self, axis), extent(other, axis)) {
                (a, b) if a == b => Ok(a),
                (1, b) => Ok(b),
                (a, 1) => Ok(a),
                _ => Err(Error::shape(op, "shapes that broadcast (extents equal or 1)", format!("{self} and {other}"))),
            })
            .collect::<Result<Vec<_>>>()
            .map(Shape)
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Shape(dims)
    }
}
impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Shape(dims.to_vec())
    }
}
impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Shape(dims.to_vec())
    }
}
impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(dims: &[usize; N]) -> Self {
        Shape(dims.to_vec())
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let shape = |dims: &[usize]| Shape::from(dims);
        let both = |a: &[usize], b: &[usize]| shape(a).broadcast(&shape(b), "add");
        assert_eq!(both(&[2, 3], &[3]).unwrap(), shape(&[2, 3]));
        assert_eq!(both(&[2, 1, 1, 4], &[2, 5, 5, 4]).unwrap(), shape(&[2, 5, 5, 4]));
        assert_eq!(both(&[], &[2]).unwrap(), shape(&[2]));
        assert_eq!(both(&[0, 3], &[1, 3]).unwrap(), shape(&[0, 3]));
        let error = both(&[2, 3], &[2]).unwrap_err().to_string();
        assert!(error.contains("add") && error.contains("[2, 3] and [2]"), "{error}");
    }

    #[test]
    fn an_overflowing_shape_is_an_error() {
        assert!(Shape::from([usize::MAX, 2]).checked_elements("zeros").is_err());
    }
}
