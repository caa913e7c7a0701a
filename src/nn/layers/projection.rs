//! The last layer of a discriminator of labelled samples.

use super::LayerInit;
use crate::autograd::Var;
use crate::error::{Error, Result};
use crate::nn::context::Context;
use crate::nn::layout::{Init, ParamId, Scope};
use crate::ops;
use crate::tensor::Tensor;

/// A projection discriminator's head (Miyato & Koyama 2018, arXiv 1802.05637): features `phi` `[n, width]` and a label
/// `y` are scored by `D(phi, y) = w . phi + b + E_y . phi`, with a row of `E` for each of `classes`.
#[derive(Debug, Clone)]
pub struct Projection {
    weight: ParamId,
    bias: ParamId,
    embedding: ParamId,
    classes: usize,
}

impl Projection {
    /// A number for `init`, which is for `w` and for each row of `E`, is the gain of Xavier-uniform weights.
    pub fn new(scope: &mut Scope, width: usize, classes: usize, init: impl Into<LayerInit>) -> Self {
        let init = init.into();
        let mut linear = scope.at("linear");
        let weight = linear.parameter("weight", [1, width], init.weight(width, 1));
        let bias = linear.parameter("bias", [1], Init::Constant(0.0));
        let embedding = scope.at("embed").parameter("weight", [classes, width], init.weight(width, 1));
        Projection { weight, bias, embedding, classes }
    }

    /// `D(phi, y)` for every label `y`, in one product: `[n, classes]`, in the dtype of `phi`. Errors unless `phi` is
    /// `[n, width]`.
    pub fn scores(&self, cx: &Context, phi: &Var) -> Result<Var> {
        let [_, _] = phi.shape().dims("Projection", "features [n, width]")?;
        let bias = ops::broadcast_to(cx.weight_in(self.bias, phi.dtype())?, [self.classes])?;
        ops::linear(phi, self.rows(cx, phi)?, Some(&bias))
    }

    /// `D(phi, y)` for one label a sample, `labels` `[n]` u32: `[n]`, in the dtype of `phi`. Errors unless `phi` is
    /// `[n, width]`, and on labels of another shape or dtype, or beyond the classes.
    pub fn score(&self, cx: &Context, phi: &Var, labels: &Tensor) -> Result<Var> {
        const OP: &str = "Projection";
        let [n, _] = phi.shape().dims(OP, "features [n, width]")?;
        if labels.shape()[..] != [n] {
            return Err(Error::shape(OP, format!("labels [{n}] for features {}", phi.shape()), labels.shape()));
        }
        let chosen = ops::embedding(self.rows(cx, phi)?, labels)?;
        ops::add(ops::sum(ops::mul(phi, chosen)?, &[1])?, cx.weight_in(self.bias, phi.dtype())?)
    }

    /// `w + E_y` for each label `y`.
    fn rows(&self, cx: &Context, phi: &Var) -> Result<Var> {
        let (weight, embedding) = (cx.weight_in(self.weight, phi.dtype())?, cx.weight_in(self.embedding, phi.dtype())?);
        ops::add(embedding, weight)
    }
}
