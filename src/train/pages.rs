//! The pictures and the page of a run.

use std::fs;
use std::path::Path;

use image::RgbImage;
use serde_json::Value;

use super::config::RunConfig;
use super::observer::End;
use super::shown::{shown, shown_classes};
use super::{log, measure};
use crate::data::{DataSet, picture};
use crate::diffusion::Model;
use crate::error::Result;
use crate::figures::{fixed, grouped};
use crate::memory;
use crate::report::{Chart, ImageGrid, Report};

/// Pictures over time that the page shows at most.
const SHOWN: usize = 6;
/// What a picture of samples shows.
struct Shown {
    /// The classes of the samples, where the model has any.
    labels: Vec<u32>,
    /// Samples.
    count: usize,
    /// The training images beside them.
    picks: Vec<u32>,
    /// The rows' names.
    names: Vec<String>,
}

impl Shown {
    /// `None` if the data are no pictures.
    fn of(config: &RunConfig, data: &DataSet, model: &Model) -> Option<Self> {
        if model.denoiser().sample_shape().len() != 3 || !matches!(data.train.size()[2], 1 | 3) {
            return None;
        }
        let columns = config.sampling.columns;
        let classes = model.denoiser().label_dim();
        let labels = if classes > 0 { shown_classes(config, &data.train, classes) } else { Vec::new() };
        let count = if classes > 0 { labels.len() } else { columns * config.sampling.rows };
        let name = |class: u32| data.class_names.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
        let names = labels.chunks(columns).map(|row| name(row[0])).collect();
        Some(Shown { count, picks: shown(config, &data.train, classes), names, labels })
    }

    /// A class with few images would shift the rows below it.
    fn beside_real(&self) -> bool {
        self.picks.len() == self.count
    }
}

const REAL: &str = "of the training set";

fn caption(seen: u64) -> String {
    format!("generated, after {} images", grouped(seen))
}

/// Errors where [`samples`] would, whatever the samples are.
pub(super) fn check(config: &RunConfig, data: &DataSet, model: &Model) -> Result<()> {
    let Some(shown) = Shown::of(config, data, model) else { return Ok(()) };
    let columns = config.sampling.columns;
    let bytes = 3 * 4 * shown.count as u128 * data.train.values() as u128;
    memory::check(bytes, &format!("a picture of {} samples", shown.count), "lower sampling.columns or sampling.rows")?;
    let mut grid = ImageGrid::new(data.train.size()).row_labels(shown.names.clone()).room(
        caption(config.train.images),
        shown.count,
        columns,
    );
    if shown.beside_real() {
        grid = grid.room(REAL, shown.count, columns);
    }
    grid.check()
}

/// A picture of samples, beside real ones; `None` if the data are no pictures.
pub(super) fn samples(config: &RunConfig, data: &DataSet, model: &Model, seen: u64) -> Result<Option<RgbImage>> {
    let Some(shown) = Shown::of(config, data, model) else { return Ok(None) };
    let columns = config.sampling.columns;
    let pixels = measure::draw(&config.sampling.sampler(), model, config.sampling.seed, shown.count, &shown.labels)?;
    let (real, _) = data.train.gather(&shown.picks)?;
    let mut grid =
        ImageGrid::new(data.train.size()).row_labels(shown.names.clone()).panel(caption(seen), &pixels, columns);
    if shown.beside_real() {
        grid = grid.panel(REAL, &real, columns);
    }
    grid.render().map(Some)
}

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
            "{state} {} of {} images were seen, {} at a time, by a network of {} parameters on {} with seed {}.",
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
                vec!["images a second".into(), shown("images_per_second", &|x| format!("{x:.1}"))],
            ],
        );
    let branches: Vec<Vec<String>> = ticks.iter().flat_map(branches).collect();
    if !branches.is_empty() {
        page = page
            .section("Branches")
            .text("The run went on with other settings on the way; the settings at the end of this page are the last.")
            .table(&["from image", "setting", "was", "is"], &branches);
    }
    let pictures = pictures(place);
    if let Some((last, earlier)) = pictures.split_last() {
        page =
            page.section("Samples").picture(&last.1, "Samples of the model, beside images of the training set", "")?;
        if !earlier.is_empty() {
            page =
                page.section("Samples over time").text("From the same noise each time, so that the pictures compare.");
        }
        for (seen, picture) in earlier {
            let caption = format!("after {} images", grouped(*seen));
            page = page.picture(picture, &format!("Samples {caption}"), "")?;
        }
    }
    let compared = match data.test {
        Some(_) => "test images",
        None => "training images",
    };
    for (title, key) in [("KID on pixels", "kid"), ("Sliced Wasserstein distance on pixels", "sliced_wasserstein")] {
        let distances = curve(key);
        if let Some(&(_, last)) = distances.last() {
            let text = format!("Samples against {compared}; the last is {}.", fixed(last, 4));
            let chart = Chart::new(title, "thousand images", key).series(key, distances).render()?;
            page = page.section(title).text(&text).picture(&chart, &format!("{title} over the images seen"), "")?;
        }
    }
    let half_life = (ticks.len() as f64 / 40.0).max(1.0);
    for (title, key, label, logarithmic) in [
        ("Loss", "loss", "loss of a sample, logarithmic", true),
        ("Gradient", "gradient_norm", "length of the gradient before clipping, logarithmic", true),
        ("Learning rate", "learning_rate", "learning rate", false),
        ("Speed", "images_per_second", "images a second", false),
    ] {
        let chart = Chart::new(title, "thousand images", label);
        let chart = if logarithmic {
            chart.log_y().smoothed(key, curve(key), half_life)
        } else {
            chart.series(key, curve(key))
        };
        page = page.section(title).picture(&chart.render()?, &format!("{title} over the images seen"), "")?;
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
