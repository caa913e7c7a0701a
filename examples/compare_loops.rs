//! Several loops of training on one's own samples on one chart.
//!
//! `cargo run --release --example compare_loops` simulates three loops of a token distribution and draws their risks
//! into `runs/loops.png`. With `-- CHART.png MEASURE TITLE RESULT.json...` it draws results of `veridical collapse
//! --json`; MEASURE is the beginning of a measure's name.

use std::path::Path;

use veridical::methods::self_consuming::{Arm, Plan, Settings, families::Categorical, simulate};
use veridical::report::{Chart, png};
use veridical::train::write_atomic;
use veridical::{Error, Result};

/// A name, and a value for each round.
type Curve = (String, Vec<f64>);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [] => draw("runs/loops.png", "50 tokens, 100 samples a round: risk", simulated()?),
        [chart, measure, title, results @ ..] => {
            let mut label = measure.clone();
            let curves = results.iter().map(|path| read(path, measure, &mut label)).collect::<Result<Vec<_>>>()?;
            draw(chart, &format!("{title}: {label}"), curves)
        }
        _ => Err(Error::Config("give a chart, a measure, a title and results of `veridical collapse --json`".into())),
    }
}

/// The mean risk of three loops over 100 rounds.
fn simulated() -> Result<Vec<Curve>> {
    let family = Categorical::random(50, 1)?;
    let loops = [
        ("own samples only", Arm::Mixture, "0"),
        ("a tenth real", Arm::Mixture, "0.1"),
        ("all of them kept", Arm::Accumulate, "0"),
    ];
    let settings = Settings { repeats: 100, seed: 1, ..Settings::default() };
    let mut curves = Vec::new();
    for (name, arm, share) in loops {
        let plan = Plan::new(arm, 100, &share.parse()?, &"100".parse()?, Some(&family.law()))?;
        let found = simulate(&family, &plan, &settings)?;
        let [risk, ..] = found.measures.as_slice() else { continue };
        let (first, last) = (risk.mean[0], risk.mean[100]);
        println!("{name:<18} risk {first:.4} at first, {last:.4} after 100 rounds");
        curves.push((name.to_string(), risk.mean.clone()));
    }
    Ok(curves)
}

/// The means of the first measure whose name begins with `measure`; `label` becomes its whole name.
fn read(path: &str, measure: &str, label: &mut String) -> Result<Curve> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let found: serde_json::Value = serde_json::from_str(&text).map_err(|e| Error::format(path, e.to_string()))?;
    let measures = found["measures"].as_object().into_iter().flatten();
    let Some((name, values)) = measures.into_iter().find(|(name, _)| name.starts_with(measure)) else {
        return Err(Error::format(path, format!("no measure begins with {measure:?}")));
    };
    label.clone_from(name);
    let mean = values["mean"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64);
    Ok((Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned(), mean.collect()))
}

fn draw(path: &str, title: &str, curves: Vec<Curve>) -> Result<()> {
    // The measure stands in the title, so that the names have the whole width of the legend.
    let picture = curves.into_iter().fold(Chart::new(title, "round", ""), |chart, (name, means)| {
        chart.series(name, means.into_iter().enumerate().map(|(t, y)| (t as f64, y)).collect())
    });
    if let Some(folder) = Path::new(path).parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    write_atomic(path, &png(&picture.render()?)?)?;
    println!("see {path}");
    Ok(())
}
