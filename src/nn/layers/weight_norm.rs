//! Weight normalisation.

use super::reparametrised::{Map, Reparametrised, matrix};
use super::{ConvOptions, LayerInit, Module};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Init, ParamId, Scope};
use crate::ops;

/// A linear layer or convolution whose weight is a length and a direction for each output, `w = g v / |v|` (Salimans &
/// Kingma 2016, arXiv 1602.07868): see [`weight_norm`]. The lengths start as those of `v`, so that the layer starts as
/// the plain one. Parameters have PyTorch's names and shapes: `weight_v`, `weight_g`, `bias`.
#[derive(Debug, Clone)]
pub struct WeightNorm {
    of: Reparametrised,
    g: ParamId,
}

impl WeightNorm {
    /// `x w^T + b` over the last axis: `[..., inputs]` to `[..., outputs]`. A number for `init` is the gain of
    /// Xavier-uniform directions.
    pub fn linear(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        let of = Reparametrised::linear(scope, "weight_v", [inputs, outputs], init.into());
        Self::with_lengths(scope, of)
    }

    /// As [`Conv2d`](super::Conv2d), with one length for each output channel. Errors on a kernel or a stride of 0.
    pub fn conv2d(
        scope: &mut Scope,
        channels: [usize; 2],
        options: ConvOptions,
        init: impl Into<LayerInit>,
    ) -> Result<Self> {
        let of = Reparametrised::conv2d("WeightNorm", scope, "weight_v", channels, options, init.into())?;
        Ok(Self::with_lengths(scope, of))
    }

    fn with_lengths(scope: &mut Scope, of: Reparametrised) -> Self {
        let shape = match of.map {
            Map::Linear => vec![of.outputs, 1],
            Map::Convolution { .. } => vec![of.outputs, 1, 1, 1],
        };
        WeightNorm { of, g: scope.parameter("weight_g", shape, Init::RowNorms(of.source)) }
    }
}

impl Module for WeightNorm {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        let weight = weight_norm(&cx.parameter(self.of.source)?, &cx.parameter(self.g)?)?;
        self.of.apply(x, &weight, &cx.weight_in(self.of.bias, x.dtype())?)
    }
}

/// `w_o = g_o v_o / |v_o|` for each output `o`: `v` is `[out, ...]`, `g` has `out` elements, `w` the shape of `v`. The
/// norm is Euclidean, over all but the first axis, and has no epsilon: a `v_o` of zeros gives NaN.
///
/// Errors if `g` has another number of elements, or unless both have one floating-point dtype and one device.
pub fn weight_norm(v: &Var, g: &Var) -> Result<Var> {
    const OP: &str = "weight_norm";
    let rows = matrix(OP, v)?;
    let outputs = rows.shape()[0];
    if g.value().len() != outputs {
        return Err(Error::shape(OP, format!("{outputs} lengths for v {}", v.shape()), g.shape()));
    }
    let lengths = ops::sqrt(ops::sum(ops::square(&rows)?, &[1])?)?.reshape([outputs, 1])?;
    let factors = ops::div(g.reshape([outputs, 1])?, lengths)?;
    ops::mul(rows, factors)?.reshape(v.shape())
}
