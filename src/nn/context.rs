//! One run of a network: weights, tape, and what training adds.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::layout::ParamId;
use super::weights::Weights;
use crate::autograd::{self, Gradients, Tape, Var};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::{Draws, SampleIds};
use crate::random::{Purpose, RandomKey};
use crate::tensor::{DType, Device, Tensor};

/// The site of dropped labels; drawn ones have others.
const LABEL_DROPOUT: u32 = 1;

/// What dropout and label dropout need to know: their random numbers are a pure function of these.
#[derive(Debug, Clone)]
pub struct Training {
    /// The run's seed.
    pub seed: u64,
    /// The training step.
    pub step: u32,
    /// Which sample each row of the batch is.
    pub samples: SampleIds,
}

/// What a forward pass runs with. Layers take their parameters from it by [`ParamId`].
pub struct Context {
    weights: Weights,
    /// Where parameters become leaves; without it they are constants.
    tape: Option<Tape>,
    training: Option<Training>,
    compute: DType,
    /// Whether U-Nets run their blocks again in the backward pass.
    recomputes: bool,
    /// Each parameter, as it was first asked for: uses of the same weight accumulate in one leaf.
    bound: Mutex<Vec<Option<Var>>>,
}

impl Context {
    /// For sampling and evaluation: no gradients to the weights, no dropout.
    pub fn inference(weights: &Weights) -> Self {
        Self::new(weights, None, None)
    }

    /// For training: the trainable parameters are leaves on `tape`, dropout is on.
    pub fn training(weights: &Weights, tape: &Tape, training: Training) -> Self {
        Self::new(weights, Some(tape.clone()), Some(training))
    }

    /// With gradients to the weights but without dropout.
    pub fn differentiable(weights: &Weights, tape: &Tape) -> Self {
        Self::new(weights, Some(tape.clone()), None)
    }

    fn new(weights: &Weights, tape: Option<Tape>, training: Option<Training>) -> Self {
        let bound = Mutex::new(vec![None; weights.layout().entries().len()]);
        Context { weights: weights.clone(), tape, training, compute: DType::F32, recomputes: false, bound }
    }

    /// Computes matrix products and convolutions in `dtype` (f32 or bf16); the weights themselves stay in f32.
    pub fn compute_in(self, dtype: DType) -> Self {
        Context { compute: dtype, ..self }
    }

    /// Lets U-Nets keep only what their blocks are given; the backward pass runs the blocks again ([`checkpoint`](Self::checkpoint)).
    pub fn recompute_blocks(self, on: bool) -> Self {
        Context { recomputes: on, ..self }
    }

    /// Whether blocks are run again in the backward pass.
    pub fn recomputes_blocks(&self) -> bool {
        self.recomputes && self.tape.is_some()
    }

    /// The dtype that activations have.
    pub fn compute(&self) -> DType {
        self.compute
    }

