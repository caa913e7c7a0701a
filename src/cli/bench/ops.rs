//! The rows of the op table that are marked for it.

use std::time::Duration;

use serde::Serialize;
use veridical::backend::ceiling::Ceiling;
use veridical::op_table::{self, Row};
use veridical::{DType, Device, Error, Result};

use super::case::{self, Direction};
use super::report::{Column, Line, Report, duration, share};
use super::timing::{self, Effort, Timing};
use super::{Args, Ceilings};

pub fn run(args: &Args, device: &Device, mut ceilings: Ceilings) -> Result<()> {
    let cases = cases(args)?;
    let mut report = Report::new(device, columns(&cases), args.json.clone())?;
    ceilings.note();
    for (row, dtype, direction) in cases {
        match measure(&row, dtype, direction, device, args.quick, &mut ceilings) {
            Err(Error::Stopped) => break,
            line => line?.iter().try_for_each(|line| report.add(line))?,
        }
    }
    report.finish()
}

/// `None` if the row has no gradient to run backward.
fn measure(
    row: &Row,
    dtype: DType,
    direction: Direction,
    device: &Device,
    quick: bool,
    ceilings: &mut Ceilings,
) -> Result<Option<OpLine>> {
    let Some(mut work) = case::prepare(row, dtype, device, direction)? else { return Ok(None) };
    let ceiling = ceilings.now()?;
    let timing = timing::time(&mut work, device, effort(device, quick))?;
    OpLine::new(row, dtype, device, direction, &timing, ceiling).map(Some)
}

/// Rows, dtypes and directions that the flags ask for. Errors if none is left.
fn cases(args: &Args) -> Result<Vec<(Row, DType, Direction)>> {
    let rows: Vec<Row> = op_table::rows().into_iter().filter(|row| row.bench).collect();
    let dtypes = args.dtypes();
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
    let sample = timing::least_sample(device);
    match quick {
        true => Effort { samples: 5, limit: Duration::from_millis(200), sample },
        false => Effort { samples: 51, limit: Duration::from_millis(1500), sample },
    }
}

fn columns(cases: &[(Row, DType, Direction)]) -> Vec<Column> {
    let width = |cell: &dyn Fn(&Row) -> usize| cases.iter().map(|(row, ..)| cell(row)).max().unwrap_or(0);
    vec![
        Column::left("op", width(&|row| row.op.len())),
        Column::left("case", width(&|row| row.case.len())),
        Column::left("dtype", 5),
        Column::left("direction", 9),
        Column::right("median", 10),
        Column::right("rate", 15),
        Column::right("of the ceiling", 14),
    ]
}

/// One case, as it stands in the JSON file.
#[derive(Debug, Serialize)]
struct OpLine {
    op: &'static str,
    case: String,
    dtype: String,
    device: String,
    direction: &'static str,
    /// Median of `samples`.
    seconds: f64,
    samples: usize,
    gflops: f64,
    gbytes: f64,
    /// Which ceiling is nearer: `compute` or `memory`. Absent, as the rest, on the emulator.
    bound: Option<&'static str>,
    /// The share of that ceiling, from 0 to 1 (more if the data were in a cache).
    share: Option<f64>,
    ceiling_gflops: Option<f64>,
    ceiling_gbytes: Option<f64>,
}

impl OpLine {
    fn new(
        row: &Row,
        dtype: DType,
        device: &Device,
        direction: Direction,
        timing: &Timing,
        ceiling: Option<Ceiling>,
    ) -> Result<Self> {
        let (flops, elements) = work_of(row, direction);
        let bytes = elements * dtype.size() as f64;
        let seconds = timing.median;
        let mut line = OpLine {
            op: row.op,
            case: row.case.clone(),
            dtype: dtype.to_string(),
            device: device.to_string(),
            direction: direction.name(),
            seconds,
            samples: timing.samples,
            gflops: flops / seconds / 1e9,
            gbytes: bytes / seconds / 1e9,
            bound: None,
            share: None,
            ceiling_gflops: None,
            ceiling_gbytes: None,
        };
        if let Some(ceiling) = ceiling {
            let operations = ceiling.operations(dtype)?;
            let (compute, memory) = (flops / operations, bytes / ceiling.bytes);
            line.bound = Some(if compute > memory { "compute" } else { "memory" });
            line.share = Some(compute.max(memory) / seconds);
            line.ceiling_gflops = Some(operations / 1e9);
            line.ceiling_gbytes = Some(ceiling.bytes / 1e9);
        }
        Ok(line)
    }

    fn rate(&self) -> String {
        let compute = self.bound.map_or(self.gflops > 10.0 * self.gbytes, |bound| bound == "compute");
        if compute { format!("{:.1} GFLOP/s", self.gflops) } else { format!("{:.1} GB/s", self.gbytes) }
    }
}

impl Line for OpLine {
    fn cells(&self) -> Vec<String> {
        let of_ceiling = self.bound.map_or_else(|| share(None), |bound| format!("{} {bound}", share(self.share)));
        vec![
            self.op.into(),
            self.case.clone(),
            self.dtype.clone(),
            self.direction.into(),
            duration(self.seconds),
            self.rate(),
            of_ceiling,
        ]
    }

    fn ceilings(&self) -> Vec<(String, f64)> {
        let rates = [(format!("{} GFLOP/s", self.dtype), self.ceiling_gflops), ("GB/s".into(), self.ceiling_gbytes)];
        rates.into_iter().filter_map(|(what, rate)| Some((what, rate?))).collect()
    }
}
