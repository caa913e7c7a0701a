//! `veridical likelihood`: how probable data are under a model.

use std::path::{Path, PathBuf};

use serde::Serialize;
use veridical::data::{self, Images, Numbers, Units};
use veridical::diffusion::likelihood::{Integrator, Likelihood, Trace, bits_per_dim, dequantize};
use veridical::diffusion::{Conditioned, Model, one_hot};
use veridical::figures::{counted, fixed};
use veridical::files::write_atomic;
use veridical::ops::random::SampleIds;
use veridical::tensor::{Shape, TensorFile, file};
use veridical::{DType, Device, Error, Result, Tensor, ops};

use super::data::{Reading, check_fit, for_model};
use super::output::{self, Form};
use super::progress::{Progress, note};
use super::{Ended, compute, device, interrupt, model, positive, say};

/// Measure the likelihood of data under a model, in bits per dimension.
///
/// Solves the probability-flow ODE from the data up to the largest noise level, with the divergence along the way (Song
/// et al. 2021). Lower is better. Images of whole grey levels are first spread evenly over their levels, so that the
/// density bounds the probability of the levels.
#[derive(clap::Args)]
pub struct Args {
    /// The model file, or the directory of a run
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// The data: a data set as for `veridical train`, with its classes if the model has some; its test images if it
    /// brings any
    #[arg(long, value_name = "DATA", required_unless_present = "input", conflicts_with = "input")]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// Or tensors: `x` [n, channels, height, width] or [n, dims], and `class_labels` if the model takes classes
    /// (safetensors); without `x` the `samples` that `veridical sample` writes
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only the first of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    first: Option<u32>,
    /// The trace of the Jacobian: hutchinson, or exact (as many backward passes as a sample has elements)
    #[arg(long, default_value = "hutchinson", value_parser = ["hutchinson", "exact"])]
    trace: String,
    /// Sign vectors of Hutchinson's trace
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    probes: u32,
    /// Absolute and relative tolerance of a step
    #[arg(long, default_value_t = 1e-5, conflicts_with = "steps", value_parser = positive)]
    tolerance: f64,
    /// Runge-Kutta steps of fixed size instead, four denoiser calls each
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: Option<u32>,
    /// The noise level that the data are taken to have
    #[arg(long, default_value_t = 0.002, value_parser = positive)]
    sigma_min: f64,
    /// The noise level where the density is taken to be a Gaussian's
    #[arg(long, default_value_t = 80.0, value_parser = positive)]
    sigma_max: f64,
    /// Levels that the data were quantised to in [-1, 1]; 0 for a density, in the units of the data [default: 256 for
    /// images of bytes, else 0]
    #[arg(long)]
    levels: Option<u32>,
    /// Take the values as they are instead of spreading each evenly over its level: for data that are spread already
    #[arg(long)]
    no_dequantize: bool,
    /// Makes sign vectors and dequantisation
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Samples at once; with --tolerance they share their steps
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// What the network computes in: f32 or bf16
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    compute: String,
    /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU)
    #[arg(long, default_value = "best", value_parser = device::name)]
    device: String,
    /// Write the result as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write `bits_per_dim` [n] and `nats` [n] of every sample (safetensors)
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Report {
    bits_per_dim: f64,
    /// Standard deviation of the samples' values over the square root of their number; absent for a single one.
    standard_error: Option<f64>,
    nats: f64,
    samples: usize,
    dims: usize,
    levels: u32,
    dequantized: bool,
    trace: String,
    probes: Option<u32>,
    sigma_min: f64,
    sigma_max: f64,
    /// Mean number of denoiser calls.
    nfe: f64,
}

/// What is measured: tensors as they are in a file, or images of a data set, which become tensors part by part.
enum Measured {
    Tensors { x: Tensor, labels: Option<Tensor> },
    Images(Images),
}

