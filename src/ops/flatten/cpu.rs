use half::bf16;

use super::OP;
use crate::backend::cpu::chunks;
use crate::error::{Error, Result};
use crate::tensor::{DType, Element, Real, Tensor};

pub fn write(flat: &mut Tensor, parts: &[(usize, &Tensor)], add: bool) -> Result<()> {
    for &(offset, part) in parts {
        match (flat.dtype(), part.dtype()) {
            (DType::F32, DType::F32) => one::<f32>(flat, offset, part, add)?,
            (DType::F32, DType::BF16) => one::<bf16>(flat, offset, part, add)?,
            (DType::F64, DType::F64) => one::<f64>(flat, offset, part, add)?,
            (_, other) => return Err(Error::dtype(OP, "f32, bf16 or f64", other)),
        }
    }
    Ok(())
}

fn one<T: Real<Acc: Element>>(flat: &mut Tensor, offset: usize, part: &Tensor, add: bool) -> Result<()> {
    let part = part.as_slice::<T>()?;
    let flat = &mut flat.as_mut_slice::<T::Acc>()?[offset..offset + part.len()];
    chunks(flat, 1, |first, flat| {
        for (f, x) in flat.iter_mut().zip(&part[first..]) {
            *f = if add { *f + x.acc() } else { x.acc() };
        }
    });
    Ok(())
}
