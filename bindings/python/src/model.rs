//! `veridical.load`, and the model that it returns.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use veridical::data::{Images, ReadOptions, Units, of_npy};
use veridical::diffusion::{self, one_hot};
use veridical::nn::Conditions;
use veridical::{Device, Result, Tensor, Var, cli};

use crate::arrays::{self, Numbers};
use crate::errors::{OrRaise, invalid, raised};
use crate::likelihood::{Asked as Likely, measure};
use crate::outcome::{figures, named};
use crate::sampling;
use crate::work::released;

/// Loads a model: a file, or the directory of a run, which stands for its newest model.
///
/// `device` is `cpu`, `cuda`, `cuda:N`, `emulator` or `best`.
#[pyfunction]
#[pyo3(signature = (path, device="cpu"))]
pub fn load(py: Python, path: PathBuf, device: &str) -> PyResult<Model> {
    let model = released(py, || diffusion::Model::load(cli::newest(&path)?, &Device::named(device)?))?;
    Ok(model.into())
}

/// A denoiser with its weights.
///
/// Arrays of samples are `[n, *shape]`, images `[n, height, width, channels]`, in the numbers of the network: bytes are
/// spread over [-1, 1], and what was standardised has a standard deviation of 0.5. `to_data` and `from_data` go to the
/// numbers of the data and back. Any object with `__array__` or, on the CPU, `__dlpack__` is an array; numbers of other
/// types than `float32` are converted. Results are new arrays of NumPy's.
///
/// Calls release Python's lock, and several threads may call at once. A `with` block closes the model at its end.
#[pyclass(frozen, module = "veridical")]
pub struct Model(RwLock<Option<Arc<diffusion::Model>>>);

impl From<diffusion::Model> for Model {
    fn from(model: diffusion::Model) -> Self {
        Model(RwLock::new(Some(Arc::new(model))))
    }
}

impl Model {
    /// The model. Errors once it was closed.
    pub fn open(&self, py: Python) -> PyResult<Arc<diffusion::Model>> {
        let model = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        model.ok_or_else(|| raised(py, "VeridicalError", "the model was closed; load it again"))
    }
}

