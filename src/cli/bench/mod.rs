//! `veridical bench`: operations or whole networks, timed and held against what the device can do.

mod case;
mod model;
mod network;
mod ops;
mod report;
mod task;
mod timing;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use task::Task;
use veridical::backend::ceiling::Ceiling;
use veridical::backend::plan::Chip;
use veridical::train::config::preset_names;
use veridical::{DType, Device, Result};

use super::output::{self, Form};
use super::{Ended, device, interrupt, progress};

/// Time operations or a whole network and compare them with what the device can do at most.
///
/// Times every benchmark row of the op table, forward (without a tape) and backward, and shows the median time, the
/// rate, and the share of the ceiling: the time that the row's arithmetic takes between registers, or its bytes in a
/// large copy, whichever is longer, both measured in the same run, between the cases. Data that fit a cache can be
/// faster than that copy. Threads on the CPU: RAYON_NUM_THREADS.
///
/// With --network, times a denoiser instead, on random images: one call of it, a training step, and the sampler. Its
/// operations are those of convolutions, linear layers and the two products of attention, a multiply-add counting as
/// two: once for a call, three times for a training step, once for each call of the sampler. A case that does not fit
/// in memory is skipped.
///
/// With --model, nothing is timed: the launches and allocations of the network are written down without a device, and
/// what each kind of kernel should cost on that GPU is predicted from bytes, operations, instructions and the GPU's
/// data sheet (docs/performance.md).
#[derive(clap::Args)]
pub struct Args {
    /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU)
    #[arg(long, default_value = "cpu", value_parser = device::name)]
    device: String,
    /// Only operations whose name contains this; may be repeated
    #[arg(long, value_name = "FILTER")]
    op: Vec<String>,
    /// Only this dtype; may be repeated [default: f32 and bf16]
    #[arg(long, value_parser = dtype)]
    dtype: Vec<DType>,
    /// Only this direction
    #[arg(long, value_parser = ["forward", "backward"])]
    direction: Option<String>,
    /// Time the network of this preset of `veridical train`, without classes: cifar10-ddpmpp if no name is given;
    /// `digits` is small
    #[arg(
        long,
        visible_alias = "preset",
        value_name = "PRESET",
        value_parser = PossibleValuesParser::new(preset_names()),
        num_args = 0..=1,
        default_missing_value = "cifar10-ddpmpp",
        conflicts_with_all = ["op", "direction"]
    )]
    network: Option<String>,
    /// Only this task of the network; may be repeated
    #[arg(long, requires = "network")]
    task: Vec<Task>,
    /// Images at a time; may be repeated [default: 1]
    #[arg(long, value_name = "IMAGES", requires = "network", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch: Vec<u32>,
    /// Predict what the network costs on this GPU, which need not be there, in place of timing it
    #[arg(
        long,
        value_name = "GPU",
        requires = "network",
        conflicts_with_all = ["device", "quick", "op", "direction"],
        value_parser = PossibleValuesParser::new(Chip::ALL.map(|chip| chip.name)).try_map(chip)
    )]
    model: Option<Chip>,
    /// Write one JSON object a line, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer repeats: seconds instead of minutes
    #[arg(long)]
    quick: bool,
}

fn dtype(name: &str) -> std::result::Result<DType, String> {
    [DType::F32, DType::BF16, DType::F64]
        .into_iter()
        .find(|dtype| dtype.to_string() == name)
        .ok_or_else(|| format!("`{name}` is no dtype here; there are f32, bf16 and f64"))
}

fn chip(name: String) -> std::result::Result<Chip, String> {
    Chip::named(&name).ok_or_else(|| format!("there is no model of `{name}`"))
}

impl Args {
    /// What `--dtype` asks for.
    fn dtypes(&self) -> Vec<DType> {
        if self.dtype.is_empty() { vec![DType::F32, DType::BF16] } else { self.dtype.clone() }
    }
}

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--json", Form::JsonLines, args.json.as_ref())])?;
    let _keeping = interrupt::keeping("the case in progress is dropped");
    if let (Some(chip), Some(preset)) = (args.model, &args.network) {
        model::run(chip, preset, &args)?;
        return Ok(interrupt::ended());
    }
    let device = Device::named(&args.device)?;
    let ceilings = Ceilings::new(&args, &device);
    match args.network.as_deref() {
        Some(preset) => network::run(preset, &args, &device, ceilings)?,
        None => ops::run(&args, &device, ceilings)?,
    }
    Ok(interrupt::ended())
}

/// The ceilings, measured again when they are older than `pause`: a case is held against what the machine could do at
/// its time.
struct Ceilings<'a> {
    device: &'a Device,
    last: Option<(Instant, Ceiling)>,
    pause: Duration,
    /// Those of the emulator would say nothing.
    measured: bool,
}

impl<'a> Ceilings<'a> {
    fn new(args: &Args, device: &'a Device) -> Self {
        let pause = Duration::from_secs(if args.quick { 10 } else { 1 });
        Ceilings { device, last: None, pause, measured: args.device != "emulator" }
    }

    /// `None` on the emulator.
    fn now(&mut self) -> Result<Option<Ceiling>> {
        match self.last {
            _ if !self.measured => Ok(None),
            Some((at, ceiling)) if at.elapsed() < self.pause => Ok(Some(ceiling)),
            _ => {
                let ceiling = self.device.ceiling()?;
                self.last = Some((Instant::now(), ceiling));
                Ok(Some(ceiling))
            }
        }
    }

    /// Warns of the emulator's times.
    fn note(&self) {
        if !self.measured {
            progress::note(
                "the emulator runs a GPU's threads one after the other: times say what tests cost, nothing of a GPU",
            );
        }
    }
}
