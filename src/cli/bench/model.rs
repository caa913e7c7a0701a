//! What a network should cost on a GPU that need not be there: predicted from the launches that it would take.

use std::path::Path;

use serde::Serialize;
use veridical::backend::plan::{Chip, Event, Kind, Plan, Planner, Prediction};
use veridical::figures::grouped;
use veridical::train::write_atomic;
use veridical::{Device, Error, Result};

use super::Args;
use super::network::{Case, Network, cases};
use super::report::{Column, NOTHING, duration, share};
use super::task::{self, Task};
use crate::cli::{progress, say};

pub fn run(chip: Chip, preset: &str, args: &Args) -> Result<()> {
    let network = Network::of(preset)?;
    let cases = cases(args)?;
    say(&network.describe())?;
    say(&format!("predicted for one {} from the launches that it would get; nothing here is measured", chip.title))?;
    let mut file = String::new();
    for case in cases {
        let planned = match plan(&network, case, chip) {
            Ok(planned) => Some(planned),
            Err(error @ Error::OutOfMemory { .. }) => {
                progress::note(&format!("{error}; skipped"));
                None
            }
            Err(Error::Stopped) => break,
            Err(error) => return Err(error),
        };
        if let Some(planned) = &planned {
            planned.show(case)?;
        }
        if let Some(path) = &args.json {
            write(path, &mut file, &PlanLine::new(&network, case, chip, planned.as_ref()))?;
        }
    }
    Ok(())
}

fn write(path: &Path, file: &mut String, line: &PlanLine) -> Result<()> {
    *file += &serde_json::to_string(line).map_err(|e| Error::argument("bench", e.to_string()))?;
    file.push('\n');
    write_atomic(path, file.as_bytes())
}

/// One case: what it does once everything that is made the first time is there.
struct Planned {
    plan: Plan,
    prediction: Prediction,
    nfe: Option<usize>,
    peak_bytes: usize,
}

/// Steps that may make graphs; sampling makes its own every time.
const MOST_TO_SETTLE: usize = 3;

fn plan(network: &Network, (task, dtype, batch): Case, chip: Chip) -> Result<Planned> {
    let planner = Planner::of(&chip);
    let device = Device::Gpu(planner.gpu().clone());
    let mut prepared = task::prepare(task, &network.config, &network.model, dtype, batch, &device)?;
    let mut again = || {
        planner.take();
        device.reset_peak_memory();
        (prepared.work)().map(|()| planner.take())
    };
    again()?;
    let mut plan = again()?;
    // The graph of a training step is made once, and the memory for it.
    for _ in 0..MOST_TO_SETTLE {
        if !plan.events().iter().any(|event| matches!(event, Event::Prepare { .. })) {
            break;
        }
        plan = again()?;
    }
    let prediction = plan.predict(&chip);
    Ok(Planned { plan, prediction, nfe: prepared.nfe(), peak_bytes: device.peak_memory() })
}

impl Planned {
    fn peak_mib(&self) -> f64 {
        self.peak_bytes as f64 / f64::from(1 << 20)
    }

    fn images_per_s(&self, batch: u32) -> f64 {
        f64::from(batch) / self.prediction.seconds()
    }

    fn show(&self, (task, dtype, batch): Case) -> Result<()> {
        let Prediction { device_seconds, host_seconds, wait_seconds, kinds, .. } = &self.prediction;
        let slower = if self.prediction.is_bound_by_host() { "; the host is slower than the device" } else { "" };
        say("")?;
        say(&format!(
            "{}, batch {batch}, {dtype}: {} predicted, {:.1} images/s (device {}, host {}, waits {}{slower})",
            task.name(),
            duration(self.prediction.seconds()),
            self.images_per_s(batch),
            duration(*device_seconds),
            duration(*host_seconds),
            duration(*wait_seconds),
        ))?;
        say(&format!(
            "{} launches, {} allocations, {} waits of the host, {:.1} MiB at most",
            grouped(self.plan.launch_count() as u64),
            grouped(self.plan.allocations() as u64),
            self.plan.waits(),
            self.peak_mib(),
        ))?;
        let columns = columns();
        let row = |cells: &[String]| {
            let cells: Vec<String> = columns.iter().zip(cells).map(|(column, text)| column.cell(text)).collect();
            say(cells.join("  ").trim_end())
        };
        row(&columns.iter().map(|column| column.title().into()).collect::<Vec<_>>())?;
        kinds.iter().try_for_each(|kind| row(&cells(kind, *device_seconds)))
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::left("what", 26),
        Column::right("launches", 8),
        Column::right("GFLOP", 10),
        Column::right("GB", 8),
        Column::right("predicted", 10),
        Column::right("share", 5),
        Column::left("limited by", 15),
    ]
}

