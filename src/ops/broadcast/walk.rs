//! How elements of a broadcast result find their operands.

use crate::error::{Error, Result};
use crate::tensor::Shape;

/// The axes of a result, neighbours merged where every operand allows it, with each operand's stride along them (0
/// where it repeats). The last axis is the innermost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Walk {
    pub extents: Vec<usize>,
    /// One list of strides per operand.
    pub strides: Vec<Vec<usize>>,
}

impl Walk {
    /// Most axes that are left after merging; a kernel's parameters hold this many.
    pub const AXES: usize = 5;

    /// Errors of `op` if an operand does not broadcast to `shape`, or in so many ways that too many axes remain.
    pub fn new(op: &'static str, shape: &Shape, operands: &[&Shape]) -> Result<Walk> {
        let mut strides: Vec<Vec<usize>> = Vec::with_capacity(operands.len());
        for operand in operands {
            let Some(missing) = shape.rank().checked_sub(operand.rank()) else {
                return Err(Error::shape(op, format!("a shape that broadcasts to {shape}"), operand));
            };
            let mut stride = 1;
            let mut own = vec![0; shape.rank()];
            for axis in (missing..shape.rank()).rev() {
                let extent = operand[axis - missing];
                if extent == shape[axis] {
                    own[axis] = if extent == 1 { 0 } else { stride };
                } else if extent != 1 {
                    return Err(Error::shape(op, format!("a shape that broadcasts to {shape}"), operand));
                }
                stride *= extent;
            }
            strides.push(own);
        }
        let mut walk = Walk { extents: Vec::new(), strides: vec![Vec::new(); operands.len()] };
        for axis in 0..shape.rank() {
            walk.push(shape[axis], |operand| strides[operand][axis]);
        }
        if walk.extents.is_empty() {
            walk.extents.push(1);
            walk.strides.iter_mut().for_each(|strides| strides.push(0));
        }
        if walk.extents.len() > Self::AXES {
            let expected = format!("operands that repeat along at most {} groups of axes", Self::AXES);
            return Err(Error::shape(op, expected, shape));
        }
        Ok(walk)
    }

    /// Adds an axis inside the others; merges it with the last one if every operand walks through both evenly.
    fn push(&mut self, extent: usize, stride: impl Fn(usize) -> usize) {
        if extent == 1 {
            return;
        }
        let evenly = !self.extents.is_empty()
            && self.strides.iter().enumerate().all(|(i, outer)| outer.last() == Some(&(stride(i) * extent)));
        if evenly && let Some(last) = self.extents.last_mut() {
            *last *= extent;
            for (i, strides) in self.strides.iter_mut().enumerate() {
                if let Some(last) = strides.last_mut() {
                    *last = stride(i);
                }
            }
        } else {
            self.extents.push(extent);
            for (i, strides) in self.strides.iter_mut().enumerate() {
                strides.push(stride(i));
            }
        }
    }

    /// Whether every operand is walked element by element, nothing repeated.
    pub fn is_contiguous(&self) -> bool {
        self.extents.len() == 1 && (self.extents[0] == 1 || self.strides.iter().all(|strides| strides[0] == 1))
    }

    /// Whether vectors of `elements` neighbours can be read and written at once, if the operands are aligned for it:
    /// the innermost extent is a whole number of them, and along it an operand has stride 0, or 1 and rows that start
    /// at whole vectors.
    pub fn has_whole_vectors(&self, elements: usize) -> bool {
        let outer = self.extents.len() - 1;
        self.extents[outer].is_multiple_of(elements)
            && self.strides.iter().all(|strides| match strides[outer] {
                0 => true,
                1 => strides[..outer].iter().all(|stride| stride.is_multiple_of(elements)),
                _ => false,
            })
    }

    /// The innermost extent, and each operand's stride along it.
    pub fn inner(&self) -> usize {
        self.extents[self.extents.len() - 1]
    }

    /// Where operand `i` stands at the start of inner row `row`, and its stride along the row.
    pub fn row(&self, i: usize, mut row: usize) -> (usize, usize) {
        let outer = self.extents.len() - 1;
        let mut at = 0;
        for axis in (0..outer).rev() {
            at += row % self.extents[axis] * self.strides[i][axis];
            row /= self.extents[axis];
        }
        (at, self.strides[i][outer])
    }

    /// Extents, right-aligned for a kernel: unused outer axes are 1.
    pub fn padded_extents(&self) -> [u64; Self::AXES] {
        Self::pad(&self.extents, 1)
    }

    /// Strides of operand `i`, right-aligned for a kernel.
    pub fn padded_strides(&self, i: usize) -> [u64; Self::AXES] {
        Self::pad(&self.strides[i], 0)
    }

    fn pad(values: &[usize], fill: u64) -> [u64; Self::AXES] {
        let mut out = [fill; Self::AXES];
        for (to, &from) in out.iter_mut().rev().zip(values.iter().rev()) {
            *to = from as u64;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(shape: &[usize], operands: &[&[usize]]) -> Walk {
        let operands: Vec<Shape> = operands.iter().map(|&dims| Shape::from(dims)).collect();
        Walk::new("test", &shape.into(), &operands.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn axes_merge_where_every_operand_allows_it() {
        assert_eq!(walk(&[2, 3, 4], &[&[2, 3, 4], &[2, 3, 4]]).extents, [24]);
        let bias = walk(&[2, 3, 4], &[&[2, 3, 4], &[4]]);
        assert_eq!((bias.extents, bias.strides), (vec![6, 4], vec![vec![4, 1], vec![0, 1]]));
        let per_sample = walk(&[2, 3, 4], &[&[2, 3, 4], &[2, 1, 1]]);
        assert_eq!((per_sample.extents, per_sample.strides), (vec![2, 12], vec![vec![12, 1], vec![1, 0]]));
        assert_eq!(walk(&[], &[&[]]).extents, [1]);
    }

    #[test]
    fn vectors_are_whole_where_rows_are() {
        let whole = |shape: &[usize], operands: &[&[usize]]| walk(shape, operands).has_whole_vectors(4);
        assert!(whole(&[2, 3, 8], &[&[2, 3, 8], &[2, 1, 8]]), "per image and channel");
        assert!(whole(&[2, 3, 4], &[&[2, 3, 4], &[2, 1, 1]]), "per image: 12 neighbours at a time");
        assert!(whole(&[3, 8], &[&[8], &[3, 1]]));
        assert!(!whole(&[2, 3, 6], &[&[2, 3, 6], &[6]]), "rows of one and a half vectors");
        assert!(!whole(&[4, 3], &[&[4, 3], &[4, 1]]));
    }

    #[test]
    fn rows_find_their_operands() {
        let walk = walk(&[2, 3, 4], &[&[2, 1, 4]]);
        assert_eq!((0..6).map(|row| walk.row(0, row)).collect::<Vec<_>>(), [0, 0, 0, 4, 4, 4].map(|at| (at, 1)));
    }
}
