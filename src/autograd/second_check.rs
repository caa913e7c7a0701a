//! Gradients of gradients against central differences.

use super::grad_check::{GradCheck, check_precise, compare, cotangent};
use super::{Backward, Gradients, Tape, Var};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// As [`grad_check`](super::grad_check()), one order higher: compares the gradient of the gradients of `f` with central
/// differences of the gradients of first order.
///
/// What is differentiated is `sum over inputs of sum(c * gradient)`, with respect to each entry of each input and of
/// the cotangent that the gradients are taken with; the cotangent and the `c` are fixed sequences without symmetry.
/// `inputs` are f64 tensors on the CPU.
///
/// Errors where `f` does, with [`Error::NoHigherGradient`] where it passes an operation without such gradients, on
/// other dtypes, or with the first entry that is off; the input of the highest number is the cotangent.
pub fn second_grad_check(f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor], options: GradCheck) -> Result<()> {
    check_precise("second_grad_check", inputs)?;
    let weights: Vec<Tensor> =
        inputs.iter().enumerate().map(|(i, input)| cotangent(input.shape(), 5 * i + 8)).collect::<Result<_>>()?;
    let tape = Tape::new();
    let leaves: Vec<Var> = inputs.iter().map(|input| tape.leaf(input.clone())).collect();
    let y = f(&leaves)?;
    let dy = tape.leaf(cotangent(y.shape(), 3)?);

    let mut gradients: Option<Gradients> = None;
    let of: Vec<&Var> = leaves.iter().collect();
    for (gradient, weights) in y.gradient_with(&dy, &of)?.into_iter().zip(&weights) {
        let Some(gradient) = gradient.filter(Var::requires_grad) else { continue };
        let options = Backward { cotangent: Some(weights.clone()), retain: true, ..Default::default() };
        let further = gradient.backward_with(options)?;
        match &mut gradients {
            Some(gradients) => gradients.accumulate(further)?,
            None => gradients = Some(further),
        }
    }
    let gradients = gradients.unwrap_or_default();

    let value = |all: &[Tensor]| -> Result<f64> {
        let tape = Tape::new();
        let leaves: Vec<Var> = all.iter().map(|input| tape.leaf(input.clone())).collect();
        let (dy, leaves) = leaves.split_last().ok_or_else(|| Error::Autograd("no cotangent".into()))?;
        let options = Backward { cotangent: Some(dy.value().clone()), ..Default::default() };
        let gradients = f(leaves)?.backward_with(options)?;
        let mut sum = 0.0;
        for (leaf, weights) in leaves.iter().zip(&weights) {
            let Some(gradient) = gradients.get(leaf) else { continue };
            sum += gradient.to_vec::<f64>()?.iter().zip(weights.to_vec::<f64>()?).map(|(g, c)| g * c).sum::<f64>();
        }
        Ok(sum)
    };
    let all: Vec<Tensor> = inputs.iter().chain([dy.value()]).cloned().collect();
    let analytic: Vec<Option<&Tensor>> = leaves.iter().chain([&dy]).map(|leaf| gradients.get(leaf)).collect();
    compare(&all, &analytic, value, options)
}
