//! The table on standard output, and the same as JSON lines.

use std::path::PathBuf;

use serde::Serialize;
use veridical::backend::ceiling::Ceiling;
use veridical::train::write_atomic;
use veridical::{DType, Device, Error, Result};

use super::case::Direction;
use super::op_table::Row;
use crate::cli::say;

/// One case, as it stands in the JSON file.
#[derive(Debug, Serialize)]
pub struct Line {
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
    /// Of that ceiling, from 0 to 1 (more if the data were in a cache).
    share: Option<f64>,
    ceiling_gflops: Option<f64>,
    ceiling_gbytes: Option<f64>,
}

impl Line {
    pub fn new(
        row: &Row,
        dtype: DType,
        device: &Device,
        direction: Direction,
        seconds: f64,
        samples: usize,
        ceiling: Option<Ceiling>,
    ) -> Result<Line> {
        let (flops, elements) = super::work_of(row, direction);
        let bytes = elements * dtype.size() as f64;
        let mut line = Line {
            op: row.op,
            case: row.case.clone(),
            dtype: dtype.to_string(),
            device: device.to_string(),
            direction: direction.name(),
            seconds,
            samples,
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

/// Prints lines as they come. The file is written anew with each, whole: it never holds half a line, and a name that cannot be
/// written to is noticed at once.
pub struct Report {
    widths: [usize; 2],
    json: Option<PathBuf>,
    lines: String,
    /// Lowest and highest ceilings met, in GFLOP/s by dtype and GB/s.
    ceilings: Vec<(String, f64, f64)>,
}

impl Report {
    /// Prints the heading.
    pub fn new(device: &Device, cases: &[(Row, DType, Direction)], json: Option<PathBuf>) -> Result<Report> {
        let width = |cell: &dyn Fn(&Row) -> usize| cases.iter().map(|(row, ..)| cell(row)).max().unwrap_or(0);
        let widths = [width(&|row| row.op.len()).max(2), width(&|row| row.case.len()).max(4)];
        let threads = if matches!(device, Device::Cpu) {
            format!(", {} threads", rayon::current_num_threads())
        } else {
            String::new()
        };
        say(&format!("on {device}{threads}"))?;
        let report = Report { widths, json, lines: String::new(), ceilings: Vec::new() };
        report.row(["op", "case", "dtype", "direction", "median", "rate", "of the ceiling"])?;
        Ok(report)
    }

    fn row(&self, cells: [&str; 7]) -> Result<()> {
        let [op, case, dtype, direction, median, rate, share] = cells;
        let [w0, w1] = self.widths;
        say(&format!("{op:<w0$}  {case:<w1$}  {dtype:<5}  {direction:<9}  {median:>10}  {rate:>15}  {share:>14}"))
    }

    pub fn add(&mut self, line: &Line) -> Result<()> {
        let share = match (line.share, line.bound) {
            (Some(share), Some(bound)) => format!("{:.0}% {bound}", 100.0 * share),
            _ => "\u{2013}".into(),
        };
        let (median, rate) = (duration(line.seconds), line.rate());
        self.row([line.op, &line.case, &line.dtype, line.direction, &median, &rate, &share])?;
        for (what, rate) in
            [(format!("{} GFLOP/s", line.dtype), line.ceiling_gflops), ("GB/s".into(), line.ceiling_gbytes)]
        {
            let Some(rate) = rate else { continue };
            match self.ceilings.iter_mut().find(|(known, ..)| *known == what) {
                Some((_, low, high)) => (*low, *high) = (low.min(rate), high.max(rate)),
                None => self.ceilings.push((what, rate, rate)),
            }
        }
        if let Some(path) = &self.json {
            self.lines += &serde_json::to_string(line).map_err(|e| Error::argument("bench", e.to_string()))?;
            self.lines.push('\n');
            write_atomic(path, self.lines.as_bytes())?;
        }
        Ok(())
    }

    /// Prints the ceilings.
    pub fn finish(self) -> Result<()> {
        let ceilings: Vec<String> =
            self.ceilings.iter().map(|(what, low, high)| format!("{low:.1} to {high:.1} {what}")).collect();
        if ceilings.is_empty() {
            return Ok(());
        }
        say(&format!("ceilings: {}", ceilings.join(", ")))
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", 1e9 * s),
        s if s < 1e-3 => format!("{:.1} \u{b5}s", 1e6 * s),
        s if s < 1.0 => format!("{:.2} ms", 1e3 * s),
        s => format!("{s:.2} s"),
    }
}
