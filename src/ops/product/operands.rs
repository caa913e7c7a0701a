//! Operands as kernels are told of them: addresses, extents, and whether 16 bytes can be read at a time.

use crate::backend::gpu::{Gpu, Ptr};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// The address of what may not be there.
pub fn address(gpu: &Gpu, tensor: Option<&Tensor>) -> Result<Ptr> {
    tensor.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr(gpu))
}

/// As [`address`], to write to.
pub fn address_mut(gpu: &Gpu, tensor: Option<&mut Tensor>) -> Result<Ptr> {
    tensor.map_or(Ok(Ptr::NULL), |tensor| tensor.ptr_mut(gpu))
}

/// `size` as the kernels count lines, steps and tiles.
pub fn small(op: &'static str, size: usize) -> Result<u32> {
    match i32::try_from(size) {
        Ok(size) => Ok(size as u32),
        Err(_) => Err(Error::argument(op, format!("{size} rows, columns or steps in one product; at most 2^31 - 1"))),
    }
}

/// Whether rows of `length` elements of `dtype` from `at` on can be read 16 bytes at a time.
pub fn is_wide(at: Ptr, length: usize, dtype: DType) -> bool {
    Ptr::all_wide(&[at]) && (length * dtype.size()).is_multiple_of(16)
}
