//! Activation checkpointing: memory for time.

use super::{Backward, Gradients, Tape, Var};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// `block(inputs)` without keeping what the block computes in between; the backward pass runs the block again.
///
/// `inputs` must hold everything that a gradient is to flow to, weights included: what `block` captures besides is a
/// constant to it. `block` must be a pure function (its random numbers included, which Philox keys make easy), so that
/// the second run repeats the first; then gradients are those of the plain call, bit for bit. Where gradients are
/// differentiated in turn ([`Var::gradient`]) the second run stays on the tape, and saves no memory.
///
/// Chen et al. 2016 (arXiv 1604.06174).
pub fn checkpoint(inputs: &[&Var], block: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static) -> Result<Var> {
    let constants: Vec<Var> = inputs.iter().map(|input| input.detach()).collect();
    let y = block(&constants)?;
    if y.requires_grad() {
        return Err(Error::Autograd(
            "a checkpointed block captured a variable that requires a gradient; pass it through `inputs`".into(),
        ));
    }
    let values: Vec<Tensor> = constants.into_iter().map(Var::into_value).collect();
    Var::record_all_higher("checkpoint", y.into_value(), inputs, move |dy, at| {
        if at.is_recorded() {
            return at.through(dy, &values, &block);
        }
        let tape = Tape::new();
        let variable = |(i, value): (usize, &Tensor)| match at.wants(i) {
            true => tape.leaf(value.clone()),
            false => Var::constant(value.clone()),
        };
        let inputs: Vec<Var> = values.iter().enumerate().map(variable).collect();
        let y = block(&inputs)?;
        let mut gradients = match y.requires_grad() {
            true => y.backward_with(Backward { cotangent: Some(dy.value().clone()), ..Default::default() })?,
            false => Gradients::default(),
        };
        let zeros = |like: &Var| Tensor::zeros(like.shape(), like.dtype(), &like.device());
        let gradient = |(i, input): (usize, &Var)| {
            at.wanted(i, || gradients.take(input).map_or_else(|| zeros(input), Ok).map(Var::constant))
        };
        inputs.iter().enumerate().map(gradient).collect()
    })
}
