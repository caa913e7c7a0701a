//! Gradients against central differences.

use super::{Backward, Tape, Var};
use crate::error::{Error, Result};
use crate::tensor::{DType, Device, Shape, Tensor};

/// How [`grad_check`] compares. The defaults are PyTorch's `gradcheck`.
#[derive(Debug, Clone, Copy)]
pub struct GradCheck {
    /// Step of the central difference.
    pub eps: f64,
    /// Absolute tolerance.
    pub atol: f64,
    /// Relative tolerance.
    pub rtol: f64,
}

impl Default for GradCheck {
    fn default() -> Self {
        GradCheck { eps: 1e-6, atol: 1e-5, rtol: 1e-3 }
    }
}

/// Compares every entry of every input's gradient with a central difference of `sum(cotangent * f(inputs))`, where the
/// cotangent is a fixed sequence without symmetry. `inputs` are f64 tensors on the CPU.
///
/// Errors where `f` does, on other dtypes, or with the first entry that is off: input, index, both values.
pub fn grad_check(f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor], options: GradCheck) -> Result<()> {
    check_precise("grad_check", inputs)?;
    let tape = Tape::new();
    let leaves: Vec<Var> = inputs.iter().map(|input| tape.leaf(input.clone())).collect();
    let y = f(&leaves)?;
    let dy = cotangent(y.shape(), 3)?;
    let cotangent = dy.to_vec::<f64>()?;
    let gradients = y.backward_with(Backward { cotangent: Some(dy), ..Default::default() })?;

    let value = |inputs: &[Tensor]| -> Result<f64> {
        let constants: Vec<Var> = inputs.iter().map(Var::from).collect();
        let y = f(&constants)?.into_value().to_vec::<f64>()?;
        Ok(y.iter().zip(&cotangent).map(|(y, c)| y * c).sum())
    };
    let analytic: Vec<Option<&Tensor>> = leaves.iter().map(|leaf| gradients.get(leaf)).collect();
    compare(inputs, &analytic, value, options)
}

/// Errors of `op` unless all inputs are f64.
pub(super) fn check_precise(op: &'static str, inputs: &[Tensor]) -> Result<()> {
    match inputs.iter().find(|input| input.dtype() != DType::F64) {
        Some(other) => Err(Error::dtype(op, "f64", other.dtype())),
        None => Ok(()),
    }
}

/// A fixed sequence without symmetry.
pub(super) fn cotangent(shape: &Shape, from: usize) -> Result<Tensor> {
    let values = (0..shape.elements()).map(|i| ((i * 7 + from) % 11) as f64 / 5.0 - 0.9).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Compares gradients of `value` at `inputs` (`None`: zeros) with its central differences; the first that is off is the
/// error.
pub(super) fn compare(
    inputs: &[Tensor],
    analytic: &[Option<&Tensor>],
    value: impl Fn(&[Tensor]) -> Result<f64>,
    options: GradCheck,
) -> Result<()> {
    for (which, (input, analytic)) in inputs.iter().zip(analytic).enumerate() {
        let analytic = match analytic {
            Some(gradient) => gradient.to_vec::<f64>()?,
            None => vec![0.0; input.len()],
        };
        for (index, &analytic) in analytic.iter().enumerate() {
            let shifted = |by: f64| -> Result<f64> {
                let mut inputs = inputs.to_vec();
                inputs[which].as_mut_slice::<f64>()?[index] += by;
                value(&inputs)
            };
            let numeric = (shifted(options.eps)? - shifted(-options.eps)?) / (2.0 * options.eps);
            let off = (analytic - numeric).abs();
            if off.is_nan() || off > options.atol + options.rtol * numeric.abs() {
                return Err(Error::Autograd(format!(
                    "gradient of input {which}{} at element {index}: {analytic} from the rule, {numeric} from differences",
                    input.shape()
                )));
            }
        }
    }
    Ok(())
}
