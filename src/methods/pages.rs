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
fn figures(c: &Comparison) -> [(&'static str, String); 6] {
    let kid = match c.kid_error {
        Some(error) => format!("{} \u{b1} {}", fixed(c.kid, 4), fixed(error, 4)),
        None => fixed(c.kid, 4),
    };
    [
        ("Fréchet distance", c.frechet_distance.map_or(NONE.into(), |distance| fixed(distance, 4))),
        ("KID", kid),
        ("sliced Wasserstein", fixed(c.sliced_wasserstein, 4)),
        ("precision", fixed(c.precision, 4)),
        ("recall", fixed(c.recall, 4)),
        ("coverage", fixed(c.coverage, 4)),
    ]
}

/// Stands for a figure that is not there.
const NONE: &str = "\u{2013}";

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
    let mut cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(name, c)| std::iter::once(name.clone()).chain(figures(c).map(|(_, value)| value)).collect())
        .collect();
    let what = first.features.rows();
    let units = if first.units.is_empty() { String::new() } else { format!(" Distances are {}.", first.units) };
    let mut text = format!(
        "Measured on {} ({} numbers each), {} generated against {} real {what}.{units} KID with its standard error.",
        first.features, first.dims, first.generated, first.real
    );
    if let Some(ceiling) = rows.iter().find_map(|(_, c)| c.ceiling) {
        let shares = [ceiling.precision, ceiling.recall, ceiling.coverage].map(|share| fixed(share, 4));
        let name = format!("real {what} in place of generated ones");
        cells.push([name].into_iter().chain([NONE; 3].map(String::from)).chain(shares).collect());
        let [reference, others] = ceiling.rows;
        text += &format!(
            " The last row is {others} real {what} against {reference} others: about as far up as a model that has \
             learnt the law can come."
        );
    }
    if let Some(why) = rows.iter().find_map(|(_, c)| c.rank_deficient.as_ref()) {
        text += &format!(" The Fréchet distance: {why}.");
    }
    page.table(&names, &cells).text(&text)
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
        let noun = rows.first().map_or("images", |(_, c)| c.features.rows());
        let chart = Chart::new("Loss", format!("thousand {noun}"), "loss of a sample, logarithmic").log_y().smoothed(
            "loss",
            loss.clone(),
            (loss.len() as f64 / 40.0).max(1.0),
        );
        page = page.section("Loss").picture(&chart.render()?, &format!("Loss over the {noun} seen"), "")?;
    }
    Ok(page.section("Data").verbatim(read).section("Settings").verbatim(document).html())
}
