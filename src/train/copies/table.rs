//! Lines of one kind as a table of comma-separated values.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

use super::kind::Kind;
use crate::error::{Error, Result};
use crate::train::log;
use crate::train::run_dir::RunDir;

/// A table that grows with the log.
///
/// It begins with the columns that every run has; those of the run's own figures follow in the order in which they
/// came, so that a column never moves.
pub(super) struct Table {
    kind: Kind,
    columns: Vec<String>,
    path: PathBuf,
    /// Open for appending; `None` as long as there is no line.
    file: Option<File>,
}

impl Table {
    /// Writes the table of the lines of this kind, in place of what is there; without a line there is no file.
    pub fn make(place: &RunDir, kind: Kind, ticks: &[Value]) -> Result<Self> {
        let path = place.path().join(kind.file());
        let failed = |e| Error::io(&path, e);
        let rows = rows(kind, ticks);
        if rows.is_empty() {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
                _ => return Ok(Table { kind, columns: Vec::new(), path, file: None }),
            }
        }
        let mut columns: Vec<String> = kind.columns().iter().map(|name| name.to_string()).collect();
        for name in rows.iter().filter_map(|row| row.as_object()).flat_map(|row| row.keys()) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        let text = text(&columns, &rows, true)?;
        place.write(kind.file(), &text)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        Ok(Table { kind, columns, path, file: Some(file) })
    }

    /// Adds the lines of the table's kind that are among `ticks`, the newest of the log. The table is written anew
    /// where one has a figure that none before it had.
    pub fn add(&mut self, place: &RunDir, ticks: &[Value]) -> Result<()> {
        let rows = rows(self.kind, ticks);
        if rows.is_empty() {
            return Ok(());
        }
        let known = |row: &&Value| row.as_object().is_some_and(|row| row.keys().all(|key| self.columns.contains(key)));
        match &mut self.file {
            Some(file) if rows.iter().all(known) => {
                let text = text(&self.columns, &rows, false)?;
                file.write_all(&text).map_err(|e| Error::io(&self.path, e))
            }
            _ => {
                *self = Table::make(place, self.kind, &log::read(place.path().join("log.jsonl"))?)?;
                Ok(())
            }
        }
    }
}

fn rows(kind: Kind, ticks: &[Value]) -> Vec<&Value> {
    ticks.iter().filter(|tick| Kind::of(tick) == Some(kind)).collect()
}

/// Rows, below their header or without it. What a row has not, or is not finite, is an empty cell.
fn text(columns: &[String], rows: &[&Value], header: bool) -> Result<Vec<u8>> {
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let failed = |e: csv::Error| Error::argument("Table", e.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    if header {
        writer.write_record(columns).map_err(failed)?;
    }
    for row in rows {
        writer.write_record(columns.iter().map(|name| cell(row.get(name)))).map_err(failed)?;
    }
    writer.into_inner().map_err(|e| Error::argument("Table", e.to_string()))
}
