//! Whole denoisers, in the three things that are done with them.

use std::time::Duration;

use serde::Serialize;
use veridical::backend::ceiling::Ceiling;
use veridical::data::Images;
use veridical::diffusion::ModelConfig;
use veridical::figures::grouped;
use veridical::train::RunConfig;
use veridical::train::config::preset_shape;
use veridical::{DType, Device, Error, Result};

use super::report::{Column, Line, NOTHING, Report, duration, share};
use super::task::{self, Task};
use super::timing::{self, Effort, Timing};
use super::{Args, Ceilings};
use crate::cli::{progress, say};

pub fn run(preset: &str, args: &Args, device: &Device, mut ceilings: Ceilings) -> Result<()> {
    let network = Network::of(preset)?;
    let cases = cases(args)?;
    say(&network.describe())?;
    let mut report = Report::new(device, columns(), args.json.clone())?;
    ceilings.note();
    for case in cases {
        // Before the case has taken its memory.
        let ceiling = ceilings.now()?;
        let measured = match measure(&network, case, device, effort(device, args.quick)) {
            Ok(measured) => Some(measured),
            Err(error @ Error::OutOfMemory { .. }) => {
                progress::note(&format!("{error}; skipped"));
                None
            }
            Err(Error::Stopped) => break,
            Err(error) => return Err(error),
        };
        report.add(&NetworkLine::new(&network, case, device, measured, ceiling)?)?;
    }
    report.finish()
}

/// A preset's denoiser without classes.
pub struct Network {
    pub preset: String,
    pub config: RunConfig,
    pub model: ModelConfig,
    pub parameters: usize,
    /// 10^9 floating-point operations of one call for one sample.
    gflop: f64,
}

impl Network {
    /// Errors on a name that is no preset.
    pub fn of(preset: &str) -> Result<Self> {
        let config = RunConfig::build(Some(preset), None, &[])?;
        let Some((size, _)) = preset_shape(preset) else {
            return Err(Error::Config(format!("the preset {preset} does not say which size its samples have")));
        };
        // Settings complete themselves from data, of which a sample of one class says enough.
        let data = Images::new(vec![0.0; size.iter().product()], vec![0], size, 1)?;
        let model = config.model_config(&data)?;
        let (denoiser, layout) = model.build()?;
        let counted = denoiser.multiply_adds(&layout)?;
        let uncounted = || Error::Config(format!("the network of {preset} does not count its operations"));
        let gflop = 2e-9 * counted.ok_or_else(uncounted)? as f64;
        Ok(Network { preset: preset.into(), config, model, parameters: layout.parameter_count(), gflop })
    }

    pub fn describe(&self) -> String {
        let (preset, parameters) = (&self.preset, grouped(self.parameters as u64));
        format!("{preset}: {parameters} parameters, {:.4} GFLOP an image and call", self.gflop)
    }
}

pub type Case = (Task, DType, u32);

/// Tasks, dtypes and batch sizes that the flags ask for. Errors on a dtype that networks do not compute in.
pub fn cases(args: &Args) -> Result<Vec<Case>> {
    let dtypes = args.dtypes();
    if let Some(other) = dtypes.iter().find(|dtype| !matches!(dtype, DType::F32 | DType::BF16)) {
        return Err(Error::Config(format!("--dtype {other} with --network: networks compute in f32 or bf16")));
    }
    let tasks = if args.task.is_empty() { Task::ALL.to_vec() } else { args.task.clone() };
    let batches = if args.batch.is_empty() { vec![1] } else { args.batch.clone() };
    let mut cases = Vec::new();
    for &task in &tasks {
        for &batch in &batches {
            cases.extend(dtypes.iter().map(|&dtype| (task, dtype, batch)));
        }
    }
    Ok(cases)
}

fn effort(device: &Device, quick: bool) -> Effort {
    let sample = timing::least_sample(device);
    match quick {
        true => Effort { samples: 3, limit: Duration::from_millis(200), sample },
        false => Effort { samples: 21, limit: Duration::from_secs(15), sample },
    }
}

struct Measured {
    timing: Timing,
    nfe: Option<usize>,
    peak_bytes: usize,
}

fn measure(network: &Network, (task, dtype, batch): Case, device: &Device, effort: Effort) -> Result<Measured> {
    let mut prepared = task::prepare(task, &network.config, &network.model, dtype, batch, device)?;
    device.reset_peak_memory();
    let timing = timing::time(&mut prepared.work, device, effort)?;
    Ok(Measured { timing, nfe: prepared.nfe(), peak_bytes: device.peak_memory() })
}

