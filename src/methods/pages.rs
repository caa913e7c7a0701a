//! The pages of the methods' runs.

use std::path::Path;

use image::RgbImage;
use serde_json::Value;

use crate::data::picture;
use crate::error::Result;
use crate::evaluate::Comparison;
use crate::figures::fixed;
use crate::report::{Chart, Report};
use crate::train::{End, RunDir, log};

/// Whether images can be drawn.
pub(super) fn are_pictures(size: [usize; 3]) -> bool {
    size[0] > 1 && size[1] > 1 && matches!(size[2], 1 | 3)
}

/// How a run stands, in words.
pub(super) fn state(end: End) -> &'static str {
    match end {
        End::Finished => "The run is finished.",
        End::OutOfTime => "The run ended because its time was up; it can be resumed.",
        End::Stopped => "The run was stopped; it can be resumed.",
    }
}

/// The figures of a comparison that tables show, with their names.
pub(super) fn figures(c: &Comparison) -> [(&'static str, f64); 5] {
    [
        ("Fréchet distance", c.frechet_distance),
        ("KID", c.kid),
        ("sliced Wasserstein", c.sliced_wasserstein),
        ("precision", c.precision),
        ("recall", c.recall),
    ]
}

/// The newest picture of samples in a stage's directory.
pub(super) fn last_samples(stage: &Path) -> Option<RgbImage> {
    let mut paths: Vec<_> =
        std::fs::read_dir(stage.join("samples")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    picture::rgb(paths.last()?).ok()
}

/// A table of distances, a row for each name.
pub(super) fn table(page: Report, rows: &[(String, &Comparison)]) -> Report {
    let Some((_, first)) = rows.first() else { return page };
    let names: Vec<&str> = std::iter::once("").chain(figures(first).map(|(name, _)| name)).collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, c)| std::iter::once(name.clone()).chain(figures(c).map(|(_, value)| fixed(value, 4))).collect())
        .collect();
    page.table(&names, &cells).text(&format!(
        "Measured on {} ({} numbers each), {} generated against {} real images.",
        first.features, first.dims, first.generated, first.real
    ))
}

/// The page of a run of one stage, with what it was measured to be; `read` says what data were read.
pub(super) fn single(
    title: &str,
    about: &str,
    read: &str,
    place: &RunDir,
    rows: &[(String, &Comparison)],
    document: &str,
) -> Result<String> {
    let mut page = Report::new(title).text(about);
    if !rows.is_empty() {
        page = table(page.section("Distance"), rows);
    }
    if let Some(picture) = last_samples(place.path()) {
        page = page.section("Samples").picture(&picture, "Samples of the model", "")?;
    }
    // A run that was stopped before its training has no log.
    let path = place.path().join("log.jsonl");
    let ticks = if path.exists() { log::read(path)? } else { Vec::new() };
    let loss: Vec<(f64, f64)> = ticks
        .iter()
        .filter_map(|tick: &Value| Some((tick["seen"].as_f64()? / 1000.0, tick["loss"].as_f64()?)))
        .collect();
    if loss.len() > 1 {
        let chart = Chart::new("Loss", "thousand images", "loss of a sample, logarithmic").log_y().smoothed(
            "loss",
            loss.clone(),
            (loss.len() as f64 / 40.0).max(1.0),
        );
        page = page.section("Loss").picture(&chart.render()?, "Loss over the images seen", "")?;
    }
    Ok(page.section("Data").verbatim(read).section("Settings").verbatim(document).html())
}
