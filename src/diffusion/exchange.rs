//! Samples and labels as files hold them, for checking a model against its origin: images are NCHW.

use std::collections::BTreeMap;
use std::path::Path;

use super::denoiser::Denoiser;
use super::model::Model;
use crate::error::{Error, Result};
use crate::nn::Conditions;
use crate::ops::permute::permuted;
use crate::tensor::{DType, Device, Tensor, TensorFile, file};

/// Samples that are denoised at once.
const AT_ONCE: usize = 64;

impl Denoiser {
    /// The samples called `name` in `file`, `[n, channels, height, width]` (or `[n, dims]` for points), as this model
    /// takes them: `[n, height, width, channels]` in `dtype` (f32 or f64). Errors if they are missing, of another shape
    /// or not finite.
    pub fn samples_from(&self, file: &TensorFile, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let sample = self.sample_shape();
        let expected = match sample[..] {
            [h, w, c] => vec![c, h, w],
            _ => sample,
        };
        let fits = |shape: &[usize]| shape.len() == expected.len() + 1 && shape[1..] == expected[..];
        let wanted = format!("{name} [n, {}]", list(&expected));
        match file.shape(name) {
            None => return Err(Error::format(file.path(), format!("no tensor {name}, expected {wanted}"))),
            Some(shape) if !fits(shape) => {
                return Err(Error::format(file.path(), format!("{name} is {shape:?}, expected {wanted}")));
            }
            Some(_) => {}
        }
        let samples = file.tensor(name, dtype, device)?;
        let samples = samples.ok_or_else(|| Error::format(file.path(), format!("no tensor {name}")))?;
        if samples.shape().rank() == 4 { permuted(&samples, &[0, 2, 3, 1]) } else { Ok(samples) }
    }

    /// The labels called `name` in `file`, `[n, dim]` in f32; none if the file has none. Errors on another shape, and
    /// on labels for a model that takes none (`dim` 0).
    pub fn labels_from(
        &self,
        file: &TensorFile,
        name: &str,
        [n, dim]: [usize; 2],
        device: &Device,
    ) -> Result<Option<Tensor>> {
        let Some(shape) = file.shape(name) else { return Ok(None) };
        if dim == 0 {
            return Err(Error::format(file.path(), format!("it has {name}, but the model takes none; leave them out")));
        }
        if shape != [n, dim] {
            return Err(Error::format(file.path(), format!("{name} is {shape:?}, expected [{n}, {dim}]")));
        }
        file.tensor(name, DType::F32, device)
    }
}

impl Model {
    /// `D(x; sigma)` for what `file` holds: `x` `[n, channels, height, width]` (or `[n, dims]`), `sigma` `[n]`, and,
    /// where the model takes them, `class_labels` `[n, label_dim]` and `augment_labels` `[n, augment_dim]`, both of
    /// which may be left out.
    ///
    /// The result is f32, as the model has it: `[n, height, width, channels]`; see [`write_samples`]. Errors with the
    /// tensor that is missing, of another shape or not finite, and unless every sigma is positive.
    pub fn denoise_file(&self, file: &TensorFile) -> Result<Tensor> {
        let (denoiser, device) = (self.denoiser(), self.weights.device());
        let x = denoiser.samples_from(file, "x", DType::F32, &device)?;
        let n = x.shape()[0];
        let Some(sigmas) = file.tensor("sigma", DType::F64, &Device::Cpu)? else {
            return Err(Error::format(file.path(), format!("no tensor sigma, expected sigma [{n}]")));
        };
        if sigmas.shape()[..] != [n] {
            let what = format!("sigma is {}, expected [{n}] as for x {}", sigmas.shape(), x.shape());
            return Err(Error::format(file.path(), what));
        }
        let sigmas = sigmas.to_vec::<f64>()?;
        if let Some(i) = sigmas.iter().position(|&sigma| sigma <= 0.0) {
            return Err(Error::format(file.path(), format!("sigma[{i}] is {}; it must be positive", sigmas[i])));
        }
        let classes = denoiser.labels_from(file, "class_labels", [n, denoiser.label_dim()], &device)?;
        let augment = denoiser.labels_from(file, "augment_labels", [n, denoiser.augment_dim()], &device)?;
        let mut values = Vec::with_capacity(x.len());
        for first in (0..n).step_by(AT_ONCE) {
            let count = AT_ONCE.min(n - first);
            let part = |labels: &Option<Tensor>| labels.as_ref().map(|all| all.narrow(first, count)).transpose();
            let (classes, augment) = (part(&classes)?.map(Into::into), part(&augment)?.map(Into::into));
            let conditions = Conditions { class_labels: classes.as_ref(), augment_labels: augment.as_ref() };
            let denoised = self.denoise_each(&x.narrow(first, count)?, &sigmas[first..first + count], conditions)?;
            values.extend(denoised.to_vec::<f32>()?);
        }
        Tensor::from_slice(&values, x.shape(), &Device::Cpu)
    }
}

/// Writes f32 samples as the tensor `name` of a safetensors file: `[n, height, width, channels]` as NCHW, others as
/// they are. Errors on output, and if a number is not finite.
pub fn write_samples(path: impl AsRef<Path>, name: &str, samples: &Tensor) -> Result<()> {
    let samples = if samples.shape().rank() == 4 { permuted(samples, &[0, 3, 1, 2])? } else { samples.clone() };
    let values = samples.to_vec::<f32>()?;
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        let row = values.len() / samples.shape().first().copied().unwrap_or(1).max(1);
        let what = format!("sample {} of {name}", i / row.max(1));
        return Err(Error::NonFinite { what, found: format!("{} at element {}", values[i], i % row.max(1)) });
    }
    file::write(path, [(name, samples.shape().clone(), values)], &BTreeMap::new())
}

fn list(extents: &[usize]) -> String {
    extents.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
