use half::bf16;

use super::OP;
use crate::backend::cpu::chunks;
use crate::error::{Error, Result};
use crate::tensor::{DType, Element, Tensor};

pub fn convert(x: &Tensor, y: &mut Tensor) -> Result<()> {
    match (x.dtype(), y.dtype()) {
        (DType::F32, DType::BF16) => map(x, y, bf16::from_f32),
        (DType::F32, DType::F64) => map(x, y, |x: f32| f64::from(x)),
        (DType::BF16, DType::F32) => map(x, y, bf16::to_f32),
        (DType::BF16, DType::F64) => map(x, y, bf16::to_f64),
        (DType::F64, DType::F32) => map(x, y, |x: f64| x as f32),
        // Not by way of f32, which would round twice.
        (DType::F64, DType::BF16) => map(x, y, nearest_bf16),
        (from, to) => Err(Error::dtype(OP, format!("a floating-point dtype other than {to}"), from)),
    }
}

fn map<T: Element, U: Element>(x: &Tensor, y: &mut Tensor, f: impl Fn(T) -> U + Sync) -> Result<()> {
    let x = x.as_slice::<T>()?;
    chunks(y.as_mut_slice::<U>()?, 1, |first, y| {
        for (y, &x) in y.iter_mut().zip(&x[first..]) {
            *y = f(x);
        }
    });
    Ok(())
}

/// Rounded once. Through an f32 that is rounded to odd: an inexact one keeps a set last bit, so that no tie is faked.
fn nearest_bf16(x: f64) -> bf16 {
    let near = x as f32;
    if f64::from(near) == x || !near.is_finite() {
        return bf16::from_f32(near);
    }
    let truncated = if f64::from(near).abs() > x.abs() { near.to_bits() - 1 } else { near.to_bits() };
    bf16::from_f32(f32::from_bits(truncated | 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_is_rounded_once() {
        // A tie between 1 and 1 + 2^-7, pushed up by what an f32 cannot hold; and the same from below.
        let step = 2f64.powi(-7);
        assert_eq!(nearest_bf16(1.0 + step / 2.0 + 2f64.powi(-40)).to_f64(), 1.0 + step);
        assert_eq!(nearest_bf16(1.0 + step / 2.0).to_f64(), 1.0);
        assert_eq!(nearest_bf16(-(1.0 + 1.5 * step - 2f64.powi(-40))).to_f64(), -(1.0 + step));
        assert_eq!(nearest_bf16(f64::NEG_INFINITY), bf16::NEG_INFINITY);
        assert_eq!(nearest_bf16(1e300), bf16::INFINITY);
        assert!(nearest_bf16(f64::NAN).is_nan());
        assert_eq!(nearest_bf16(1e-300).to_f64(), 0.0);
    }
}
