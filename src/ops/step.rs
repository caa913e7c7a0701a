//! What the steps of optimisers and averages share: one pass over weights and buffers as long.

use half::bf16;

use super::{check_float, check_same_device};
use crate::backend::cpu::GRAIN;
use crate::backend::math::to_bf16;
use crate::error::{Error, Result};
use crate::tensor::{Accumulator, DType, Element, Tensor};

/// Errors of `op` unless all buffers of an optimiser's step fit the weights, which are f32 or f64.
pub fn check_buffers(
    op: &'static str,
    weights: &Tensor,
    gradient: &Tensor,
    clip: Option<&Tensor>,
    masters: &[(&str, &Tensor)],
    copy: Option<&Tensor>,
) -> Result<()> {
    check_float(op, gradient)?;
    let master = weights.dtype();
    if !matches!(master, DType::F32 | DType::F64) {
        return Err(Error::dtype(op, "f32 weights (or f64 on the CPU)", master));
    }
    let fits = |tensor: &Tensor, dtype: DType, what: &str| -> Result<()> {
        check_same_device(op, weights, tensor)?;
        if tensor.dtype() != dtype {
            return Err(Error::dtype(op, format!("{what} in {dtype}"), tensor.dtype()));
        }
        if tensor.shape() != weights.shape() {
            return Err(Error::shape(op, format!("{what} {}", weights.shape()), tensor.shape()));
        }
        Ok(())
    };
    let half = gradient.dtype() == DType::BF16 && master == DType::F32;
    fits(gradient, if half { DType::BF16 } else { master }, "a gradient")?;
    for (what, tensor) in masters {
        fits(tensor, master, what)?;
    }
    if let Some(copy) = copy {
        fits(copy, DType::BF16, "a copy")?;
    }
    if let Some(clip) = clip {
        check_same_device(op, weights, clip)?;
        if clip.dtype() != master || clip.shape()[..] != [2] {
            let got = format!("{}{}", clip.dtype(), clip.shape());
            return Err(Error::shape(op, format!("norm and factor {master}[2]"), got));
        }
    }
    Ok(())
}

/// The tensor in chunks of [`GRAIN`], or as many empty ones.
pub fn split<T: Element>(tensor: Option<&mut Tensor>, chunks: usize) -> Result<Vec<&mut [T]>> {
    Ok(match tensor {
        Some(tensor) => tensor.as_mut_slice::<T>()?.chunks_mut(GRAIN).collect(),
        None => (0..chunks).map(|_| &mut [][..]).collect(),
    })
}

/// What becomes of new weights: their average moves towards them by `part` of the distance, the copy is rounded.
#[inline(always)]
pub fn follow<A: Accumulator>(weights: &[A], part: A, ema: &mut [A], copy: &mut [bf16]) {
    // With part = 1 the average is the weight itself, which the sum would only meet up to rounding.
    let whole = part == A::one();
    for (e, &w) in ema.iter_mut().zip(weights) {
        *e = if whole { w } else { part.mul_add(w - *e, *e) };
    }
    for (c, &w) in copy.iter_mut().zip(weights) {
        // By way of f32: half's conversion from f64 ignores the lowest bits and so misjudges ties.
        *c = to_bf16(w.widen() as f32);
    }
}
