//! One case on one device in one precision: what an adapter is given, and how its results are compared.

use std::collections::HashMap;

use safetensors::SafeTensors;
use serde_json::Value;
use veridical::autograd::{Backward, Gradients};
use veridical::{DType, Device, Error, Result, Tape, Tensor, Var, ops};

use crate::fixture::{Case, Stored, compare, stored};

/// A case's inputs and settings, by name. An unknown name is an error, not a panic: the case then fails with a message.
pub struct Call<'a> {
    case: &'a Case,
    device: Device,
    pub dtype: DType,
    tape: Tape,
    floats: HashMap<&'a str, Var>,
    integers: HashMap<&'a str, Tensor>,
}

impl Call<'_> {
    /// A floating-point input.
    pub fn var(&self, name: &str) -> Result<Var> {
        self.floats.get(name).cloned().ok_or_else(|| self.lacks("input", name))
    }

    /// Whether there is such an input.
    pub fn has(&self, name: &str) -> bool {
        self.floats.contains_key(name)
    }

    /// A leaf on the tape of the inputs: what a result is differentiated by on the way.
    pub fn leaf(&self, value: &Tensor) -> Var {
        self.tape.leaf(value.clone())
    }

    /// An input in the precision that losses are computed in: f32 for bf16.
    pub fn wide(&self, name: &str) -> Result<Var> {
        ops::cast(&self.var(name)?, self.statistics())
    }

    /// The dtype of statistics and losses: f64 for f64, else f32.
    pub fn statistics(&self) -> DType {
        if self.dtype == DType::F64 { DType::F64 } else { DType::F32 }
    }

    /// An NCHW input (or a weight `[o, c, kh, kw]`) with its channels last, as the crate has them.
    pub fn channels_last(&self, name: &str) -> Result<Var> {
        ops::permute(&self.var(name)?, &[0, 2, 3, 1])
    }

    /// An integer input, as u32.
    pub fn labels(&self, name: &str) -> Result<Tensor> {
        self.integers.get(name).cloned().ok_or_else(|| self.lacks("integer input", name))
    }

    /// A constant in the precision of losses.
    pub fn constant(&self, shape: &[usize], f: impl FnMut(usize) -> f64) -> Result<Var> {
        let data: Vec<f64> = (0..shape.iter().product()).map(f).collect();
        let stored = Stored { shape: shape.to_vec(), data, integer: false };
        tensor(&stored, self.statistics(), &self.device).map(Var::constant)
    }

    pub fn number(&self, name: &str) -> Result<f64> {
        self.param(name, Value::as_f64)
    }

    pub fn count(&self, name: &str) -> Result<usize> {
        self.param(name, Value::as_u64).map(|count| count as usize)
    }

    pub fn flag(&self, name: &str) -> Result<bool> {
        self.param(name, Value::as_bool)
    }

    pub fn word(&self, name: &str) -> Result<&str> {
        self.case.params.get(name).and_then(Value::as_str).ok_or_else(|| self.lacks("setting", name))
    }

    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        self.param(name, |list| list.as_array()?.iter().map(Value::as_f64).collect())
    }

    fn param<T>(&self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T> {
        self.case.params.get(name).and_then(read).ok_or_else(|| self.lacks("setting", name))
    }

    fn lacks(&self, what: &str, name: &str) -> Error {
        Error::Config(format!("the case has no {what} `{name}` of that kind"))
    }
}

/// Gradients that vanish because equal terms cancel, of a size that the file does not tell: attention over a single
/// token.
const CANCELLATIONS: [(&str, &str, f64); 2] =
    [("attention-2x1x8-h2", "grad/q", 1.0), ("attention-2x1x8-h2", "grad/k", 1.0)];

/// The size of the terms whose difference the tensor `key` is, if it is one.
fn scale(case: &Case, key: &str) -> f64 {
    let known = CANCELLATIONS.iter().find(|(id, of, _)| *id == case.id && *of == key);
    case.scale.get(key).copied().or(known.map(|&(_, _, scale)| scale)).unwrap_or(0.0)
}

/// Turns a case's inputs into its outputs, in their order. Those that the crate does not make may be left out at the
/// end.
pub type Adapter = Box<dyn Fn(&Call) -> Result<Vec<Var>>>;

