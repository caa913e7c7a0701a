//! Activation checkpointing: memory for time.

use super::{Backward, Tape, Var};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// `block(inputs)` without keeping what the block computes in between; the backward pass runs the block again.
///
/// `inputs` must hold everything that a gradient is to flow to, weights included: what `block` captures besides is a
/// constant to it. `block` must be a pure function (its random numbers included, which Philox keys make easy), so that
/// the second run repeats the first; then gradients are those of the plain call, bit for bit.
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
    Var::record_all("checkpoint", y.into_value(), inputs, move |dy, wanted| {
        let tape = Tape::new();
        let variable = |(value, &wanted): (&Tensor, &bool)| match wanted {
            true => tape.leaf(value.clone()),
            false => Var::constant(value.clone()),
        };
        let inputs: Vec<Var> = values.iter().zip(wanted).map(variable).collect();
        let y = block(&inputs)?;
        if !y.requires_grad() {
            return inputs.iter().map(|input| zero_if(input.requires_grad(), input)).collect();
        }
        let mut gradients = y.backward_with(Backward { cotangent: Some(dy.clone()), ..Default::default() })?;
        inputs
            .iter()
            .map(|input| match gradients.take(input) {
                Some(gradient) => Ok(Some(gradient)),
                None => zero_if(input.requires_grad(), input),
            })
            .collect()
    })
}

fn zero_if(needed: bool, like: &Var) -> Result<Option<Tensor>> {
    needed.then(|| Tensor::zeros(like.shape(), like.dtype(), &like.device())).transpose()
}
