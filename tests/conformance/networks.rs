//! Whole score networks: files with the metadata key `veridical.model`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use veridical::autograd::Backward;
use veridical::diffusion::{Model, ModelConfig};
use veridical::nn::Conditions;
use veridical::nn::{self, Context};
use veridical::{DType, Device, Tape, Tensor, Var};

/// Relative to the largest magnitude of a tensor: results, gradients.
const F32: (f64, f64) = (2e-5, 1e-4);
const BF16: f64 = 3e-2;

/// Whether `path` holds a network that this version builds; the reason if not.
pub fn understood(path: &Path) -> Result<(), String> {
    let metadata = nn::metadata(path).map_err(|error| error.to_string())?;
    let json = metadata.get("veridical.model").ok_or("no network")?;
    let config = ModelConfig::from_json(json).map_err(|error| error.to_string())?;
    config.build().map(drop).map_err(|error| error.to_string())
}

/// Checks results and every gradient of the network at `path` on `device`.
pub fn check(path: &Path, device: &Device) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let model = model(path, &file, device);
    let input = |name: &str| file.tensor(&format!("in.{name}")).ok().map(|view| tensor(&view, device));
    let labels: Option<Var> = input("class_labels").map(Var::constant);
    let augment: Option<Var> = input("augment_labels").map(Var::constant);
    let conditions = Conditions { class_labels: labels.as_ref(), augment_labels: augment.as_ref() };

    let tape = Tape::new();
    let cx = Context::differentiable(&model.weights, &tape);
    let x = tape.leaf(input("raw_x").unwrap());
    let noise = Var::constant(input("raw_noise").unwrap());
    let y = model.denoiser().raw(&cx, &x, &noise, conditions).unwrap();
    compare(path, "out.raw", &nchw(y.value()), &floats(&file.tensor("out.raw").unwrap()), F32.0);

    let cotangent = Some(input("cotangent").unwrap());
    let mut gradients = y.backward_with(Backward { cotangent, ..Default::default() }).unwrap();
    let dx = gradients.take(&x).unwrap();
    compare(path, "grad.raw_x", &nchw(&dx), &floats(&file.tensor("grad.raw_x").unwrap()), F32.1);
    check_weight_gradients(path, &file, &model, cx.flat_gradient(&mut gradients).unwrap());

    let sigmas: Vec<f64> = floats(&file.tensor("in.sigma").unwrap());
    let rounded: Vec<f64> = sigmas.iter().map(|&sigma| model.denoiser().round_sigma(sigma)).collect();
    compare(path, "out.round_sigma", &rounded, &floats(&file.tensor("out.round_sigma").unwrap()), 2e-5);
    let noisy = Var::constant(input("x").unwrap());
    for (dtype, tolerance) in [(DType::F32, F32.0), (DType::BF16, BF16)] {
        let cx = Context::inference(&model.weights).compute_in(dtype);
        let denoised = model.denoiser().denoise(&cx, &noisy, &sigmas, conditions).unwrap();
        let expected = floats(&file.tensor("out.denoised").unwrap());
        compare(path, &format!("out.denoised in {dtype}"), &nchw(denoised.value()), &expected, tolerance);
    }
}

/// The fixture's weights alone, in a file of their own, through the model loader.
fn model(path: &Path, file: &SafeTensors, device: &Device) -> Model {
    let dir = tempfile::tempdir().unwrap();
    let only = dir.path().join("model.safetensors");
    let tensors: Vec<(String, TensorView)> =
        file.tensors().into_iter().filter(|(name, _)| name.starts_with("model.")).collect();
    let metadata: HashMap<String, String> = nn::metadata(path).unwrap().into_iter().collect();
    std::fs::write(&only, safetensors::serialize(tensors, Some(metadata)).unwrap()).unwrap();
    Model::load(&only, device).unwrap()
}

/// Writes the gradient as if it were weights: the file then has the fixture's names and axis orders.
fn check_weight_gradients(path: &Path, file: &SafeTensors, model: &Model, gradient: Tensor) {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("gradient.safetensors");
    nn::save(&saved, &model.weights.with_flat(gradient).unwrap(), &BTreeMap::new()).unwrap();
    let bytes = std::fs::read(&saved).unwrap();
    let ours = SafeTensors::deserialize(&bytes).unwrap();
    let mut checked = 0;
    for (name, view) in file.tensors().into_iter().filter(|(name, _)| name.starts_with("grad.model.")) {
        let own = ours.tensor(name.strip_prefix("grad.").unwrap()).unwrap();
        compare(path, &name, &floats(&own), &floats(&view), F32.1);
        checked += 1;
    }
    let trainable = model.weights.layout().entries().iter().filter(|entry| entry.trainable).count();
    assert_eq!(checked, trainable, "{} stores other gradients than the network has", path.display());
}

fn floats(view: &TensorView) -> Vec<f64> {
    match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        Dtype::F64 => view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        other => panic!("dtype {other:?}"),
    }
}

/// An f32 tensor; images become NHWC.
fn tensor(view: &TensorView, device: &Device) -> Tensor {
    let values = floats(view);
    let shape = view.shape();
    match *shape {
        [n, c, h, w] => {
            let nhwc: Vec<f32> = (0..values.len())
                .map(|i| {
                    let (ci, x, y, b) = (i % c, i / c % w, i / c / w % h, i / c / w / h);
                    values[((b * c + ci) * h + y) * w + x] as f32
                })
                .collect();
            Tensor::from_slice(&nhwc, [n, h, w, c], device).unwrap()
        }
        _ => Tensor::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), shape, device).unwrap(),
    }
}

/// The values of NHWC images in NCHW order.
fn nchw(images: &Tensor) -> Vec<f64> {
    let [_, h, w, c] = images.shape()[..] else { panic!("{}", images.shape()) };
    let values = images.to_f64().unwrap();
    let place = |i: usize| {
        let (x, y, ci, b) = (i % w, i / w % h, i / w / h % c, i / w / h / c);
        ((b * h + y) * w + x) * c + ci
    };
    (0..values.len()).map(|i| values[place(i)]).collect()
}

fn compare(path: &Path, what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{}: {what}", path.display());
    let scale = expected.iter().fold(0f64, |max, x| max.max(x.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (got - expected).abs();
        let file = path.display();
        assert!(off <= tolerance * scale, "{file}: {what}[{i}] is {got}, expected {expected} (scale {scale})");
    }
}
