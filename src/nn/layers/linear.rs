//! The linear layer.

use super::{LayerInit, Module};
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;
use crate::nn::form::FileForm;
use crate::nn::layout::{Layout, ParamId, Scope};
use crate::ops;

/// `x w^T + b` over the last axis: `[..., inputs]` to `[..., outputs]`, computed in the dtype of `x`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// With bias. A number for `init` is the gain of Xavier-uniform weights.
    pub fn new(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        Self::register(scope, inputs, outputs, init.into())
    }

    /// Without bias.
    pub fn without_bias(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        let init = init.into().weight(inputs, outputs);
        Linear { weight: scope.parameter("weight", [outputs, inputs], init), bias: None }
    }

    /// A 1x1 convolution on `[n, h, w, inputs]`: the same mathematics, with a convolution's shape in files.
    pub fn pointwise(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        let layer = Self::register(scope, inputs, outputs, init.into());
        scope.stored_as(layer.weight, FileForm::Pointwise);
        layer
    }

    /// A 1x1 convolution to queries, keys and values, `[.., 3 channels]` in that order.
    pub fn query_key_value(scope: &mut Scope, channels: usize, init: impl Into<LayerInit>) -> Self {
        let layer = Self::register(scope, channels, 3 * channels, init.into());
        scope.stored_as(layer.weight, FileForm::QueryKeyValue);
        layer.bias.iter().for_each(|&bias| scope.stored_as(bias, FileForm::QueryKeyValueBias));
        layer
    }

    fn register(scope: &mut Scope, inputs: usize, outputs: usize, init: LayerInit) -> Self {
        let weight = scope.parameter("weight", [outputs, inputs], init.weight(inputs, outputs));
        Linear { weight, bias: Some(scope.parameter("bias", [outputs], init.bias(inputs))) }
    }

    /// Multiply-adds for each row of `x`. Errors if the layer is another layout's.
    pub fn multiply_adds(&self, layout: &Layout) -> Result<u64> {
        // Every weight is used once for a row.
        Ok(layout.entry(self.weight)?.shape.elements() as u64)
    }
}

impl Module for Linear {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        let bias = self.bias.map(|bias| cx.weight_in(bias, x.dtype())).transpose()?;
        ops::linear(x, &cx.weight_in(self.weight, x.dtype())?, bias.as_ref())
    }
}
