//! Reads the files of reference cases in `tests/golden`: inputs, outputs, cotangents and gradients in f64, made by
//! public implementations.

#[path = "../locate/mod.rs"]
mod locate;

use safetensors::SafeTensors;
use serde_json::Value;
use veridical::{DType, Device, Tensor};

/// One case of a file.
#[allow(dead_code)] // not every user of the files looks at everything
pub struct Case {
    pub id: String,
    pub op: String,
    pub params: Value,
    pub inputs: Vec<String>,
    tolerance: Value,
    scale: Value,
    tensors: Vec<(String, Vec<usize>, Vec<f64>)>,
}

/// The cases of `tests/golden/<file>.safetensors`.
pub fn cases(file: &str) -> Vec<Case> {
    let path = locate::golden().join(format!("{file}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let list: Vec<Value> = serde_json::from_str(&header.metadata().as_ref().unwrap()["veridical.cases"]).unwrap();
    let strings = |v: &Value| v.as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_string()).collect();
    list.iter()
        .map(|json| {
            let id = json["id"].as_str().unwrap().to_string();
            let own = tensors.iter().filter_map(|(name, view)| {
                let short = name.strip_prefix(&id)?.strip_prefix('/')?;
                assert_eq!(view.dtype(), safetensors::Dtype::F64, "{name}");
                let data = view.data().chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
                Some((short.to_string(), view.shape().to_vec(), data))
            });
            Case {
                op: json["op"].as_str().unwrap().into(),
                params: json["params"].clone(),
                inputs: strings(&json["inputs"]),
                tolerance: json["tol"].clone(),
                scale: json["scale"].clone(),
                tensors: own.collect(),
                id,
            }
        })
        .collect()
}

impl Case {
    /// A setting that is a number.
    pub fn param(&self, name: &str) -> f64 {
        self.params[name].as_f64().unwrap_or_else(|| panic!("{}: no number {name}", self.id))
    }

    /// Shape and elements of a tensor such as `in/x`, `out/y`, `cot/y`, `grad/x`.
    pub fn array(&self, name: &str) -> (&[usize], &[f64]) {
        let found = self.tensors.iter().find(|(other, ..)| other == name);
        let (_, shape, data) = found.unwrap_or_else(|| panic!("{}: no {name}", self.id));
        (shape, data)
    }

    /// The same as a tensor.
    pub fn tensor(&self, name: &str, dtype: DType, device: &Device) -> Tensor {
        let (shape, data) = self.array(name);
        tensor(data, shape, dtype, device)
    }

    /// The tolerance for a precision; `None`: it is not compared.
    pub fn tolerance(&self, dtype: DType) -> Option<f64> {
        self.tolerance[dtype.to_string()].as_f64()
    }

    /// Compares with a stored tensor: `max |got - ref| <= tol max(max |ref|, scale)` over the finite entries, the
    /// others equal.
    pub fn compare(&self, name: &str, dtype: DType, got: &[f64]) {
        let (_, reference) = self.array(name);
        let scale = self.scale[name].as_f64().unwrap_or(0.0);
        let largest = reference.iter().filter(|x| x.is_finite()).fold(scale, |max, x| max.max(x.abs()));
        let allowed = self.tolerance(dtype).unwrap() * largest;
        assert_eq!(got.len(), reference.len(), "{} {name}", self.id);
        for (i, (&got, &want)) in got.iter().zip(reference).enumerate() {
            assert!(
                got == want || (got - want).abs() <= allowed,
                "{} {name} in {dtype}: element {i} is {got}, not {want} (allowed {allowed:e})",
                self.id
            );
        }
    }
}

/// A tensor of the elements, rounded to `dtype`.
pub fn tensor(data: &[f64], shape: &[usize], dtype: DType, device: &Device) -> Tensor {
    match dtype {
        DType::F32 => Tensor::from_slice(&data.iter().map(|&x| x as f32).collect::<Vec<_>>(), shape, device),
        DType::BF16 => {
            Tensor::from_slice(&data.iter().map(|&x| half::bf16::from_f64(x)).collect::<Vec<_>>(), shape, device)
        }
        _ => Tensor::from_slice(data, shape, device),
    }
    .unwrap()
}