fn columns() -> Vec<Column> {
    vec![
        Column::left("task", 7),
        Column::right("batch", 5),
        Column::left("dtype", 5),
        Column::right("median", 10),
        Column::right("images/s", 10),
        Column::right("rate", 15),
        Column::right("of the ceiling", 14),
        Column::right("memory", 13),
    ]
}

/// One case, as it stands in the JSON file. What was not measured is left out.
#[derive(Debug, Serialize)]
struct NetworkLine {
    network: String,
    task: &'static str,
    batch: u32,
    dtype: String,
    device: String,
    params: usize,
    gflop_forward_per_image: f64,
    /// Why there is no measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
    #[serde(flatten)]
    result: Option<NetworkResult>,
    /// What arithmetic between registers reaches in this dtype; absent, as the share, on the emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    ceiling_tflops: Option<f64>,
}

#[derive(Debug, Serialize)]
struct NetworkResult {
    /// Denoiser calls of the sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    nfe: Option<usize>,
    /// Operations of the task for each image, in billions.
    gflop_per_image: f64,
    /// Median, least and most milliseconds of `timed` samples.
    ms: f64,
    ms_min: f64,
    ms_max: f64,
    timed: usize,
    /// Finished images for the sampler.
    images_per_s: f64,
    tflops: f64,
    /// The share of `ceiling_tflops`, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    /// The most that buffers held at once, in 2^20 bytes.
    peak_mib: f64,
}

impl NetworkLine {
    fn new(
        network: &Network,
        (task, dtype, batch): Case,
        device: &Device,
        measured: Option<Measured>,
        ceiling: Option<Ceiling>,
    ) -> Result<Self> {
        let ceiling_tflops = match ceiling {
            Some(ceiling) => Some(ceiling.operations(dtype)? / 1e12),
            None => None,
        };
        let result = measured.map(|Measured { timing, nfe, peak_bytes }| {
            // A training step makes the gradients of inputs and weights besides, of as many operations each.
            let calls = if task == Task::Train { 3 } else { nfe.unwrap_or(1) };
            let gflop_per_image = network.gflop * calls as f64;
            let images_per_s = f64::from(batch) / timing.median;
            let tflops = 1e-3 * gflop_per_image * images_per_s;
            NetworkResult {
                nfe,
                gflop_per_image,
                ms: 1e3 * timing.median,
                ms_min: 1e3 * timing.least,
                ms_max: 1e3 * timing.most,
                timed: timing.samples,
                images_per_s,
                tflops,
                share: ceiling_tflops.map(|ceiling| tflops / ceiling),
                peak_mib: peak_bytes as f64 / f64::from(1 << 20),
            }
        });
        Ok(NetworkLine {
            network: network.preset.clone(),
            task: task.name(),
            batch,
            dtype: dtype.to_string(),
            device: device.to_string(),
            params: network.parameters,
            gflop_forward_per_image: network.gflop,
            skipped: result.is_none().then_some("out of memory"),
            result,
            ceiling_tflops,
        })
    }
}

impl Line for NetworkLine {
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.task.into(), self.batch.to_string(), self.dtype.clone()];
        match &self.result {
            Some(result) => cells.extend([
                duration(1e-3 * result.ms),
                format!("{:.2}", result.images_per_s),
                format!("{:.1} GFLOP/s", 1e3 * result.tflops),
                share(result.share),
                format!("{:.1} MiB", result.peak_mib),
            ]),
            None => {
                cells.extend(vec![NOTHING.to_string(); 4]);
                cells.extend(self.skipped.map(String::from));
            }
        }
        cells
    }

    fn ceilings(&self) -> Vec<(String, f64)> {
        let unit = format!("{} GFLOP/s", self.dtype);
        self.ceiling_tflops.map(|ceiling| (unit, 1e3 * ceiling)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both figures were counted from the layers of an implementation in PyTorch.
    #[test]
    fn the_network_of_cifar10_is_edms_without_classes() {
        let network = Network::of("cifar10-ddpmpp").unwrap();
        assert_eq!(network.parameters, 55_733_891);
        assert_eq!(format!("{:.3}", network.gflop), "42.380");
        assert_eq!(network.describe(), "cifar10-ddpmpp: 55,733,891 parameters, 42.3804 GFLOP an image and call");
    }

    #[test]
    fn every_preset_has_a_network() {
        for preset in veridical::train::config::preset_names() {
            let network = Network::of(preset).unwrap();
            assert!(network.gflop > 0.0 && network.parameters > 0, "{preset}");
        }
    }
}
