//! Spectral normalisation.

use super::reparametrised::{Reparametrised, matrix};
use super::{ConvOptions, LayerInit, Module};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Init, ParamId, Scope};
use crate::ops;
use crate::tensor::Tensor;

/// What keeps the norms of the power iteration from 0.
const EPS: f64 = 1e-12;

/// A linear layer or convolution whose weight is divided by its largest singular value (Miyato et al. 2018, arXiv
/// 1802.05957): see [`spectral_norm`]. A convolution's weight counts as the matrix `[out, kernel kernel in]`.
///
/// The singular vector `u` is a buffer. In training each forward pass goes one power iteration on from the `u` that its
/// weights hold, and hands the new one to [`Context::update`]; otherwise `u` stays as it is. A layer that is used more
/// than once in a pass (on real and on generated samples, or again in the backward pass where blocks are recomputed)
/// starts from the same `u` each time: it has one weight in the whole pass, and `u` moves by one iteration a step.
/// Names are PyTorch's `weight_orig`, `weight_u` and `bias`; its `weight_v` follows from these.
#[derive(Debug, Clone)]
pub struct SpectralNorm {
    of: Reparametrised,
    u: ParamId,
}

impl SpectralNorm {
    /// `x w^T + b` over the last axis: `[..., inputs]` to `[..., outputs]`. A number for `init` is the gain of
    /// Xavier-uniform weights; `u` starts as a random direction.
    pub fn linear(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        let of = Reparametrised::linear(scope, "weight_orig", [inputs, outputs], init.into());
        SpectralNorm { of, u: scope.buffer("weight_u", [outputs], Init::Direction) }
    }

    /// As [`Conv2d`](super::Conv2d). Errors on a kernel or a stride of 0.
    pub fn conv2d(
        scope: &mut Scope,
        channels: [usize; 2],
        options: ConvOptions,
        init: impl Into<LayerInit>,
    ) -> Result<Self> {
        let of = Reparametrised::conv2d("SpectralNorm", scope, "weight_orig", channels, options, init.into())?;
        Ok(SpectralNorm { of, u: scope.buffer("weight_u", [of.outputs], Init::Direction) })
    }
}

impl Module for SpectralNorm {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        // The value at the step's start, not one that an earlier use in this pass has left.
        let u = cx.parameter(self.u)?.into_value();
        let normalised = spectral_norm(&cx.parameter(self.of.source)?, &u, EPS, cx.is_training())?;
        if cx.is_training() {
            cx.update(self.u, normalised.u)?;
        }
        self.of.apply(x, &normalised.weight, &cx.weight_in(self.of.bias, x.dtype())?)
    }
}

/// A weight over its largest singular value, and what was found on the way.
#[derive(Debug, Clone)]
pub struct SpectrallyNormalised {
    /// `w / sigma`, of the shape of `w`.
    pub weight: Var,
    /// The left singular vector `[out]`.
    pub u: Tensor,
    /// The right singular vector `[k]`.
    pub v: Tensor,
    /// The estimate of the largest singular value, a scalar.
    pub sigma: Var,
}

/// `w / sigma` with `sigma = u^T w v`: `w` is `[out, ...]` and counts as a matrix `[out, k]`, `u` is `[out]`.
///
/// `v = normalise(w^T u)` and, if `iterate`, then `u = normalise(w v)`, where `normalise(z) = z / max(|z|, eps)`. The
/// vectors are constants of the gradient, so that of `sigma` with respect to `w` is `u v^T`. A weight of zeros gives
/// NaN.
///
/// Errors if `u` has another shape, or unless both have one floating-point dtype and one device.
pub fn spectral_norm(w: &Var, u: &Tensor, eps: f64, iterate: bool) -> Result<SpectrallyNormalised> {
    const OP: &str = "spectral_norm";
    let rows = matrix(OP, w)?;
    let (outputs, inputs) = (rows.shape()[0], rows.shape()[1]);
    if u.shape()[..] != [outputs] {
        return Err(Error::shape(OP, format!("u [{outputs}] for w {}", w.shape()), u.shape()));
    }
    let constant = rows.detach();
    let normalise = |z: Var| -> Result<Var> {
        let norm = ops::sqrt(ops::sum(ops::square(&z)?, &[0, 1])?)?;
        ops::div(&z, ops::clamp(norm, eps, f64::INFINITY)?)
    };
    let mut u = Var::constant(u.reshape([1, outputs])?);
    let v = normalise(ops::matmul(&u, &constant)?)?;
    if iterate {
        u = normalise(ops::matmul_transposed(&v, false, &constant, true)?)?;
    }
    let sigma = ops::sum(ops::mul(ops::matmul(&u, &rows)?, &v)?, &[0, 1])?;
    let weight = ops::div(w, &sigma)?;
    let vector = |x: Var, len: usize| x.into_value().reshape([len]);
    Ok(SpectrallyNormalised { weight, u: vector(u, outputs)?, v: vector(v, inputs)?, sigma })
}
