//! What Hopper's kernels need of the driver: whether this is one, and tensor maps in the driver's own form.

use std::ffi::c_void;

use cudarc::driver::sys::{self, CUdevice_attribute};
use cudarc::driver::{CudaContext, DriverError};

use crate::backend::hopper::{Asked, Hopper};
use crate::backend::kernels;
use crate::backend::tensor_map::{AXES, Boxes, TensorMap};

/// The compute capability whose machine code has wgmma: sm_90a runs on 9.0 alone.
const CAPABILITY: (i32, i32) = (9, 0);

/// What the GPU has for kernels for Hopper, if this build has machine code for it and it is one.
pub(super) fn hopper(context: &CudaContext) -> Result<Option<Hopper>, DriverError> {
    let compiled = matches!(kernels::CUDA, Ok((_, archs)) if archs.split(',').any(|arch| arch.trim() == "90a"));
    if !compiled || context.compute_capability()? != CAPABILITY {
        return Ok(None);
    }
    let count = context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    Ok(Some(Hopper { multiprocessors: count.max(1) as u32, asked: Asked::by_environment() }))
}

/// The driver's form of `boxes`, which have been checked: of bf16, with zeros outside.
pub(super) fn encode(boxes: &Boxes) -> Result<TensorMap, DriverError> {
    let axes = boxes.extents.len();
    let (mut extents, mut strides, mut size) = ([1; AXES], [0; AXES], [1; AXES]);
    extents[..axes].copy_from_slice(&boxes.extents);
    strides[..axes - 1].copy_from_slice(&boxes.strides);
    size[..axes].copy_from_slice(&boxes.size);
    let mut map = sys::CUtensorMap { opaque: [0; 16] };
    // SAFETY: the driver is loaded; all pointers are to as many numbers as there are axes, which outlive the call. The
    // address is not read.
    unsafe {
        sys::cuTensorMapEncodeTiled(
            &raw mut map,
            sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            axes as u32,
            boxes.address.number() as *mut c_void,
            extents.as_ptr(),
            strides.as_ptr(),
            size.as_ptr(),
            [1u32; AXES].as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            match boxes.swizzled {
                true => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                false => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
            },
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    }
    .result()?;
    Ok(TensorMap::of_words(map.opaque))
}
