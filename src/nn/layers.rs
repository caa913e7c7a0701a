//! The layers that score networks are made of.

use super::context::Context;
use super::layout::{FileForm, Init, ParamId, Scope};
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::ops;

/// A layer or network with one input: a pure function of it and of the weights in the context.
pub trait Module {
    /// The result for `x`; each implementation states its shapes.
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var>;
}

/// `x w^T + b` over the last axis: `[..., inputs]` to `[..., outputs]`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl Linear {
    /// With bias; Xavier-uniform weights times `gain`, bias zero.
    pub fn new(scope: &mut Scope, inputs: usize, outputs: usize, gain: f32) -> Self {
        let weight = Self::weight(scope, inputs, outputs, gain, FileForm::Plain);
        Linear { weight, bias: Some(bias(scope, outputs, FileForm::Plain)) }
    }

    /// Without bias.
    pub fn without_bias(scope: &mut Scope, inputs: usize, outputs: usize, gain: f32) -> Self {
        Linear { weight: Self::weight(scope, inputs, outputs, gain, FileForm::Plain), bias: None }
    }

    /// A 1x1 convolution on `[n, h, w, inputs]`: the same mathematics, with a convolution's shape in files.
    pub fn pointwise(scope: &mut Scope, inputs: usize, outputs: usize, gain: f32) -> Self {
        let weight = Self::weight(scope, inputs, outputs, gain, FileForm::Pointwise);
        Linear { weight, bias: Some(bias(scope, outputs, FileForm::Plain)) }
    }

    /// A 1x1 convolution to queries, keys and values, `[.., 3 channels]` in that order.
    pub fn query_key_value(scope: &mut Scope, channels: usize, gain: f32) -> Self {
        let weight = Self::weight(scope, channels, 3 * channels, gain, FileForm::QueryKeyValue);
        Linear { weight, bias: Some(bias(scope, 3 * channels, FileForm::QueryKeyValueBias)) }
    }

    fn weight(scope: &mut Scope, inputs: usize, outputs: usize, gain: f32, form: FileForm) -> ParamId {
        let init = Init::Xavier { fan_in: inputs, fan_out: outputs, gain };
        scope.parameter("weight", [outputs, inputs], form, init)
    }
}

fn bias(scope: &mut Scope, outputs: usize, form: FileForm) -> ParamId {
    scope.parameter("bias", [outputs], form, Init::Constant(0.0))
}

impl Module for Linear {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        let bias = self.bias.map(|bias| cx.weight(bias)).transpose()?;
        ops::linear(x, &cx.weight(self.weight)?, bias.as_ref())
    }
}

/// A 3x3 convolution that keeps the size: `[n, h, w, inputs]` to `[n, h, w, outputs]`.
#[derive(Debug, Clone)]
pub struct Conv3x3 {
    weight: ParamId,
    bias: ParamId,
}

impl Conv3x3 {
    /// Xavier-uniform weights times `gain`, bias zero.
    pub fn new(scope: &mut Scope, inputs: usize, outputs: usize, gain: f32) -> Self {
        let init = Init::Xavier { fan_in: 9 * inputs, fan_out: 9 * outputs, gain };
        let weight = scope.parameter("weight", [outputs, 3, 3, inputs], FileForm::Convolution, init);
        Conv3x3 { weight, bias: bias(scope, outputs, FileForm::Plain) }
    }
}

impl Module for Conv3x3 {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        ops::conv2d(x, &cx.weight(self.weight)?, Some(&cx.weight(self.bias)?), 1, 1)
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
