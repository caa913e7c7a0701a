//! One run of a network: weights, tape, and what training adds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::layout::ParamId;
use super::weights::Weights;
use crate::autograd::{self, Gradients, Tape, Var};
use crate::error::{Error, Result};
use crate::ops;
use crate::ops::random::{Address, SampleIds};
use crate::random::Purpose;
use crate::tensor::{DType, Device, Tensor};

/// The site of dropped labels; drawn ones have others.
const LABEL_DROPOUT: u32 = 1;

/// What a forward pass runs with. Layers take their parameters from it by [`ParamId`].
pub struct Context {
    weights: Weights,
    /// Where parameters become leaves; without it they are constants.
    tape: Option<Tape>,
    /// Where random numbers come from.
    address: Option<Address>,
    /// Whether dropout is on and statistics are those of the batch.
    training: bool,
    compute: DType,
    /// Whether U-Nets run their blocks again in the backward pass.
    recomputes: bool,
    /// Each parameter, as it was first asked for: uses of the same weight accumulate in one leaf.
    bound: Arc<Mutex<Vec<Option<Var>>>>,
    /// Of each parameter the uses that read it in bf16 from where it stands so already: leaves of their own, whose
    /// gradients become f32 where they are added up.
    halves: Arc<Mutex<Vec<Vec<Var>>>>,
    /// New values of buffers.
    updates: Arc<Mutex<BTreeMap<ParamId, Tensor>>>,
}

impl Context {
    /// For sampling and evaluation: no gradients to the weights, no dropout.
    pub fn inference(weights: &Weights) -> Self {
        Self::new(weights, None)
    }

    /// For training: the trainable parameters are leaves on `tape`, dropout is on.
    pub fn training(weights: &Weights, tape: &Tape, address: Address) -> Self {
        Context { address: Some(address), training: true, ..Self::new(weights, Some(tape.clone())) }
    }

    /// As in training (dropout and noise are on, statistics are those of the batch), without gradients to the weights:
    /// a player whom another one plays against.
    pub fn opponent(weights: &Weights, address: Address) -> Self {
        Context { address: Some(address), training: true, ..Self::new(weights, None) }
    }

    /// Another pass of the same network in the same step, on other samples: with the same leaves, so that its gradients
    /// add to this one's, and with random numbers of its own, those of the samples from `first` on. What it
    /// [updates](Self::update) is dropped. Errors without an address.
    pub fn beside(&self, first: u32) -> Result<Self> {
        let address = Address { samples: SampleIds::From(first), ..self.address()?.clone() };
        Ok(Context {
            weights: self.weights.clone(),
            tape: self.tape.clone(),
            address: Some(address),
            training: self.training,
            compute: self.compute,
            recomputes: self.recomputes,
            bound: self.bound.clone(),
            halves: self.halves.clone(),
            updates: Arc::default(),
        })
    }

    /// With gradients to the weights but without dropout.
    pub fn differentiable(weights: &Weights, tape: &Tape) -> Self {
        Self::new(weights, Some(tape.clone()))
    }

    fn new(weights: &Weights, tape: Option<Tape>) -> Self {
        let count = weights.layout().entries().len();
        let (bound, halves) = (Arc::new(Mutex::new(vec![None; count])), Arc::new(Mutex::new(vec![Vec::new(); count])));
        let (weights, updates) = (weights.clone(), Arc::default());
        Context {
            weights,
            tape,
            address: None,
            training: false,
            compute: DType::F32,
            recomputes: false,
            bound,
            halves,
            updates,
        }
    }

    /// Takes random numbers from this address; whether dropout is on stays as it is.
    pub fn at(self, address: Address) -> Self {
        Context { address: Some(address), ..self }
    }

    /// Where random numbers come from. Errors if nobody said that: a context for inference has no address unless it is
    /// [given](Self::at) one.
    pub fn address(&self) -> Result<&Address> {
        let missing = || Error::argument("Context", "random numbers need an address: give one with `Context::at`");
        self.address.as_ref().ok_or_else(missing)
    }

    /// Computes matrix products and convolutions in `dtype` (f32 or bf16); the weights themselves stay in f32.
    pub fn compute_in(self, dtype: DType) -> Self {
        Context { compute: dtype, ..self }
    }

    /// Lets U-Nets keep only what their blocks are given; the backward pass runs the blocks again
    /// ([`checkpoint`](Self::checkpoint)).
    pub fn recompute_blocks(self, on: bool) -> Self {
        Context { recomputes: on, ..self }
    }

    /// Whether blocks are run again in the backward pass.
    pub fn recomputes_blocks(&self) -> bool {
        self.recomputes && self.tape.is_some()
    }

    /// A leaf beside the parameters: an input by which what they compute is differentiated in turn, as the
    /// [penalties](crate::players::penalty) of discriminators do. Errors in a context for inference, which has no tape.
    pub fn leaf(&self, value: impl Into<Var>) -> Result<Var> {
        let missing = || Error::argument("Context::leaf", "this context has no tape: it is for inference");
        Ok(self.tape.as_ref().ok_or_else(missing)?.leaf(value.into().into_value()))
    }

    /// The dtype that activations have.
    pub fn compute(&self) -> DType {
        self.compute
    }

    /// Whether this is a training step's forward pass: dropout is on, and statistics are those of the batch.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// The value of a buffer as this run has left it so far.
    pub fn buffer(&self, id: ParamId) -> Result<Var> {
        let updated = locked(&self.updates).get(&id).cloned();
        updated.map_or_else(|| self.parameter(id), |value| Ok(value.into()))
    }

