//! The page of all runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use image::{ImageFormat, RgbImage};
use serde_json::Value;
use veridical::figures::{grouped, significant};
use veridical::report::{Chart, Report};
use veridical::{Result, files};

use super::runs::{Run, Told};

/// Seconds between two looks at the page.
const AGAIN: u32 = 30;
/// Runs that are compared where nobody says which: a chart has so many colours.
const COMPARED: usize = 6;
/// Characters of a run's name in a chart, where six names share a line.
const NAMED: usize = 12;
/// Points of a curve that is drawn as it is; longer ones are smoothed.
const PLAIN: usize = 40;
/// Stands for a figure that is not there.
const NONE: &str = "\u{2013}";
/// Fields of a log's lines that are no curves over the steps.
const NO_CURVES: [&str; 3] = ["step", "seen", "seconds"];
/// Those whose decades count, where all are above zero.
const LOGARITHMIC: [&str; 2] = ["loss", "gradient_norm"];

/// The page of the runs below `folder`, which compares those that are `wanted`, or the newest.
pub fn page(folder: &Path, runs: &[Run], wanted: &[&str]) -> Result<String> {
    let mut page = Report::new(format!("Runs below {}", folder.display())).read_again(AGAIN);
    if runs.is_empty() {
        return Ok(page.text("There is no run yet. A run is shown from the first line of its log on.").html());
    }
    let told: Vec<Told> = runs.iter().map(Run::told).collect();
    page = page.table(
        &["run", "steps", "samples seen", "loss", "measured", "last line"],
        &runs.iter().zip(&told).map(row).collect::<Vec<_>>(),
    );
    for (run, problem) in runs.iter().zip(&told).filter_map(|(run, told)| Some((run, told.problem.as_ref()?))) {
        page = page.text(&format!("{}: its log cannot be read: {problem}", run.name));
    }
    for name in wanted.iter().filter(|name| runs.iter().all(|run| run.name != **name)) {
        page = page.text(&format!("There is no run {name}."));
    }
    let shown = chosen(runs, wanted);
    let options: Vec<(String, bool)> =
        runs.iter().enumerate().map(|(i, run)| (run.name.clone(), shown.contains(&i))).collect();
    page = page.section("Compared").choice("run", &options, "Compare");
    if shown.len() > COMPARED {
        page = page.text(&format!("A chart has {COMPARED} colours: from the run after that on they come again."));
    }
    let compared: Vec<(&Run, &Told)> = shown.iter().map(|&i| (&runs[i], &told[i])).collect();
    for key in curves(&compared) {
        page =
            page.section(&key).picture(&chart(&key, &compared)?, &format!("{key} over the steps of each run"), "")?;
    }
    for (run, _) in &compared {
        let link = format!("/report?run={}", form_urlencoded::byte_serialize(run.name.as_bytes()).collect::<String>());
        page = page.section(&format!("Run {}", run.name)).links(&[("its report".into(), link)]);
        if let Some(picture) = run.newest_samples().and_then(|path| picture(&path)) {
            page = page.picture(&picture, &format!("The newest samples of {}", run.name), "")?;
        }
    }
    Ok(page.html())
}

/// Which runs are compared: those that are asked for, or those whose logs are the newest.
fn chosen(runs: &[Run], wanted: &[&str]) -> BTreeSet<usize> {
    let asked: BTreeSet<usize> = (0..runs.len()).filter(|&i| wanted.contains(&runs[i].name.as_str())).collect();
    if !asked.is_empty() {
        return asked;
    }
    let mut newest: Vec<usize> = (0..runs.len()).collect();
    newest.sort_by_key(|&i| std::cmp::Reverse(runs[i].changed()));
    newest.into_iter().take(COMPARED).collect()
}

/// A run's row of the table.
fn row((run, told): (&Run, &Told)) -> Vec<String> {
    let last = |key: &str| told.ticks.iter().rev().find_map(|tick| tick[key].as_f64());
    let count = |key: &str| last(key).map_or(NONE.into(), |count| grouped(count as u64));
    let measured = told.ticks.iter().rev().find(|tick| is_measured(tick)).and_then(Value::as_object);
    let figures: Vec<String> = measured
        .into_iter()
        .flatten()
        .filter(|(key, _)| is_curve(key))
        .filter_map(|(key, value)| Some(format!("{key} {}", significant(value.as_f64()?, 4))))
        .collect();
    vec![
        run.name.clone(),
        count("step"),
        count("seen"),
        last("loss").map_or(NONE.into(), |loss| significant(loss, 4)),
        if figures.is_empty() { NONE.into() } else { figures.join(", ") },
        told.age.map_or(NONE.into(), ago),
    ]
}

/// Whether a line of a log tells what was measured, and not of training or of a branch.
fn is_measured(tick: &Value) -> bool {
    tick.get("loss").is_none() && tick.get("branch").is_none()
}

