//! Several results of `veridical collapse --json` on one chart.
//!
//! `cargo run --release --example compare_loops -- CHART.png MEASURE TITLE RESULT.json...`; MEASURE is the beginning of a measure's name.

use std::path::Path;

use veridical::train::{Chart, png, write_atomic};
use veridical::{Error, Result};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [chart, measure, title, results @ ..] = args.as_slice() else {
        return Err(Error::Config(
            "give a chart, a measure, a title and results of `veridical collapse --json`".into(),
        ));
    };
    let mut label = measure.clone();
    let mut curves = Vec::new();
    for path in results {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let found: serde_json::Value = serde_json::from_str(&text).map_err(|e| Error::format(path, e.to_string()))?;
        let measures = found["measures"].as_object().into_iter().flatten();
        let Some((name, values)) = measures.into_iter().find(|(name, _)| name.starts_with(measure)) else {
            return Err(Error::format(path, format!("no measure begins with {measure:?}")));
        };
        label.clone_from(name);
        let mean = values["mean"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64);
        let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        curves.push((name, mean.enumerate().map(|(t, y)| (t as f64, y)).collect()));
    }
    // The measure stands above, so that the names have the whole width of the legend.
    let empty = Chart::new(format!("{title}: {label}"), "round", "");
    let picture = curves.into_iter().fold(empty, |chart, (name, points)| chart.series(name, points));
    write_atomic(chart, &png(&picture.render()?)?)
}