#[pymethods]
impl Model {
    /// What a sample is: `(height, width, channels)`, or `(dims,)`.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.open(py)?.denoiser().sample_shape())
    }

    /// How many classes it knows; 0 where it takes none.
    #[getter]
    fn classes(&self, py: Python) -> PyResult<usize> {
        Ok(self.open(py)?.denoiser().label_dim())
    }

    /// Their names, in the order of the labels; empty where nobody said them.
    #[getter]
    fn class_names(&self, py: Python) -> PyResult<Vec<String>> {
        Ok(self.open(py)?.class_names().to_vec())
    }

    /// Trainable numbers.
    #[getter]
    fn parameters(&self, py: Python) -> PyResult<usize> {
        Ok(self.open(py)?.weights.layout().parameter_count())
    }

    /// The standard deviation of the data that it was made for.
    #[getter]
    fn sigma_data(&self, py: Python) -> PyResult<f64> {
        Ok(self.open(py)?.denoiser().sigma_data())
    }

    /// The least and the largest noise level that it knows.
    #[getter]
    fn sigma_range(&self, py: Python) -> PyResult<(f64, f64)> {
        Ok(self.open(py)?.denoiser().sigma_range())
    }

    /// Where it computes.
    #[getter]
    fn device(&self, py: Python) -> PyResult<String> {
        Ok(self.open(py)?.weights.device().to_string())
    }

    /// The architecture as a dict, with EDM's keyword names.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = self.open(py)?.config().to_json().or_raise(py)?;
        py.import("json")?.call_method1("loads", (json,))
    }

    /// What its numbers are in those of its data (`x * scale + offset`), as a dict; `None` where its file does not say.
    #[getter]
    fn units<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        figures(py, &self.open(py)?.units())
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Gives its memory back, once calls that are under way have ended. Further use is an error.
    fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<PyTuple>) {
        self.close();
    }

    fn __repr__(&self, py: Python) -> PyResult<String> {
        if self.closed() {
            return Ok("<veridical.Model: closed>".into());
        }
        let model = self.open(py)?;
        let (shape, kind) = (model.denoiser().sample_shape(), model.denoiser().model_type());
        let (parameters, classes) = (model.weights.layout().parameter_count(), model.denoiser().label_dim());
        let device = model.weights.device();
        Ok(format!(
            "<veridical.Model: {kind} of {parameters} parameters for {shape:?}, {classes} classes, on {device}>"
        ))
    }

    /// Writes it to a safetensors file, which `load` and the command read.
    fn save(&self, py: Python, path: PathBuf) -> PyResult<()> {
        let model = self.open(py)?;
        released(py, || model.save(path))
    }

    /// `D(x; sigma)`: what is to be expected of clean samples, given noisy ones.
    ///
    /// `x` is `[n, *shape]` with noise of standard deviation `sigma`, a number or one for each sample. `labels` are
    /// classes `[n]`, one-hot `[n, classes]`, or a class for all; without them the samples are of no class. The result
    /// is like `x`, `float64` where `x` is (the network itself computes in 32 bits), else `float32`.
    #[pyo3(signature = (x, sigma, labels=None))]
    fn denoise<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        sigma: &Bound<'py, PyAny>,
        labels: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let model = self.open(py)?;
        let x = samples(py, &model, arrays::tensor(x, &model.weights.device())?)?;
        let n = x.shape()[0];
        let sigmas = Numbers::of(sigma, "float64")?;
        let sigmas = match (&sigmas.shape[..], &sigmas.values::<f64>()[..]) {
            ([] | [1], &[sigma]) => vec![sigma; n],
            (&[count], sigmas) if count == n => sigmas.to_vec(),
            (shape, _) => return Err(invalid(py, format!("sigma {shape:?} for {n} samples: give a number, or [{n}]"))),
        };
        let labels = match labels {
            Some(labels) => Some(of_classes(py, &model, labels, n)?),
            None => None,
        };
        let denoised = released(py, || {
            let labels = labels.as_ref().map(Var::from);
            model.denoise_each(&x, &sigmas, Conditions { class_labels: labels.as_ref(), augment_labels: None })
        })?;
        arrays::from_tensor(py, &denoised)
    }

    /// New samples `[n, *shape]` in `float32`.
    ///
    /// `n` is how many, or which (a list of numbers, as `--seeds` of the command): sample i of a `seed` is the same
    /// whatever it is drawn with. The defaults are EDM's: Heun's method, 18 `steps` from sigma 80 to 0.002 with rho 7,
    /// no churn. `labels` are classes `[n]`, one-hot `[n, classes]`, a class or its name for all; without them a model
    /// with classes draws a random one for each, or none with `no_class=True`.
    ///
    /// `guidance` is the weight of guidance (1 is none) away from no class, or from `guidance_model`, between the noise
    /// levels `guidance_interval`. `latents` `[n, *shape]` are noise of unit variance to start from; `start` are samples
    /// that are taken to the level `start_sigma` first, or have noise of that level already (`start_noisy=True`).
    /// `trajectory=True` returns a `veridical.results.Trajectory` with the states of all steps.
    ///
    /// All other keywords are those of `veridical sample` for solver and grid: `solver`, `steps`, `sigma_min`,
    /// `sigma_max`, `rho`, `grid` (a name or levels), `churn`, `s_min`, `s_max`, `s_noise`, `eta`, `brownian`,
    /// `no_brownian`, `order`, `r`, `correction`, `unipc_b`, `schedule`, `scaling`, `alpha`, `sde`, `snr`,
    /// `corrector_steps`, `tolerance`. `veridical.solvers()` lists the solvers. `compute` is `f32` or `bf16`;
    /// no sample depends on `batch`, how many are drawn at once.
    #[pyo3(signature = (n=None, seed=0, *, labels=None, no_class=false, guidance=None, guidance_model=None, guidance_interval=None, latents=None, start=None, start_sigma=None, start_noisy=false, trajectory=false, batch=64, compute="f32", **solver))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: Option<&Bound<'py, PyAny>>,
        seed: u64,
        labels: Option<&Bound<'py, PyAny>>,
        no_class: bool,
        guidance: Option<f64>,
        guidance_model: Option<&Bound<'py, Model>>,
        guidance_interval: Option<(f64, f64)>,
        latents: Option<&Bound<'py, PyAny>>,
        start: Option<&Bound<'py, PyAny>>,
        start_sigma: Option<f64>,
        start_noisy: bool,
        trajectory: bool,
        batch: usize,
        compute: &str,
        solver: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let model = self.open(py)?;
        let reference = guidance_model.map(|guide| guide.get().open(py)).transpose()?;
        let asked = sampling::Asked {
            model: &model,
            reference: reference.as_deref(),
            seed,
            no_class,
            guidance: (guidance, guidance_interval),
            trajectory,
            batch,
            compute,
        };
        let drawn = asked.draw(py, n, labels, (latents, start, start_sigma, start_noisy), solver)?;
        let samples = arrays::from_tensor(py, &drawn.samples)?;
        if !trajectory {
            return Ok(samples);
        }
        let sigmas: Vec<f64> = drawn.trajectory.iter().map(|(sigma, _)| *sigma).collect();
        let states: PyResult<Vec<_>> = drawn.trajectory.iter().map(|(_, x)| arrays::from_tensor(py, x)).collect();
        let states = py.import("numpy")?.call_method1("stack", (states?,))?;
        named(
            py,
            "Trajectory",
            (samples, states, arrays::from_slice(py, &sigmas, &[sigmas.len()], "float64")?, drawn.nfe),
        )
    }

    /// How probable samples `[n, *shape]` are under the model: a `veridical.results.LogLikelihood` of `nats` `[n]` and
    /// `bits_per_dim` `[n]`.
    ///
    /// Solves the probability-flow ODE up to the largest noise level with the divergence along the way (Song et al.
    /// 2021). `levels` are those that the data were quantised to in [-1, 1], over which each value is then spread
    /// evenly unless `dequantize=False`; 0 is for a density, in the numbers of the data. The default is 256 for images
    /// of bytes, else 0. `trace` is `hutchinson`, with `probes` sign vectors, or `exact`. `steps` are Runge-Kutta steps
    /// of fixed size in place of a `tolerance`; with that the samples of a `batch` share their steps.
    #[pyo3(signature = (x, labels=None, *, trace="hutchinson", probes=1, tolerance=None, steps=None, sigma_min=0.002, sigma_max=80.0, levels=None, dequantize=true, seed=0, batch=16, compute="f32"))]
    fn log_likelihood<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        labels: Option<&Bound<'py, PyAny>>,
        trace: &str,
        probes: usize,
        tolerance: Option<f64>,
        steps: Option<usize>,
        sigma_min: f64,
        sigma_max: f64,
        levels: Option<u32>,
        dequantize: bool,
        seed: u64,
        batch: usize,
        compute: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let model = self.open(py)?;
        let x = samples(py, &model, arrays::tensor_f32(x, &model.weights.device())?)?;
        let labels = labels.map(|labels| of_classes(py, &model, labels, x.shape()[0])).transpose()?;
        let asked =
            Likely { trace, probes, tolerance, steps, sigma_min, sigma_max, levels, dequantize, seed, batch, compute };
        let (nats, bits, nfe) = released(py, || measure(&model, &x, labels.as_ref(), &asked))?;
        let column = |values: &[f64]| arrays::from_slice(py, values, &[values.len()], "float64");
        named(py, "LogLikelihood", (column(&nats)?, column(&bits)?, nfe))
    }

    /// Samples of the model in the numbers of its data: `uint8` where those were bytes, else floating-point numbers.
    fn to_data<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let model = self.open(py)?;
        let x = samples(py, &model, arrays::tensor_f32(x, &Device::Cpu)?)?;
        let values = released(py, || {
            let images = Images::new(x.to_vec()?, vec![0; x.shape()[0]], size(&model), 1)?;
            images.with_units(model.units().cloned().unwrap_or_else(Units::plain))?.user_values()
        })?;
        arrays::from_values(py, &values, x.shape())
    }

    /// Data in their own numbers as the model sees them, `[n, *shape]` in `float32`: what the other methods take.
    #[allow(clippy::wrong_self_convention)] // the opposite of `to_data`, as Python's names go
    fn from_data<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let model = self.open(py)?;
        let bytes = arrays::npy(x)?;
        let pixels = released(py, || {
            let options = ReadOptions { noisy: true, ..ReadOptions::default() }.beside(size(&model));
            let options = match model.units() {
                Some(units) => cli::in_units_of_model(options, units)?,
                None => options,
            };
            let set = of_npy("x", &bytes, None, &options)?;
            model.check_units(set.train.units())?;
            let shape = [&[set.train.len()][..], &set.train.size()].concat();
            Tensor::from_slice(&set.train.pixels()?, shape, &Device::Cpu)
        })?;
        let n = pixels.shape()[0];
        let shape = [&[n][..], &model.denoiser().sample_shape()].concat();
        if shape.iter().product::<usize>() != pixels.len() {
            return Err(invalid(py, format!("data {:?}, the model takes {:?}", &pixels.shape()[1..], &shape[1..])));
        }
        arrays::from_tensor(py, &pixels.reshape(shape).or_raise(py)?)
    }
}