fn cells(kind: &Kind, of: f64) -> Vec<String> {
    let gflop = if kind.flops > 0.0 { format!("{:.2}", 1e-9 * kind.flops) } else { NOTHING.into() };
    // Bytes that nobody wrote a rule for are those of whole buffers.
    let about = if kind.known { "" } else { "~" };
    vec![
        kind.name.into(),
        kind.launches.to_string(),
        gflop,
        format!("{about}{:.3}", 1e-9 * kind.bytes),
        duration(kind.seconds),
        share(Some(kind.seconds / of)),
        kind.limit.name().into(),
    ]
}

/// One case, as it stands in the JSON file.
#[derive(Debug, Serialize)]
struct PlanLine<'a> {
    network: &'a str,
    task: &'static str,
    batch: u32,
    dtype: String,
    /// The GPU that all of it was predicted for.
    predicted_for: &'static str,
    params: usize,
    /// Why there is no prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'static str>,
    #[serde(flatten)]
    result: Option<PlanResult>,
}

#[derive(Debug, Serialize)]
struct PlanResult {
    /// Denoiser calls of the sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    nfe: Option<usize>,
    predicted_ms: f64,
    predicted_images_per_s: f64,
    predicted_device_ms: f64,
    predicted_host_ms: f64,
    predicted_wait_ms: f64,
    launches: usize,
    allocations: usize,
    waits: usize,
    peak_mib: f64,
    /// Operations of all products, in billions.
    gflop: f64,
    /// Bytes of memory, in billions.
    gbytes: f64,
    kinds: Vec<KindLine>,
}

#[derive(Debug, Serialize)]
struct KindLine {
    what: &'static str,
    launches: usize,
    gflop: f64,
    gbytes: f64,
    predicted_ms: f64,
    /// Of the device's time, from 0 to 1.
    share: f64,
    limited_by: &'static str,
    /// Whether its bytes are known, or taken for those of all buffers.
    known: bool,
}

impl<'a> PlanLine<'a> {
    fn new(network: &'a Network, (task, dtype, batch): Case, chip: Chip, planned: Option<&Planned>) -> Self {
        PlanLine {
            network: &network.preset,
            task: Task::name(task),
            batch,
            dtype: dtype.to_string(),
            predicted_for: chip.name,
            params: network.parameters,
            skipped: planned.is_none().then_some("out of memory"),
            result: planned.map(|planned| PlanResult::new(planned, batch)),
        }
    }
}

impl PlanResult {
    fn new(planned: &Planned, batch: u32) -> Self {
        let Planned { plan, prediction, nfe, .. } = planned;
        let kind = |kind: &Kind| KindLine {
            what: kind.name,
            launches: kind.launches,
            gflop: 1e-9 * kind.flops,
            gbytes: 1e-9 * kind.bytes,
            predicted_ms: 1e3 * kind.seconds,
            share: kind.seconds / prediction.device_seconds,
            limited_by: kind.limit.name(),
            known: kind.known,
        };
        PlanResult {
            nfe: *nfe,
            predicted_ms: 1e3 * prediction.seconds(),
            predicted_images_per_s: planned.images_per_s(batch),
            predicted_device_ms: 1e3 * prediction.device_seconds,
            predicted_host_ms: 1e3 * prediction.host_seconds,
            predicted_wait_ms: 1e3 * prediction.wait_seconds,
            launches: plan.launch_count(),
            allocations: plan.allocations(),
            waits: plan.waits(),
            peak_mib: planned.peak_mib(),
            gflop: 1e-9 * prediction.flops(),
            gbytes: 1e-9 * prediction.bytes(),
            kinds: prediction.kinds.iter().map(kind).collect(),
        }
    }
}