impl Measured {
    fn of_file(path: &Path, model: &Model) -> Result<Self> {
        let (file, device) = (TensorFile::open(path)?, model.weights.device());
        let name = if file.shape("x").is_none() && file.shape("samples").is_some() { "samples" } else { "x" };
        let x = model.denoiser().samples_from(&file, name, DType::F32, &device)?;
        if x.is_empty() {
            return Err(Error::format(path, format!("{name} holds no samples")));
        }
        let x = model.in_own_units(&x)?;
        let shape = [x.shape()[0], model.denoiser().label_dim()];
        let labels = model.denoiser().labels_from(&file, "class_labels", shape, &device)?;
        Ok(Measured::Tensors { x, labels })
    }

    fn of_set(spec: &str, reading: &Reading, model: &Model) -> Result<Self> {
        if spec.ends_with(".safetensors") {
            return Err(Error::Config(format!("--data {spec}: no data set but tensors; give them by --input")));
        }
        let options = for_model(reading.options(&[])?, model)?;
        let set = data::open_with(spec, &options)?;
        note(&set.account());
        let which = if set.test.is_some() { "test" } else { "training" };
        let images = set.test.unwrap_or(set.train);
        check_fit(model, &images, spec)?;
        let known = model.denoiser().label_dim();
        let classes = match (known, images.classes()) {
            (0, _) => "the model has no classes",
            (_, 1) => "the data have no classes, so each is measured as of none",
            (_, found) if found > known => {
                return Err(Error::Config(format!(
                    "--data {spec}: {}, the model has {known}",
                    counted(found, "class", "classes")
                )));
            }
            _ => "each given its class",
        };
        if known > 0 && images.classes() > 1 {
            model.check_classes(&set.class_names)?;
        }
        let noun = if images.len() == 1 { "sample" } else { "samples" };
        note(&format!("{} {which} {noun}; {classes}", images.len()));
        Ok(Measured::Images(images))
    }

    fn len(&self) -> usize {
        match self {
            Measured::Tensors { x, .. } => x.shape()[0],
            Measured::Images(images) => images.len(),
        }
    }

    /// `count` samples from `first` on, and their labels if the model has classes and the data, too.
    fn part(&self, model: &Model, first: usize, count: usize) -> Result<(Tensor, Option<Tensor>)> {
        match self {
            Measured::Tensors { x, labels } => {
                let labels = labels.as_ref().map(|labels| labels.narrow(first, count)).transpose()?;
                Ok((x.narrow(first, count)?, labels))
            }
            Measured::Images(images) => {
                let indices: Vec<u32> = (first..first + count).map(|i| i as u32).collect();
                let (pixels, classes) = images.gather(&indices)?;
                let shape = [&[count][..], &model.denoiser().sample_shape()].concat();
                let labelled = model.denoiser().label_dim() > 0 && images.classes() > 1;
                let labels = labelled.then(|| one_hot(model, &classes)).transpose()?;
                Ok((Tensor::from_slice(&pixels, shape, &model.weights.device())?, labels))
            }
        }
    }
}

