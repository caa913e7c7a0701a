//! The layers that score networks are made of.

use super::context::Context;
use super::layout::{FileForm, Init, Layout, ParamId, Scope};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;

/// A layer or network with one input: a pure function of it and of the weights in the context.
pub trait Module {
    /// The result for `x`; each implementation states its shapes.
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var>;
}

/// How the weights and the bias of a layer start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LayerInit {
    /// Xavier-uniform weights times this, bias zero: DDPM++ and NCSN++.
    Xavier(f32),
    /// Weights and bias uniform within `1 / sqrt(fan_in)`, PyTorch's own: ADM.
    Kaiming,
    /// Weights normal with this standard deviation, bias zero.
    Normal(f32),
    /// Weights and bias zero.
    Zero,
}

impl From<f32> for LayerInit {
    /// Xavier with this gain.
    fn from(gain: f32) -> Self {
        LayerInit::Xavier(gain)
    }
}

impl LayerInit {
    fn weight(self, fan_in: usize, fan_out: usize) -> Init {
        match self {
            LayerInit::Xavier(gain) => Init::Xavier { fan_in, fan_out, gain },
            LayerInit::Kaiming => Init::Uniform(1.0 / (fan_in.max(1) as f32).sqrt()),
            LayerInit::Normal(deviation) => Init::Normal(deviation),
            LayerInit::Zero => Init::Constant(0.0),
        }
    }

    fn bias(self, fan_in: usize) -> Init {
        match self {
            LayerInit::Kaiming => self.weight(fan_in, 0),
            _ => Init::Constant(0.0),
        }
    }
}

/// `x w^T + b` over the last axis: `[..., inputs]` to `[..., outputs]`, computed in the dtype of `x`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// With bias. A number for `init` is the gain of Xavier-uniform weights.
    pub fn new(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        Self::register(scope, inputs, outputs, init.into(), FileForm::Plain, FileForm::Plain)
    }

    /// Without bias.
    pub fn without_bias(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        let init = init.into().weight(inputs, outputs);
        Linear { weight: scope.parameter("weight", [outputs, inputs], FileForm::Plain, init), bias: None }
    }

    /// A 1x1 convolution on `[n, h, w, inputs]`: the same mathematics, with a convolution's shape in files.
    pub fn pointwise(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        Self::register(scope, inputs, outputs, init.into(), FileForm::Pointwise, FileForm::Plain)
    }

    /// A 1x1 convolution to queries, keys and values, `[.., 3 channels]` in that order.
    pub fn query_key_value(scope: &mut Scope, channels: usize, init: impl Into<LayerInit>) -> Self {
        let forms = (FileForm::QueryKeyValue, FileForm::QueryKeyValueBias);
        Self::register(scope, channels, 3 * channels, init.into(), forms.0, forms.1)
    }

    fn register(
        scope: &mut Scope,
        inputs: usize,
        outputs: usize,
        init: LayerInit,
        weight: FileForm,
        bias: FileForm,
    ) -> Self {
        let weight = scope.parameter("weight", [outputs, inputs], weight, init.weight(inputs, outputs));
        Linear { weight, bias: Some(scope.parameter("bias", [outputs], bias, init.bias(inputs))) }
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

/// A 3x3 convolution: `[n, h, w, inputs]` to `[n, h, w, outputs]`.
#[derive(Debug, Clone)]
pub struct Conv3x3 {
    weight: ParamId,
    bias: ParamId,
}

impl Conv3x3 {
    /// A number for `init` is the gain of Xavier-uniform weights.
    pub fn new(scope: &mut Scope, inputs: usize, outputs: usize, init: impl Into<LayerInit>) -> Self {
        let init = init.into();
        let shape = [outputs, 3, 3, inputs];
        let weight = scope.parameter("weight", shape, FileForm::Convolution, init.weight(9 * inputs, 9 * outputs));
        Conv3x3 { weight, bias: scope.parameter("bias", [outputs], FileForm::Plain, init.bias(9 * inputs)) }
    }

    /// With `padding` zeros beyond each border; 1 keeps the size.
    pub fn forward_padded(&self, cx: &Context, x: &Var, padding: usize) -> Result<Var> {
        let (weight, bias) = (cx.weight_in(self.weight, x.dtype())?, cx.weight_in(self.bias, x.dtype())?);
        ops::conv2d(x, &weight, Some(&bias), 1, padding)
    }

    /// Multiply-adds for each pixel of the result, those with the border's zeros included. Errors if the layer is another
    /// layout's.
    pub fn multiply_adds(&self, layout: &Layout) -> Result<u64> {
        Ok(layout.entry(self.weight)?.shape.elements() as u64)
    }
}

impl Module for Conv3x3 {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        self.forward_padded(cx, x, 1)
    }
}

/// Group normalisation over `[n, ..., channels]`, with groups of at least four channels and at most 32 groups.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    gamma: ParamId,
    beta: ParamId,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Errors if the groups do not divide the channels.
    pub fn new(scope: &mut Scope, channels: usize, eps: f64) -> Result<Self> {
        let groups = (channels / 4).clamp(1, 32);
        if !channels.is_multiple_of(groups) {
            return Err(Error::Config(format!(
                "{channels} channels do not fall into {groups} groups of equal size; use a multiple of 4 up to 128, or of 32"
            )));
        }
        let gamma = scope.parameter("weight", [channels], FileForm::Plain, Init::Constant(1.0));
        let beta = scope.parameter("bias", [channels], FileForm::Plain, Init::Constant(0.0));
        Ok(GroupNorm { gamma, beta, groups, eps })
    }

    /// The normalised `x`, through SiLU, in one pass.
    pub fn forward_silu(&self, cx: &Context, x: &Var) -> Result<Var> {
        ops::group_norm_silu(x, &cx.parameter(self.gamma)?, &cx.parameter(self.beta)?, self.groups, self.eps)
    }
}

impl Module for GroupNorm {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        ops::group_norm(x, &cx.parameter(self.gamma)?, &cx.parameter(self.beta)?, self.groups, self.eps)
    }
}

/// Layer normalisation over the last axis of `[..., channels]`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    gamma: ParamId,
    beta: ParamId,
    eps: f64,
}

impl LayerNorm {
    /// Gamma starts at 1, beta at 0.
    pub fn new(scope: &mut Scope, channels: usize, eps: f64) -> Self {
        let gamma = scope.parameter("weight", [channels], FileForm::Plain, Init::Constant(1.0));
        let beta = scope.parameter("bias", [channels], FileForm::Plain, Init::Constant(0.0));
        LayerNorm { gamma, beta, eps }
    }
}

impl Module for LayerNorm {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        ops::layer_norm(x, &cx.parameter(self.gamma)?, &cx.parameter(self.beta)?, self.eps)
    }
}