fn is_curve(key: &str) -> bool {
    !NO_CURVES.contains(&key) && !key.ends_with("_error")
}

/// The figures that some of the runs have: the loss, what was measured, everything else.
fn curves(compared: &[(&Run, &Told)]) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for tick in compared.iter().flat_map(|(_, told)| &told.ticks) {
        for (key, _) in tick.as_object().into_iter().flatten().filter(|(key, value)| is_curve(key) && value.is_number())
        {
            let rank = if key == "loss" {
                0
            } else if is_measured(tick) {
                1
            } else {
                2
            };
            keys.insert((rank, key.clone()));
        }
    }
    let mut names: Vec<String> = Vec::new();
    for (_, key) in keys {
        if !names.contains(&key) {
            names.push(key);
        }
    }
    names
}

/// The curves of a figure, one for each run in the same colour throughout.
fn chart(key: &str, compared: &[(&Run, &Told)]) -> Result<RgbImage> {
    let points = |told: &Told| -> Vec<(f64, f64)> {
        told.ticks.iter().filter_map(|tick| Some((tick["step"].as_f64()?, tick[key].as_f64()?))).collect()
    };
    let bars = |told: &Told| -> Vec<(f64, f64, f64)> {
        let error = format!("{key}_error");
        let bar = |tick: &Value| {
            let (at, value, error) = (tick["step"].as_f64()?, tick[key].as_f64()?, tick[&error].as_f64()?);
            Some((at, value - error, value + error))
        };
        told.ticks.iter().filter_map(bar).collect()
    };
    let all: Vec<Vec<(f64, f64)>> = compared.iter().map(|(_, told)| points(told)).collect();
    let logarithmic = LOGARITHMIC.contains(&key) && all.iter().flatten().all(|(_, y)| *y > 0.0);
    let mut chart = Chart::new(key, "steps", if logarithmic { "logarithmic" } else { "" });
    if logarithmic {
        chart = chart.log_y();
    }
    for ((run, told), points) in compared.iter().zip(all) {
        let (name, half_life) = (short(&run.name), points.len() as f64 / 40.0);
        chart = match (bars(told), points.len() > PLAIN) {
            (bars, _) if !bars.is_empty() => chart.barred(name, points, bars),
            (_, true) => chart.smoothed(name, points, half_life),
            (_, false) => chart.series(name, points),
        };
    }
    chart.render()
}

/// The end of a long name, in which runs differ more often than in its beginning.
fn short(name: &str) -> String {
    match name.chars().count().checked_sub(NAMED) {
        None | Some(0) => name.into(),
        Some(over) => std::iter::once('\u{2026}').chain(name.chars().skip(over + 1)).collect(),
    }
}

/// A picture that a run has drawn; somebody may have put something else there.
fn picture(path: &Path) -> Option<RgbImage> {
    let bytes = files::read(path).ok()?;
    image::load_from_memory_with_format(&bytes, ImageFormat::Png).ok().map(|image| image.to_rgb8())
}

/// A time that has passed, in words.
fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(ticks: Vec<Value>) -> Told {
        Told { ticks, problem: None, age: Some(Duration::from_secs(90)) }
    }

    fn run(name: &str) -> Run {
        Run { name: name.into(), place: "/nowhere".into() }
    }

    #[test]
    fn a_row_has_the_last_figures() {
        let ticks = vec![
            json!({"step": 1000, "seen": 4000, "loss": 0.5}),
            json!({"step": 1000, "seen": 4000, "kid": 0.25, "kid_error": 0.1}),
            json!({"step": 1000, "seen": 4000, "branch": []}),
        ];
        let row = row((&run("a"), &told(ticks)));
        assert_eq!(row, ["a", "1,000", "4,000", "0.5", "kid 0.25", "90 s ago"]);
        let empty = super::row((&run("a"), &Told { ticks: vec![], problem: None, age: None }));
        assert_eq!(empty[1..], [NONE; 5]);
        assert_eq!(["a", "sf/rounds/01", "sfbd/rounds/01"].map(short), ["a", "sf/rounds/01", "\u{2026}d/rounds/01"]);
        let ages = [0, 120, 7200, 172_800].map(|seconds| ago(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0 s ago", "2 min ago", "2 h ago", "2 days ago"]);
    }

    #[test]
    fn every_figure_has_one_chart_and_the_loss_comes_first() {
        let told = told(vec![
            json!({"step": 1, "seen": 4, "loss": 0.5, "accuracy": 1, "seconds": 3, "note": "x"}),
            json!({"step": 1, "accuracy": 0.5, "kid": 0.25, "kid_error": 0.1}),
        ]);
        let run = run("a");
        assert_eq!(curves(&[(&run, &told)]), ["loss", "accuracy", "kid"]);
        assert!(chart("kid", &[(&run, &told)]).is_ok() && chart("none", &[(&run, &told)]).is_ok());
    }
}