/// Runs a case and compares every output and gradient; the first that is off is the error.
pub fn check(
    case: &Case,
    tensors: &SafeTensors,
    adapter: &Adapter,
    device: &Device,
    dtype: DType,
    tolerance: f64,
) -> std::result::Result<(), String> {
    let tape = Tape::new();
    let mut call = Call {
        case,
        device: device.clone(),
        dtype,
        tape: tape.clone(),
        floats: HashMap::new(),
        integers: HashMap::new(),
    };
    for name in &case.inputs {
        let values = find(tensors, case, "in", name).ok_or_else(|| format!("no tensor in/{name}"))?;
        let value = tensor(&values, dtype, device).map_err(text)?;
        if values.integer {
            call.integers.insert(name, value);
        } else {
            let wanted = case.grads.contains(name);
            call.floats.insert(name, if wanted { tape.leaf(value) } else { Var::constant(value) });
        }
    }
    let outputs = adapter(&call).map_err(text)?;
    if outputs.is_empty() || outputs.len() > case.outputs.len() {
        return Err(format!("the adapter made {} of {} outputs", outputs.len(), case.outputs.len()));
    }
    let off = |kind: &str, name: &str, got: &Tensor| -> std::result::Result<(), String> {
        let key = format!("{kind}/{name}");
        let expected = find(tensors, case, kind, name).ok_or_else(|| format!("no tensor {key}"))?;
        if got.shape()[..] != expected.shape {
            return Err(format!("{key} has shape {}, expected {:?}", got.shape(), expected.shape));
        }
        compare(&got.to_f64().map_err(text)?, &expected.data, tolerance, scale(case, &key))
            .map_err(|e| format!("{key}: {e}"))
    };
    for (name, output) in case.outputs.iter().zip(&outputs) {
        off("out", name, output.value())?;
    }
    if case.grads.is_empty() {
        return Ok(());
    }
    let gradients = differentiate(case, tensors, &outputs, device)?;
    for name in &case.grads {
        let leaf = call.floats.get(name.as_str()).ok_or_else(|| format!("the gradient of an integer: {name}"))?;
        let zeros = || Tensor::zeros(leaf.shape(), dtype, device);
        let gradient = gradients.get(leaf).cloned().map_or_else(zeros, Ok).map_err(text)?;
        off("grad", name, &gradient)?;
    }
    Ok(())
}

/// The gradients of the sum of `cot * out` over the outputs that have a cotangent; without any, of the first output.
fn differentiate(
    case: &Case,
    tensors: &SafeTensors,
    outputs: &[Var],
    device: &Device,
) -> std::result::Result<Gradients, String> {
    let mut sum: Option<Gradients> = None;
    for (name, output) in case.outputs.iter().zip(outputs) {
        let Some(cotangent) = find(tensors, case, "cot", name) else { continue };
        let cotangent = Some(tensor(&cotangent, output.dtype(), device).map_err(text)?);
        let options = Backward { cotangent, retain: true, ..Default::default() };
        let gradients = output.backward_with(options).map_err(text)?;
        match &mut sum {
            Some(sum) => sum.accumulate(gradients).map_err(text)?,
            None => sum = Some(gradients),
        }
    }
    match (sum, outputs.first()) {
        (Some(sum), _) => Ok(sum),
        (None, Some(first)) => first.backward().map_err(text),
        (None, None) => Err("no outputs".into()),
    }
}

fn find(tensors: &SafeTensors, case: &Case, kind: &str, name: &str) -> Option<Stored> {
    stored(tensors, &format!("{}/{kind}/{name}", case.id))
}

fn tensor(stored: &Stored, dtype: DType, device: &Device) -> Result<Tensor> {
    let (data, shape) = (&stored.data, stored.shape.as_slice());
    match dtype {
        _ if stored.integer => Tensor::from_slice(&data.iter().map(|&x| x as u32).collect::<Vec<_>>(), shape, device),
        DType::F32 => Tensor::from_slice(&data.iter().map(|&x| x as f32).collect::<Vec<_>>(), shape, device),
        DType::BF16 => {
            let data: Vec<_> = data.iter().map(|&x| half::bf16::from_f64(x)).collect();
            Tensor::from_slice(&data, shape, device)
        }
        _ => Tensor::from_slice(data, shape, device),
    }
}

fn text(error: Error) -> String {
    error.to_string()
}
