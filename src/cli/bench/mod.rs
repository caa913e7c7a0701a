//! `veridical bench`: the rows of the op table that are marked for it, timed and held against what the device can do.

mod case;
// The table of the tests; Cargo.toml keeps it in the published package.
#[allow(dead_code)] // what only the tests need: references, tolerances
#[path = "../../../tests/op_table/mod.rs"]
mod op_table;
mod report;
mod timing;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use case::Direction;
use op_table::Row;
use report::{Line, Report};
use timing::Effort;
use veridical::backend::ceiling::Ceiling;
use veridical::{DType, Device, Error, Result};

use super::{Ended, device, interrupt, output, progress};

/// Time the operations and compare them with what the device can do at most.
///
/// Times every benchmark row of the op table, forward (without a tape) and backward, and shows the median time, the rate, and the
/// share of the ceiling: the time that the row's arithmetic takes between registers, or its bytes in a large copy, whichever is
/// longer, both measured in the same run, between the cases. Data that fit a cache can be faster than that copy. Threads on
/// the CPU: RAYON_NUM_THREADS.
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

pub fn run(args: Args) -> Result<Ended> {
    output::check([("--json", args.json.as_ref())])?;
    interrupt::catch()?;
    let device = Device::named(&args.device)?;
    let cases = cases(&args)?;
    let mut report = Report::new(&device, &cases, args.json)?;
    if args.device == "emulator" {
        progress::note(
            "the emulator runs a GPU's threads one after the other: times say what tests cost, nothing of a GPU",
        );
    }
    let mut ceilings =
        Ceilings { device: &device, last: None, pause: Duration::from_secs(if args.quick { 10 } else { 1 }) };
    for (row, dtype, direction) in cases {
        let Some(mut work) = case::prepare(&row, dtype, &device, direction)? else { continue };
        let ceiling = if args.device == "emulator" { None } else { Some(ceilings.now()?) };
        let (seconds, samples) = timing::time(&mut work, &device, effort(&device, args.quick))?;
        report.add(&Line::new(&row, dtype, &device, direction, seconds, samples, ceiling)?)?;
        if interrupt::requested() {
            break;
        }
    }
    report.finish()?;
    Ok(interrupt::ended())
}

/// Rows, dtypes and directions that the flags ask for. Errors if none is left.
fn cases(args: &Args) -> Result<Vec<(Row, DType, Direction)>> {
    let rows: Vec<Row> = op_table::rows().into_iter().filter(|row| row.bench).collect();
    let dtypes = if args.dtype.is_empty() { vec![DType::F32, DType::BF16] } else { args.dtype.clone() };
    let asked = |row: &Row| args.op.is_empty() || args.op.iter().any(|filter| row.op.contains(filter.as_str()));
    let mut cases = Vec::new();
    for row in rows.iter().filter(|row| asked(row)) {
        for &dtype in dtypes.iter().filter(|dtype| row.dtypes.contains(dtype)) {
            let wanted = |d: &Direction| {
                args.direction.as_deref().is_none_or(|direction| direction == d.name())
                    && work_of(row, *d) != (0.0, 0.0)
            };
            cases.extend(Direction::BOTH.into_iter().filter(wanted).map(|direction| (row.clone(), dtype, direction)));
        }
    }
    if cases.is_empty() {
        let mut names: Vec<&str> = rows.iter().map(|row| row.op).collect();
        names.dedup();
        return Err(Error::Config(format!(
            "no benchmark fits --op {} in {}; there are: {}",
            args.op.join(" or "),
            dtypes.iter().map(DType::to_string).collect::<Vec<_>>().join(" or "),
            names.join(", ")
        )));
    }
    Ok(cases)
}

/// Flops and elements moved.
fn work_of(row: &Row, direction: Direction) -> (f64, f64) {
    match direction {
        Direction::Forward => (row.flops, row.elements),
        Direction::Backward => row.backward_work(),
    }
}

fn effort(device: &Device, quick: bool) -> Effort {
    // A GPU is waited for once a sample, so samples must be long against that.
    let sample = Duration::from_millis(if matches!(device, Device::Cpu) { 2 } else { 10 });
    match quick {
        true => Effort { samples: 5, limit: Duration::from_millis(200), sample },
        false => Effort { samples: 51, limit: Duration::from_millis(1500), sample },
    }
}

/// The ceilings, measured again when they are older than `pause`: a case is held against what the machine could do at
/// its time.
struct Ceilings<'a> {
    device: &'a Device,
    last: Option<(Instant, Ceiling)>,
    pause: Duration,
}

impl Ceilings<'_> {
    fn now(&mut self) -> Result<Ceiling> {
        match self.last {
            Some((at, ceiling)) if at.elapsed() < self.pause => Ok(ceiling),
            _ => {
                let ceiling = Ceiling::measure(self.device)?;
                self.last = Some((Instant::now(), ceiling));
                Ok(ceiling)
            }
        }
    }
}
