//! Curves of several runs as a picture, with the spread over their seeds: how the charts in `docs/results` are made.
//!
//! `cargo run --release --example curves -- curves.json chart.png`, where the file holds `{"title": ..., "x": ..., "y":
//! ..., "log_y": false, "curves": [["name", {"seed": [[x, y], ...]}], ...]}`. Without arguments it draws a curve of its
//! own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use veridical::report::{Chart, png};
use veridical::{Error, Result};

#[derive(Deserialize)]
struct Curves {
    title: String,
    x: String,
    y: String,
    #[serde(default)]
    log_y: bool,
    /// In the order of the legend.
    curves: Vec<(String, BTreeMap<String, Vec<(f64, f64)>>)>,
}

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (curves, to) = match &arguments[..] {
        [from, to] => (read(from)?, to.clone()),
        [] => {
            let wave =
                |shift: f64| (0..60).map(|i| (f64::from(i), (f64::from(i) / 9.0 + shift).sin())).collect::<Vec<_>>();
            let curves = json!([["sine", {"0": wave(0.0), "1": wave(0.3)}]]);
            let all = json!({"title": "A curve and its spread", "x": "x", "y": "y", "curves": curves});
            (serde_json::from_value(all).map_err(|e| Error::Config(e.to_string()))?, "runs/curves.png".into())
        }
        _ => return Err(Error::Config("usage: curves [CURVES.json CHART.png]".into())),
    };
    let picture = png(&drawn(&curves).render()?)?;
    let failed = |e| Error::io(&to, e);
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(&to, picture).map_err(failed)?;
    println!("{}", to.display());
    Ok(())
}

fn read(path: &Path) -> Result<Curves> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_str(&text).map_err(|e| Error::format(path, e.to_string()))
}

/// The mean over the seeds, and behind it the least and the greatest of them.
fn drawn(curves: &Curves) -> Chart {
    let mut chart = Chart::new(&curves.title, &curves.x, &curves.y);
    if curves.log_y {
        chart = chart.log_y();
    }
    for (name, seeds) in &curves.curves {
        let mut at: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
        for &(x, y) in seeds.values().flatten() {
            // Bits of numbers that are not negative rise as they do.
            at.entry(x.to_bits()).or_insert((x, Vec::new())).1.push(y);
        }
        let mean = |ys: &[f64]| ys.iter().sum::<f64>() / ys.len() as f64;
        let line = at.values().map(|(x, ys)| (*x, mean(ys))).collect();
        let ends = |ys: &[f64]| ys.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &y| (a.min(y), b.max(y)));
        let band = at.values().map(|(x, ys)| (*x, ends(ys).0, ends(ys).1)).collect();
        chart = chart.banded(name, line, band);
    }
    chart
}
