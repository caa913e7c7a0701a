//! The table on standard output, and the same as JSON lines.

use std::path::PathBuf;

use serde::Serialize;
use veridical::train::write_atomic;
use veridical::{Device, Error, Result};

use crate::cli::say;

/// One case: a row of the table, and an object in the JSON file.
pub trait Line: Serialize {
    /// What stands in each column.
    fn cells(&self) -> Vec<String>;
    /// What the case was held against: unit, with the dtype where it matters, and rate.
    fn ceilings(&self) -> Vec<(String, f64)>;
}

/// A column of the table.
pub struct Column {
    title: &'static str,
    width: usize,
    left: bool,
}

impl Column {
    /// For text.
    pub fn left(title: &'static str, width: usize) -> Self {
        Column { title, width: width.max(title.len()), left: true }
    }

    /// For numbers.
    pub fn right(title: &'static str, width: usize) -> Self {
        Column { left: false, ..Self::left(title, width) }
    }

    pub fn title(&self) -> &'static str {
        self.title
    }

    pub fn cell(&self, text: &str) -> String {
        let width = self.width;
        if self.left { format!("{text:<width$}") } else { format!("{text:>width$}") }
    }
}

/// Prints lines as they come. The file is written anew with each, whole: it never holds half a line, and a name that
/// cannot be written to is noticed at once.
pub struct Report {
    columns: Vec<Column>,
    json: Option<PathBuf>,
    lines: String,
    /// Lowest and highest ceilings met, by what they are of.
    ceilings: Vec<(String, f64, f64)>,
}

impl Report {
    /// Prints the heading.
    pub fn new(device: &Device, columns: Vec<Column>, json: Option<PathBuf>) -> Result<Report> {
        let threads = if matches!(device, Device::Cpu) {
            match rayon::current_num_threads() {
                1 => ", 1 thread".into(),
                threads => format!(", {threads} threads"),
            }
        } else {
            String::new()
        };
        say(&format!("on {device}{threads}"))?;
        let titles: Vec<String> = columns.iter().map(|column| column.title.into()).collect();
        let report = Report { columns, json, lines: String::new(), ceilings: Vec::new() };
        report.row(&titles)?;
        Ok(report)
    }

    fn row(&self, cells: &[String]) -> Result<()> {
        let cells: Vec<String> = self.columns.iter().zip(cells).map(|(column, text)| column.cell(text)).collect();
        say(&cells.join("  "))
    }

    pub fn add(&mut self, line: &impl Line) -> Result<()> {
        self.row(&line.cells())?;
        for (what, rate) in line.ceilings() {
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

/// What stands where there is nothing to say.
pub const NOTHING: &str = "\u{2013}";

pub fn share(share: Option<f64>) -> String {
    share.map_or(NOTHING.into(), |share| format!("{:.0}%", 100.0 * share))
}

pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", 1e9 * s),
        s if s < 1e-3 => format!("{:.1} \u{b5}s", 1e6 * s),
        s if s < 1.0 => format!("{:.2} ms", 1e3 * s),
        s => format!("{s:.2} s"),
    }
}
