//! Layer normalisation: over the last axis, token by token.

mod cpu;
mod gpu;

use super::reduce::standardized;
use super::{add, cast, check_float, check_same_device, mul, on};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

const OP: &str = "layer_norm";

/// `y = gamma (x - mean) / sqrt(var + eps) + beta`, with mean and (biased) variance over the last axis.
///
/// `x` is `[..., c]`, `gamma` and `beta` are `[c]` in `x`'s dtype or in f32; the result has the shape and dtype of `x`.
/// Statistics are in f32 (f64 for f64), taken of the differences from the row's first element, and they alone are kept
/// for the gradient besides the inputs: a row far from zero is normalised as well as one about zero, and one of equal
/// numbers becomes beta.
///
/// Errors if `x` is a scalar, if `eps` is not positive, or if a shape, dtype or device differs from the above.
///
/// Ba, Kiros & Hinton 2016 (arXiv 1607.06450).
pub fn layer_norm(x: impl Into<Var>, gamma: impl Into<Var>, beta: impl Into<Var>, eps: f64) -> Result<Var> {
    let (x, gamma, beta) = (&x.into(), &gamma.into(), &beta.into());
    let inputs = [x, gamma, beta];
    let [x, gamma, beta] = inputs.map(|input| input.value().clone());
    let Some((&channels, rows)) = x.shape().split_last() else {
        return Err(Error::shape(OP, "x [..., c]", x.shape()));
    };
    let setting = Setting { rows: rows.iter().product(), channels, eps };
    check(&setting, &x, &gamma, &beta)?;
    if x.is_empty() {
        let empty = x.clone();
        return Var::record_higher(OP, empty, inputs, move |_, _| {
            let zeros = |like: &Tensor| Ok(Some(Tensor::zeros(like.shape(), like.dtype(), &like.device())?.into()));
            Ok([zeros(&x)?, zeros(&gamma)?, zeros(&beta)?])
        });
    }
    let (y, stats) = on!(x.device(), forward(&setting, &x, &gamma, &beta))?;
    let rule = move |dy: &Tensor, _| {
        let gradients = on!(x.device(), backward(&setting, dy, &x, &gamma, &beta, &stats))?;
        Ok([Some(gradients.x), Some(gradients.gamma), Some(gradients.beta)])
    };
    Var::record_fused(OP, y, inputs, rule, move |inputs| plain(&setting, inputs))
}

/// The same, made of other operations.
fn plain(setting: &Setting, inputs: &[Var]) -> Result<Var> {
    let [x, gamma, beta] = inputs else { return Err(Error::argument(OP, "three inputs")) };
    let u = standardized(x, [setting.rows, 1, 1, setting.channels], setting.eps)?.reshape(x.shape())?;
    cast(add(mul(&u, cast(gamma, u.dtype())?)?, cast(beta, u.dtype())?)?, x.dtype())
}

/// The sizes.
#[derive(Debug, Clone, Copy)]
struct Setting {
    rows: usize,
    channels: usize,
    eps: f64,
}

/// The gradients of the three inputs.
struct Gradients {
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
}

fn check(setting: &Setting, x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<()> {
    let &Setting { channels, eps, .. } = setting;
    check_float(OP, x)?;
    for affine in [gamma, beta] {
        check_same_device(OP, x, affine)?;
        if affine.shape()[..] != [channels] {
            return Err(Error::shape(OP, format!("gamma and beta [{channels}] for x {}", x.shape()), affine.shape()));
        }
        let fits = affine.dtype() == x.dtype() || (affine.dtype() == DType::F32 && x.dtype() == DType::BF16);
        if !fits || affine.dtype() != gamma.dtype() {
            let expected = format!("gamma and beta both {} like x, or both f32 beside bf16", x.dtype());
            return Err(Error::dtype(OP, expected, affine.dtype()));
        }
    }
    if !(eps > 0.0 && eps.is_finite()) {
        return Err(Error::argument(OP, format!("eps must be positive, got {eps}")));
    }
    Ok(())
}