/// `[height, width, channels]` of a sample.
fn size(model: &diffusion::Model) -> [usize; 3] {
    match model.denoiser().sample_shape()[..] {
        [h, w, c] => [h, w, c],
        ref dims => [1, 1, dims.iter().product()],
    }
}

/// Errors unless these are samples of the model, at least one.
pub fn samples(py: Python, model: &diffusion::Model, x: Tensor) -> PyResult<Tensor> {
    let shape = model.denoiser().sample_shape();
    match x.shape().split_first() {
        Some((1.., rest)) if *rest == shape[..] => Ok(x),
        _ => {
            let wanted: Vec<String> = shape.iter().map(ToString::to_string).collect();
            let what = format!("samples {}: the model takes [n, {}], channels last", x.shape(), wanted.join(", "));
            Err(invalid(py, what))
        }
    }
}

/// Labels `[n, classes]` of classes `[n]`, of one for all or its name, or as they are.
pub fn of_classes(py: Python, model: &diffusion::Model, labels: &Bound<PyAny>, n: usize) -> PyResult<Tensor> {
    let (known, names, device) = (model.denoiser().label_dim(), model.class_names(), model.weights.device());
    if known == 0 {
        return Err(invalid(py, "labels: the model takes no classes; leave them out"));
    }
    if let Ok(name) = labels.extract::<String>() {
        let class = names.iter().position(|known| *known == name);
        let Some(class) = class else {
            let there = if names.is_empty() { format!("counted from 0 to {}", known - 1) } else { names.join(", ") };
            return Err(invalid(py, format!("labels={name:?}: the model's classes are {there}")));
        };
        return one_hot(model, &vec![class as u32; n]).or_raise(py);
    }
    let array = arrays::array(labels)?;
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    match shape[..] {
        [] | [_] => {
            let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
            if kind == "f" {
                return Err(PyTypeError::new_err("labels [n] are whole numbers; or give one-hot labels [n, classes]"));
            }
            let classes: Result<Vec<u32>> = Numbers::of(&array, "int64")?
                .values::<i64>()
                .iter()
                .map(|&class| {
                    let what = || format!("label {class}: the model has {known} classes, counted from 0");
                    u32::try_from(class).map_err(|_| veridical::Error::argument("labels", what()))
                })
                .collect();
            let classes = classes.or_raise(py)?;
            match (classes.len(), shape.len()) {
                (1, 0) => one_hot(model, &vec![classes[0]; n]),
                (count, _) if count == n => one_hot(model, &classes),
                (count, _) => {
                    return Err(invalid(py, format!("{count} labels for {n} samples; there must be one for each")));
                }
            }
            .or_raise(py)
        }
        [rows, width] if rows == n && width == known => arrays::tensor_f32(labels, &device),
        _ => Err(invalid(py, format!("labels {shape:?}: expected [{n}], or one-hot [{n}, {known}]"))),
    }
}
