//! What a factor of a product can be read from: rows of numbers, each contiguous in memory.

use std::ops::Range;

use half::bf16;

use crate::backend::cpu::isa::{self, Isa};
use crate::backend::cpu::vector::InVectors;
use crate::backend::dtype::Accumulator;
use crate::backend::math;

/// A type that operands and results are stored in, and the type that products are summed in.
pub(crate) trait Stored: Copy + Send + Sync + 'static {
    /// Sums are kept in this type.
    type Sum: Sum;
    /// Widens to the type of the sums; exact.
    fn widen(self) -> Self::Sum;
    /// Widens each, in vectors where the caller's instructions have them.
    fn widen_array<const N: usize>(values: &[Self; N]) -> [Self::Sum; N];
    /// Rounds a sum to the nearest stored value, ties to even.
    fn round(sum: Self::Sum) -> Self;
    /// The slice itself when stored values are sums.
    fn as_sums(slice: &mut [Self]) -> Option<&mut [Self::Sum]>;
    /// The slice itself when stored values are bf16.
    fn as_halves(_: &[Self]) -> Option<&[bf16]> {
        None
    }
    /// The same to write.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    fn as_halves_mut(_: &mut [Self]) -> Option<&mut [bf16]> {
        None
    }
}

/// A stored type that can be copied as one that holds it exactly: as sums, or as it is.
pub(super) trait CopyAs<S>: Stored {
    fn copy_as(self) -> S;
    /// Copies each, in vectors where the caller's instructions have them.
    fn copy_array<const N: usize>(values: &[Self; N]) -> [S; N];
}

impl<T: Stored> CopyAs<T::Sum> for T {
    #[inline(always)]
    fn copy_as(self) -> T::Sum {
        self.widen()
    }
    #[inline(always)]
    fn copy_array<const N: usize>(values: &[T; N]) -> [T::Sum; N] {
        T::widen_array(values)
    }
}

impl CopyAs<bf16> for bf16 {
    #[inline(always)]
    fn copy_as(self) -> bf16 {
        self
    }
    #[inline(always)]
    fn copy_array<const N: usize>(values: &[bf16; N]) -> [bf16; N] {
        *values
    }
}

/// A type that products are summed in.
pub(crate) trait Sum: Stored<Sum = Self> + Accumulator + InVectors + bytemuck::Pod {
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Whether sums may be made in a faster way that rounds a little more than the plain one.
    const MAY_BE_FAST: bool;
    /// The kernel for a level of vector instructions: one of [`Kernel::new`](super::kernel::Kernel::new), which needs
    /// nothing done before or after.
    fn kernel(isa: Isa) -> &'static super::kernel::Kernel<Self>;
    /// Does `work` with the product and its kernel: with factors of pairs, where both are of bf16 and the level has
    /// instructions for those.
    fn with_kernel<R>(
        product: &super::Product<Self>,
        work: impl FnOnce(&super::Product<Self>, &'static super::kernel::Kernel<Self>) -> R,
    ) -> R {
        work(product, Self::kernel(product.isa))
    }
}

impl Stored for f32 {
    type Sum = f32;
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
    #[inline(always)]
    fn widen_array<const N: usize>(values: &[f32; N]) -> [f32; N] {
        *values
    }
    #[inline(always)]
    fn round(sum: f32) -> f32 {
        sum
    }
    fn as_sums(slice: &mut [f32]) -> Option<&mut [f32]> {
        Some(slice)
    }
}

impl Stored for bf16 {
    type Sum = f32;
    #[inline(always)]
    fn widen(self) -> f32 {
        math::from_bf16(self)
    }
    #[inline(always)]
    fn widen_array<const N: usize>(values: &[bf16; N]) -> [f32; N] {
        let mut wide = [0.0; N];
        for i in 0..N {
            wide[i] = values[i].widen();
        }
        wide
    }
    #[inline(always)]
    fn round(sum: f32) -> bf16 {
        math::to_bf16(sum)
    }
    fn as_sums(_: &mut [bf16]) -> Option<&mut [f32]> {
        None
    }
    fn as_halves(slice: &[bf16]) -> Option<&[bf16]> {
        Some(slice)
    }
    fn as_halves_mut(slice: &mut [bf16]) -> Option<&mut [bf16]> {
        Some(slice)
    }
}

impl Stored for f64 {
    type Sum = f64;
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
    #[inline(always)]
    fn widen_array<const N: usize>(values: &[f64; N]) -> [f64; N] {
        *values
    }
    #[inline(always)]
    fn round(sum: f64) -> f64 {
        sum
    }
    fn as_sums(slice: &mut [f64]) -> Option<&mut [f64]> {
        Some(slice)
    }
}

/// Rows of numbers that exist in memory, or are made while they are copied (a convolution's patches).
pub(crate) trait Rows<S>: Sync {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// Length of each row.
    fn columns(&self) -> usize;
    /// Copies a part: element `(r, c)` of `rows` × `columns`, counted from the part's corner, goes to `out[r * stride +
    /// c]`. `isa` must be supported by this CPU.
    fn copy(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, out: &mut [S], stride: usize);
    /// The same rows in bf16, if that is what they are stored in: for kernels that multiply such.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>>;
}

/// The same as [`Rows`], written once and compiled for each level of vector instructions.
pub(super) trait CopyRows<S>: Sync {
    fn rows(&self) -> usize;
    fn columns(&self) -> usize;
    /// Must be `#[inline(always)]`, so that it takes on the instructions of its caller.
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [S], stride: usize);
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>>;
}