    /// The weights of this run.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// A parameter in f32.
    pub fn parameter(&self, id: ParamId) -> Result<Var> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(var)) = bound.get(id.0) {
            return Ok(var.clone());
        }
        let entry = self.weights.layout().entry(id)?;
        let value = self.weights.view(entry)?;
        let var = match &self.tape {
            Some(tape) if entry.trainable => tape.leaf(value),
            _ => Var::constant(value),
        };
        bound[id.0] = Some(var.clone());
        Ok(var)
    }

    /// A parameter in the dtype that is computed in.
    pub fn weight(&self, id: ParamId) -> Result<Var> {
        self.weight_in(id, self.compute)
    }

    /// A parameter in the dtype of what it meets.
    pub fn weight_in(&self, id: ParamId, dtype: DType) -> Result<Var> {
        let parameter = self.parameter(id)?;
        if dtype == DType::F32 { Ok(parameter) } else { ops::cast(&parameter, dtype) }
    }

    /// `x` with each element dropped with probability `p` and the others scaled up, in training; else `x` itself.
    pub fn dropout(&self, x: &Var, p: f64, site: u32) -> Result<Var> {
        let Some(training) = self.training.as_ref().filter(|_| p > 0.0) else { return Ok(x.clone()) };
        let key = RandomKey::new(training.seed, Purpose::Dropout).at_site(site).at_step(training.step);
        ops::dropout(x, p, &Draws { key, samples: training.samples.clone() })
    }

    /// `labels` `[n, k]` with the rows of some samples all zero (no class), each with probability `p`, in training; else `labels`
    /// itself. So one network learns with and without classes (Ho & Salimans 2022, arXiv 2207.12598).
    pub fn drop_labels(&self, labels: &Var, p: f64) -> Result<Var> {
        let Some(training) = self.training.as_ref().filter(|_| p > 0.0) else { return Ok(labels.clone()) };
        let n = labels.shape().first().copied().unwrap_or(0);
        let samples = training.samples.on_cpu()?;
        let key = RandomKey::new(training.seed, Purpose::Labels).at_site(LABEL_DROPOUT).at_step(training.step);
        let draws = ops::uniform([n, 1], DType::F64, &Draws { key, samples }, &Device::Cpu)?.to_vec::<f64>()?;
        let kept: Vec<f32> = draws.iter().map(|&u| if u >= p { 1.0 } else { 0.0 }).collect();
        let kept = Var::constant(Tensor::from_slice(&kept, [n, 1], &labels.device())?);
        ops::mul(labels, &ops::cast(&kept, labels.dtype())?)
    }

    /// The gradients of the weights in one flat tensor, laid out like [`Weights::flat`]; zero where a weight had no part in
    /// the result. They are taken out of `gradients`.
    pub fn flat_gradient(&self, gradients: &mut Gradients) -> Result<Tensor> {
        let mut flat = Tensor::zeros([self.weights.layout().flat_len()], DType::F32, &self.weights.device())?;
        self.accumulate_gradient(gradients, &mut flat)?;
        Ok(flat)
    }

    /// As [`flat_gradient`](Self::flat_gradient), added to `flat`: the sum over several micro-batches.
    pub fn accumulate_gradient(&self, gradients: &mut Gradients, flat: &mut Tensor) -> Result<()> {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = self.weights.layout().entries().iter();
        let parts: Vec<(usize, Tensor)> = entries
            .zip(bound.iter())
            .filter_map(|(entry, var)| Some((entry.offset, gradients.take(var.as_ref()?)?)))
            .collect();
        let parts: Vec<(usize, &Tensor)> = parts.iter().map(|(offset, part)| (*offset, part)).collect();
        ops::flatten(flat, &parts, true)
    }

    /// `block(context, inputs)`, where the tape keeps only the inputs: the backward pass runs the block again.
    ///
    /// `parameters` are the block's own (see [`Scope::enclose`](super::Scope::enclose)). The gradients are those of the
    /// plain call, bit for bit.
    pub fn checkpoint(
        &self,
        parameters: Range<usize>,
        inputs: &[&Var],
        block: impl Fn(&Context, &[Var]) -> Result<Var> + Send + Sync + 'static,
    ) -> Result<Var> {
        let entries = self.weights.layout().entries().len();
        if parameters.end > entries {
            return Err(Error::argument("checkpoint", format!("parameters {parameters:?} of {entries}")));
        }
        let own = parameters.clone().map(|id| self.parameter(ParamId(id))).collect::<Result<Vec<_>>>()?;
        let all: Vec<&Var> = inputs.iter().copied().chain(&own).collect();
        let count = inputs.len();
        let (weights, training, compute) = (self.weights.clone(), self.training.clone(), self.compute);
        autograd::checkpoint(&all, move |vars| {
            let inner = Context::new(&weights, None, training.clone()).compute_in(compute);
            {
                let mut bound = inner.bound.lock().unwrap_or_else(PoisonError::into_inner);
                for (id, var) in parameters.clone().zip(&vars[count..]) {
                    bound[id] = Some(var.clone());
                }
            }
            block(&inner, &vars[..count])
        })
    }
}
