//! Group normalisation.

use super::Module;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Init, ParamId, Scope};
use crate::ops;

/// Group normalisation (Wu & He 2018, arXiv 1803.08494) over `[n, ..., channels]`, with groups of at least four
/// channels and at most 32 groups.
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
        let gamma = scope.parameter("weight", [channels], Init::Constant(1.0));
        let beta = scope.parameter("bias", [channels], Init::Constant(0.0));
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