    /// Gives a buffer a new value, from the next step on: the trainer takes it over when it changes the weights, and
    /// not if the step fails.
    ///
    /// Errors unless `id` is a buffer and the value f32 of its shape.
    pub fn update(&self, id: ParamId, value: Tensor) -> Result<()> {
        self.weights.check_buffer(id, &value)?;
        locked(&self.updates).insert(id, value);
        Ok(())
    }

    /// The weights with what this run has given its buffers, if it has given them anything.
    pub fn updated(&self) -> Result<Option<Weights>> {
        let updates = locked(&self.updates);
        if updates.is_empty() {
            return Ok(None);
        }
        self.weights.with_buffers(updates.iter().map(|(id, value)| (*id, value))).map(Some)
    }

    /// The trainable parameters that nothing has asked for.
    pub fn unused(&self) -> Vec<&str> {
        let (bound, halves) = (locked(&self.bound), locked(&self.halves));
        let entries = self.weights.layout().entries().iter().zip(bound.iter().zip(halves.iter()));
        let unused = entries.filter(|(entry, (var, halves))| entry.trainable && var.is_none() && halves.is_empty());
        unused.map(|(entry, _)| entry.name.as_str()).collect()
    }

    /// The weights of this run.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// A parameter in f32.
    pub fn parameter(&self, id: ParamId) -> Result<Var> {
        let mut bound = locked(&self.bound);
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
        let entry = self.weights.layout().entry(id)?;
        let half = if dtype == DType::BF16 { self.weights.half(entry)? } else { None };
        let Some(half) = half else { return ops::cast(&self.parameter(id)?, dtype) };
        // Within a block that is run again the parameter is the block's input.
        let is_bound = locked(&self.bound).get(id.0).is_some_and(Option::is_some);
        match &self.tape {
            Some(tape) if entry.trainable && !is_bound => {
                let leaf = tape.leaf(half);
                locked(&self.halves)[id.0].push(leaf.clone());
                Ok(leaf)
            }
            _ => ops::cast_to(&self.parameter(id)?, half),
        }
    }

    /// `x` with each element dropped with probability `p` and the others scaled up, in training; else `x` itself.
    pub fn dropout(&self, x: &Var, p: f64, site: u32) -> Result<Var> {
        match self.training && p > 0.0 {
            true => ops::dropout(x, p, &self.address()?.draws_at(Purpose::Dropout, site)),
            false => Ok(x.clone()),
        }
    }

    /// `labels` `[n, k]` with the rows of some samples all zero (no class), each with probability `p`, in training;
    /// else `labels` itself. So one network learns with and without classes (Ho & Salimans 2022, arXiv 2207.12598).
    pub fn drop_labels(&self, labels: &Var, p: f64) -> Result<Var> {
        if !self.training || p == 0.0 {
            return Ok(labels.clone());
        }
        let n = labels.shape().first().copied().unwrap_or(0);
        let draws = self.address()?.on_cpu()?.draws_at(Purpose::Labels, LABEL_DROPOUT);
        let draws = ops::uniform([n, 1], DType::F64, &draws, &Device::Cpu)?.to_vec::<f64>()?;
        let kept: Vec<f32> = draws.iter().map(|&u| if u >= p { 1.0 } else { 0.0 }).collect();
        let kept = Var::constant(Tensor::from_slice(&kept, [n, 1], &labels.device())?);
        ops::mul(labels, &ops::cast(&kept, labels.dtype())?)
    }

    /// The gradients of the weights in one flat tensor, laid out like [`Weights::flat`]; zero where a weight had no
    /// part in the result. They are taken out of `gradients`.
    pub fn flat_gradient(&self, gradients: &mut Gradients) -> Result<Tensor> {
        let mut flat = Tensor::zeros([self.weights.layout().flat_len()], DType::F32, &self.weights.device())?;
        self.accumulate_gradient(gradients, &mut flat)?;
        Ok(flat)
    }

    /// As [`flat_gradient`](Self::flat_gradient), added to `flat`: the sum over several micro-batches.
    pub fn accumulate_gradient(&self, gradients: &mut Gradients, flat: &mut Tensor) -> Result<()> {
        let (bound, halves) = (locked(&self.bound), locked(&self.halves));
        // Parts of one call must not overlap: the first gradient of each parameter, then the second of those that have
        // one, and so on.
        let mut calls: Vec<Vec<(usize, Tensor)>> = Vec::new();
        let entries = self.weights.layout().entries().iter();
        for (entry, (var, halves)) in entries.zip(bound.iter().zip(halves.iter())) {
            let found = var.iter().chain(halves).filter_map(|var| gradients.take(var));
            for (call, part) in found.enumerate() {
                if calls.len() == call {
                    calls.push(Vec::new());
                }
                calls[call].push((entry.offset, part));
            }
        }
        for parts in &calls {
            let parts: Vec<(usize, &Tensor)> = parts.iter().map(|(offset, part)| (*offset, part)).collect();
            ops::flatten(flat, &parts, true)?;
        }
        Ok(())
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
        let (weights, address, training, compute) =
            (self.weights.clone(), self.address.clone(), self.training, self.compute);
        let (updates, again) = (self.updates.clone(), AtomicBool::new(false));
        autograd::checkpoint(&all, move |vars| {
            let mut inner = Context { address: address.clone(), training, compute, ..Context::new(&weights, None) };
            // The second run changes no buffer a second time.
            if !again.swap(true, Ordering::Relaxed) {
                inner.updates = updates.clone();
            }
            {
                let mut bound = locked(&inner.bound);
                for (id, var) in parameters.clone().zip(&vars[count..]) {
                    bound[id] = Some(var.clone());
                }
            }
            block(&inner, &vars[..count])
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
