//! A model that is told what to draw.

use super::likelihood::DenoiseWithGradient;
use super::model::Model;
use super::solvers::Denoise;
use crate::autograd::{Backward, Tape, Var};
use crate::error::{Error, Result};
use crate::nn::{Conditions, Context, Weights};
use crate::ops;
use crate::tensor::{DType, Replayed, Tensor};

/// A model with the labels of a batch: a denoiser for solvers and likelihoods.
///
/// Solvers call it many times with one batch: on a GPU the third and later calls are replayed ([`Replayed`]).
#[derive(Debug, Clone)]
pub struct Conditioned<'a> {
    model: &'a Model,
    weights: Weights,
    labels: Option<Var>,
    compute: DType,
    call: Replayed,
}

impl<'a> Conditioned<'a> {
    /// `labels` are `[n, label_dim]` f32, all zeros or left out for no class; `compute` is what the network computes
    /// in, f32 or bf16.
    ///
    /// Errors on labels of another shape, or labels for a model without classes.
    pub fn new(model: &'a Model, labels: Option<&Tensor>, compute: DType) -> Result<Self> {
        let dim = model.denoiser().label_dim();
        if let Some(labels) = labels
            && (labels.shape().rank() != 2 || labels.shape()[1] != dim || dim == 0)
        {
            let expected =
                if dim == 0 { "no class labels: the model takes none".into() } else { format!("labels [n, {dim}]") };
            return Err(Error::shape("class labels", expected, labels.shape()));
        }
        if !matches!(compute, DType::F32 | DType::BF16) {
            return Err(Error::dtype("network", "f32 or bf16 to compute in", compute));
        }
        let weights = model.weights.clone().for_compute(compute)?;
        Ok(Conditioned { model, weights, labels: labels.map(Var::from), compute, call: Replayed::default() })
    }

    fn run(&self, x: &Var, sigma: f64) -> Result<Var> {
        let cx = Context::inference(&self.weights).compute_in(self.compute);
        let n = x.shape().first().copied().unwrap_or(0);
        let conditions = Conditions { class_labels: self.labels.as_ref(), augment_labels: None };
        self.model.denoiser().denoise(&cx, x, &vec![sigma; n], conditions)
    }
}

impl Denoise for Conditioned<'_> {
    fn at(&mut self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let denoiser = self.model.denoiser();
        let input = ops::cast(x, DType::F32)?.into_value();
        let sigmas = vec![sigma; input.shape().first().copied().unwrap_or(0)];
        denoiser.check(&input, &sigmas)?;
        let factors = denoiser.factors(&sigmas, &input.device())?;
        let (weights, compute) = (&self.weights, self.compute);
        let conditions = Conditions { class_labels: self.labels.as_ref(), augment_labels: None };
        let denoised = self.call.call(&[&input, &factors], |arguments| {
            let cx = Context::inference(weights).compute_in(compute);
            Ok(denoiser.combine(&cx, &(&arguments[0]).into(), &arguments[1], conditions)?.into_value())
        })?;
        Ok(ops::cast(&denoised, x.dtype())?.into_value())
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        self.model.denoiser().round_sigma(sigma)
    }
}

impl DenoiseWithGradient for Conditioned<'_> {
    fn with_products(&mut self, x: &Tensor, sigma: f64, cotangents: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let cast = |tensor: &Tensor, dtype| -> Result<Tensor> { Ok(ops::cast(tensor, dtype)?.into_value()) };
        let input = Tape::new().leaf(cast(x, DType::F32)?);
        let denoised = self.run(&input, sigma)?;
        let mut products = Vec::with_capacity(cotangents.len());
        for (i, cotangent) in cotangents.iter().enumerate() {
            let mut gradients = denoised.backward_with(Backward {
                cotangent: Some(cast(cotangent, DType::F32)?),
                only: Some(&[&input]),
                retain: i + 1 < cotangents.len(),
            })?;
            let product = match gradients.take(&input) {
                Some(product) => product,
                None => Tensor::zeros(x.shape(), DType::F32, &x.device())?,
            };
            products.push(cast(&product, x.dtype())?);
        }
        Ok((cast(denoised.value(), x.dtype())?, products))
    }
}