pub fn run(args: Args) -> Result<Ended> {
    if args.input.is_some() {
        args.reading.refused_beside("--input")?;
    }
    output::check([("--json", Form::Json, args.json.as_ref()), ("--output", Form::Tensors, args.output.as_ref())])?;
    let output = args.output.as_deref().map(|path| ("--output", path));
    let input = args.input.as_deref().map(|path| ("--input", path));
    output::apart(&Vec::from_iter(output), [("--model", &*args.model)].into_iter().chain(input))?;
    let device = Device::named(&args.device)?;
    let model = model::load(&args.model, &device)?;
    let sample = model.denoiser().sample_shape();
    let dims: usize = sample.iter().product();
    let own = model
        .units()
        .filter(|units| units.transform().is_some() || !units.is_plain() && units.numbers() != Numbers::Uint8);
    let of_images = sample.len() == 3 && sample[0] > 1 && own.is_none();
    let levels = args.levels.unwrap_or(match model.units().and_then(Units::ends) {
        Some([0.0, 1.0]) => 2,
        _ if of_images => 256,
        _ => 0,
    });
    if levels > 0 && own.is_some() {
        let what = "--levels: the model was trained on numbers that are no bytes, of which the density is measured; leave it out";
        return Err(Error::Config(what.into()));
    }
    // What a log-density of the model is above that of the numbers in their files.
    let channels = sample.last().copied().unwrap_or(1);
    let log_volume = |x: &[f32]| own.map_or(0.0, |units| units.log_volume(x, channels));
    if levels == 1 {
        return Err(Error::Config("--levels 1: there are 2 and more, or 0 for a density".into()));
    }
    let spread = levels > 0 && !args.no_dequantize;
    let measured = match (&args.data, &args.input) {
        (Some(spec), _) => Measured::of_set(spec, &args.reading, &model)?,
        (None, Some(path)) => Measured::of_file(path, &model)?,
        _ => return Err(Error::Config("nothing to measure: give --data or --input".into())),
    };
    let n = args.first.map_or(measured.len(), |first| measured.len().min(first as usize));
    let (least, most) = model.denoiser().sigma_range();
    let likelihood = Likelihood {
        sigma_min: args.sigma_min.max(least),
        sigma_max: args.sigma_max.min(most),
        sigma_data: model.denoiser().sigma_data(),
        trace: if args.trace == "exact" { Trace::Exact } else { Trace::Hutchinson { probes: args.probes as usize } },
        integrator: match args.steps {
            Some(steps) => Integrator::Fixed { steps: steps as usize },
            None => Integrator::Adaptive { tolerance: args.tolerance, max_steps: 10_000 },
        },
    };
    let mut progress = Progress::new("likelihood", n as u64);
    let (mut nats, mut calls) = (Vec::new(), 0);
    for first in (0..n).step_by(args.batch as usize) {
        let count = (args.batch as usize).min(n - first);
        let (mut x, labels) = measured.part(&model, first, count)?;
        if spread {
            x = dequantize(&x, levels, (args.seed, first as u32))?;
        }
        let mut denoise = Conditioned::new(&model, labels.as_ref(), compute(&args.compute))?;
        let state = device.state_dtype();
        let volumes: Vec<f64> = x.to_vec::<f32>()?.chunks(dims.max(1)).map(log_volume).collect();
        let x = ops::cast(x, state)?.into_value();
        let found = likelihood.log_density(&mut denoise, &x, (args.seed, &SampleIds::From(first as u32)))?;
        nats.extend(found.nats.iter().zip(&volumes).map(|(nats, volume)| nats - volume));
        calls += found.nfe * count;
        progress.tick((first + count) as u64, None);
    }
    progress.finish();

    let bits: Vec<f64> = nats.iter().map(|&nats| bits_per_dim(nats, dims, (levels > 0).then_some(levels))).collect();
    let mean = bits.iter().sum::<f64>() / n as f64;
    let squares = bits.iter().map(|b| (b - mean).powi(2)).sum::<f64>();
    let report = Report {
        bits_per_dim: mean,
        standard_error: (n > 1).then(|| (squares / (n - 1) as f64 / n as f64).sqrt()),
        nats: nats.iter().sum::<f64>() / n as f64,
        samples: n,
        dims,
        levels,
        dequantized: spread,
        probes: (args.trace == "hutchinson").then_some(args.probes),
        trace: args.trace,
        sigma_min: likelihood.sigma_min,
        sigma_max: likelihood.sigma_max,
        nfe: calls as f64 / n as f64,
    };
    let _writing = interrupt::writing();
    if let Some(path) = &args.output {
        let column = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let tensors = [("bits_per_dim", Shape::from([n]), column(&bits)), ("nats", Shape::from([n]), column(&nats))];
        file::write(path, tensors, &Default::default())?;
    }
    let error = report.standard_error.map_or(String::new(), |error| format!(" ± {error:.4}"));
    say(&format!(
        "{}{error} bits/dim over {}, {:.0} denoiser calls each",
        fixed(mean, 4),
        counted(n, "sample", "samples"),
        report.nfe
    ))?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Error::Config(error.to_string()))?;
        write_atomic(path, format!("{text}\n").as_bytes())?;
    }
    Ok(interrupt::ended())
}
