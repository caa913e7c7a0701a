//! The page of a run.

use std::fs;
use std::path::Path;

use image::RgbImage;
use serde_json::Value;

use super::config::RunConfig;
use super::log;
use super::observer::End;
use crate::data::{DataSet, Kind, picture};
use crate::diffusion::Model;
use crate::error::Result;
use crate::figures::{fixed, grouped, significant};
use crate::report::{Chart, Report};

/// Pictures over time that the page shows at most.
const SHOWN: usize = 6;

/// Seconds between two looks at the page of a run that goes on.
const AGAIN: u32 = 30;

/// The page of a run, from what is in its directory.
pub(super) fn report(
    config: &RunConfig,
    data: &DataSet,
    model: &Model,
    place: &Path,
    document: &str,
    end: Option<End>,
) -> Result<String> {
    let ticks = log::read(place.join("log.jsonl"))?;
    let kind = Kind::of(data.train.size());
    let (noun, thousands) = (kind.noun(), format!("thousand {}", kind.noun()));
    let curve = |key: &str| -> Vec<(f64, f64)> {
        ticks.iter().filter_map(|tick| Some((tick["seen"].as_f64()? / 1000.0, tick[key].as_f64()?))).collect()
    };
    let last = ticks.iter().rfind(|tick| tick["loss"].is_number()).cloned().unwrap_or_default();
    let shown = |key: &str, digits: &dyn Fn(f64) -> String| last[key].as_f64().map_or("\u{2013}".into(), digits);
    let state = match end {
        None => "The run is going on.",
        Some(End::Finished) => "The run is finished.",
        Some(End::OutOfTime) => "The run ended because its time was up.",
        Some(End::Stopped) => "The run was stopped; it can be resumed.",
    };
    let parameters = model.weights.layout().parameter_count() as u64;
    let mut page = Report::new(format!("Training on {}", data.name))
        .text(&format!(
            "{state} {} of {} {noun} were seen, {} at a time, by a network of {} parameters on {} with seed {}.",
            grouped(last["seen"].as_u64().unwrap_or(0)),
            grouped(config.train.images),
            config.train.batch,
            grouped(parameters),
            model.weights.device(),
            config.train.seed
        ))
        .table(
            &["", "last"],
            &[
                vec!["loss".into(), shown("loss", &|x| fixed(x, 4))],
                vec!["gradient norm".into(), shown("gradient_norm", &|x| format!("{x:.3}"))],
                vec!["learning rate".into(), shown("learning_rate", &|x| format!("{x:.2e}"))],
                vec![format!("{noun} a second"), shown("images_per_second", &|x| format!("{x:.1}"))],
            ],
        );
    if end.is_none() {
        page = page.read_again(AGAIN);
    }
    let branches: Vec<Vec<String>> = ticks.iter().flat_map(branches).collect();
    if !branches.is_empty() {
        page = page
            .section("Branches")
            .text("The run went on with other settings on the way; the settings at the end of this page are the last.")
            .table(&["from image", "setting", "was", "is"], &branches);
    }
    let pictures = pictures(place);
    if let Some((last, earlier)) = pictures.split_last() {
        let beside = format!("Samples of the model, beside {noun} of the training set");
        let about = match kind {
            Kind::Pictures => String::new(),
            Kind::Signals => {
                "Each signal is a curve, in the units of the data; the axes fit those of the training set.".into()
            }
            Kind::Points => "In the units of the data; the axes fit the points of the training set.".into(),
        };
        page = page.section("Samples").picture(&last.1, &beside, &about)?;
        if !earlier.is_empty() {
            page =
                page.section("Samples over time").text("From the same noise each time, so that the pictures compare.");
        }
        for (seen, picture) in earlier {
            let caption = format!("after {} {noun}", grouped(*seen));
            page = page.picture(picture, &format!("Samples {caption}"), "")?;
        }
    }
    let compared = if data.test.is_some() { "test" } else { "training" };
    let in_units = format!(", {}", data.train.units().of_distances());
    for (name, key, units) in [("KID", "kid", ""), ("Sliced Wasserstein distance", "sliced_wasserstein", &*in_units)] {
        let (title, distances) = (format!("{name} on {}", kind.numbers()), curve(key));
        let Some(&(_, last)) = distances.last() else { continue };
        let errors: Vec<(f64, f64, f64)> = ticks.iter().filter_map(|tick| error_bar(tick, key)).collect();
        let error = errors.last().map(|(_, low, high)| (high - low) / 2.0);
        let plus_minus = error.map_or(String::new(), |error| {
            format!(" \u{b1} {}, its standard error, which the bars show", fixed(error, 4))
        });
        let last = if units.is_empty() { fixed(last, 4) } else { significant(last, 4) };
        let text = format!("Samples against {compared} {noun}; the last is {last}{plus_minus}{units}.");
        let chart = Chart::new(&title, &thousands, key).barred(key, distances, errors).render()?;
        page = page.section(&title).text(&text).picture(&chart, &format!("{title} over the {noun} seen"), "")?;
    }
    let half_life = (ticks.len() as f64 / 40.0).max(1.0);
    for (title, key, label, logarithmic) in [
        ("Loss", "loss", "loss of a sample, logarithmic", true),
        ("Gradient", "gradient_norm", "length of the gradient before clipping, logarithmic", true),
        ("Learning rate", "learning_rate", "learning rate", false),
        ("Speed", "images_per_second", &format!("{noun} a second"), false),
    ] {
        let chart = Chart::new(title, &thousands, label);
        let chart = if logarithmic {
            chart.log_y().smoothed(key, curve(key), half_life)
        } else {
            chart.series(key, curve(key))
        };
        page = page.section(title).picture(&chart.render()?, &format!("{title} over the {noun} seen"), "")?;
    }
    let page =
        page.section("Data").verbatim(&data.account()).text(&format!("Fingerprint {}.", data.train.fingerprint()));
    Ok(page.section("Settings").verbatim(document).html())
}

/// What a line of the log tells of a branch: the images seen, and a setting as it was and is.
fn branches(tick: &Value) -> Vec<Vec<String>> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    let seen = grouped(tick["seen"].as_u64().unwrap_or(0));
    let changes = tick["branch"].as_array().map(Vec::as_slice).unwrap_or_default();
    changes.iter().map(|c| vec![seen.clone(), text(&c["key"]), text(&c["was"]), text(&c["is"])]).collect()
}

/// The standard error of a distance in a line of the log, around it; `None` where the line has none.
fn error_bar(tick: &Value, key: &str) -> Option<(f64, f64, f64)> {
    let error = tick[format!("{key}_error")].as_f64()?;
    let (seen, value) = (tick["seen"].as_f64()? / 1000.0, tick[key].as_f64()?);
    Some((seen, value - error, value + error))
}

/// The pictures of `samples/`, the last and some spread evenly over the others, with the images seen.
fn pictures(place: &Path) -> Vec<(u64, RgbImage)> {
    let folder = place.join("samples");
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut names: Vec<(u64, std::path::PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_stem()?.to_str()?.parse().ok()?, path))
        })
        .collect();
    names.sort();
    let count = names.len();
    let picks: std::collections::BTreeSet<usize> = match count {
        0 => return Vec::new(),
        _ => (0..SHOWN).map(|i| i * (count - 1) / (SHOWN - 1)).collect(),
    };
    // Somebody may have put something else there; that is no reason to end a run.
    let picture = |i: usize| Some((names[i].0, picture::rgb(&names[i].1).ok()?));
    picks.into_iter().filter_map(picture).collect()
}
