//! Layer normalisation.

use super::Module;
use crate::autograd::Var;
use crate::error::Result;
use crate::nn::context::Context;
use crate::nn::layout::{Init, ParamId, Scope};
use crate::ops;

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
        let gamma = scope.parameter("weight", [channels], Init::Constant(1.0));
        let beta = scope.parameter("bias", [channels], Init::Constant(0.0));
        LayerNorm { gamma, beta, eps }
    }
}

impl Module for LayerNorm {
    fn forward(&self, cx: &Context, x: &Var) -> Result<Var> {
        ops::layer_norm(x, &cx.parameter(self.gamma)?, &cx.parameter(self.beta)?, self.eps)
    }
}
