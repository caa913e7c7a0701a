//! What a weight that is made of others is multiplied with.

use super::{ConvOptions, LayerInit};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::layout::{ParamId, Scope};
use crate::ops;

/// A linear map or a convolution whose weight is computed in each forward pass.
#[derive(Debug, Clone, Copy)]
pub(super) enum Map {
    Linear,
    Convolution { stride: usize, padding: usize },
}

/// A map, the parameter that its weight is made of, and its bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reparametrised {
    pub map: Map,
    pub source: ParamId,
    pub bias: ParamId,
    pub outputs: usize,
}

impl Reparametrised {
    /// From `inputs` to `outputs`; `source` and `bias` are the names of the parameters.
    pub fn linear(scope: &mut Scope, source: &str, [inputs, outputs]: [usize; 2], init: LayerInit) -> Self {
        let source = scope.parameter(source, [outputs, inputs], init.weight(inputs, outputs));
        let bias = scope.parameter("bias", [outputs], init.bias(inputs));
        Reparametrised { map: Map::Linear, source, bias, outputs }
    }

    /// A convolution of this layer `name`. Errors on a kernel or a stride of 0.
    pub fn conv2d(
        name: &'static str,
        scope: &mut Scope,
        source: &str,
        [inputs, outputs]: [usize; 2],
        options: ConvOptions,
        init: LayerInit,
    ) -> Result<Self> {
        let ConvOptions { kernel, stride, padding } = options;
        if kernel == 0 || stride == 0 {
            return Err(Error::argument(name, format!("kernel and stride must be positive, got {options:?}")));
        }
        let (taps, shape) = (kernel * kernel, [outputs, kernel, kernel, inputs]);
        let source = scope.parameter(source, shape, init.weight(taps * inputs, taps * outputs));
        let bias = scope.parameter("bias", [outputs], init.bias(taps * inputs));
        Ok(Reparametrised { map: Map::Convolution { stride, padding }, source, bias, outputs })
    }

    /// The map of `x`, with these for its weight and bias, in the dtype of `x`.
    pub fn apply(&self, x: &Var, weight: &Var, bias: &Var) -> Result<Var> {
        let weight = if weight.dtype() == x.dtype() { weight.clone() } else { ops::cast(weight, x.dtype())? };
        match self.map {
            Map::Linear => ops::linear(x, weight, Some(bias)),
            Map::Convolution { stride, padding } => ops::conv2d(x, weight, Some(bias), stride, padding),
        }
    }
}

/// A weight `[out, ...]` as a matrix `[out, k]`. Errors of `op` on a scalar.
pub(super) fn matrix(op: &'static str, weight: &Var) -> Result<Var> {
    match weight.shape().split_first() {
        Some((&outputs, rest)) => weight.reshape([outputs, rest.iter().product()]),
        None => Err(Error::shape(op, "a weight [out, ...]", weight.shape())),
    }
}