impl<S, R: CopyRows<S>> Rows<S> for R {
    fn rows(&self) -> usize {
        CopyRows::rows(self)
    }

    fn columns(&self) -> usize {
        CopyRows::columns(self)
    }

    fn copy(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, out: &mut [S], stride: usize) {
        isa.run_kernel(Part { source: self, rows, columns, out, stride });
    }

    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>> {
        CopyRows::halves(self)
    }
}

struct Part<'a, S, R> {
    source: &'a R,
    rows: Range<usize>,
    columns: Range<usize>,
    out: &'a mut [S],
    stride: usize,
}

impl<S, R: CopyRows<S>> isa::Kernel for Part<'_, S, R> {
    #[inline(always)]
    fn run(self) {
        CopyRows::copy(self.source, self.rows, self.columns, self.out, self.stride);
    }
}

/// Copies `from` to `to`, which is as long. Most runs are a few vectors long: too short for a call of `memcpy` to
/// pay.
#[inline(always)]
pub(super) fn copy_run<S, T: CopyAs<S>>(from: &[T], to: &mut [S]) {
    let length = from.len();
    let to = &mut to[..length];
    if length >= 16 {
        copy_by::<S, T, 16>(from, to);
    } else if length >= 8 {
        copy_by::<S, T, 8>(from, to);
    } else if length >= 4 {
        copy_by::<S, T, 4>(from, to);
    } else {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.copy_as();
        }
    }
}

/// Whole groups of `N`, then the last `N` elements once more if any are left; there are `N` at least.
#[inline(always)]
fn copy_by<S, T: CopyAs<S>, const N: usize>(from: &[T], to: &mut [S]) {
    let (groups, rest) = from.as_chunks::<N>();
    for (to, from) in to.as_chunks_mut::<N>().0.iter_mut().zip(groups) {
        *to = T::copy_array(from);
    }
    if !rest.is_empty()
        && let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>())
    {
        *to = T::copy_array(from);
    }
}

/// A matrix in memory: rows of contiguous numbers, `row_stride` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `rows` × `columns` with nothing between the rows.
    ///
    /// Panics if `data` is shorter than that: shapes are checked by the operation that calls.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// `rows` × `columns`, rows `row_stride` elements apart. Panics if `data` ends before the last row does.
    pub fn strided(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        let needed = if rows == 0 { 0 } else { (rows - 1) * row_stride + columns };
        assert!(data.len() >= needed, "a {rows}x{columns} matrix in {} elements", data.len());
        Matrix { data, rows, columns, row_stride }
    }
}

impl<S, T: CopyAs<S>> CopyRows<S> for Matrix<'_, T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.columns
    }

    #[inline(always)]
    fn copy(&self, rows: Range<usize>, columns: Range<usize>, out: &mut [S], stride: usize) {
        let width = columns.len();
        for (r, row) in rows.enumerate() {
            let start = row * self.row_stride + columns.start;
            copy_run(&self.data[start..start + width], &mut out[r * stride..r * stride + width]);
        }
    }

    fn halves(&self) -> Option<Box<dyn Rows<bf16> + '_>> {
        let &Matrix { data, rows, columns, row_stride } = self;
        Some(Box::new(Matrix { data: T::as_halves(data)?, rows, columns, row_stride }))
    }
}
