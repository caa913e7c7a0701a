//! The pages of the methods' runs.

use std::path::Path;

use image::RgbImage;
use serde_json::Value;

use super::noisy::NoisyData;
use super::sfbd::{Round, SHOWN, SfbdSettings, shown};
use crate::data::{Images, picture};
use crate::error::Result;
use crate::train::evaluate::Comparison;
use crate::train::{Chart, End, ImageGrid, Report, RunDir, With, fixed, log, png};

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

/// Clean, noisy and denoised images side by side, a row each, with a panel for every round; `None` where images are no pictures.
pub(super) fn triptych(data: &NoisyData, denoised: &[(String, Vec<f32>)]) -> Result<Option<RgbImage>> {
    let Some(noisy) = &data.noisy else { return Ok(None) };
    if !are_pictures(noisy.size()) || denoised.is_empty() {
        return Ok(None);
    }
    let count = SHOWN.min(noisy.len());
    let first = |set: &Images| -> Result<Vec<f32>> { Ok(set.gather(&(0..count as u32).collect::<Vec<_>>())?.0) };
    let (clean, noisy_pixels) = (data.originals.as_ref().map(first).transpose()?, first(noisy)?);
    let mut grid = ImageGrid::new(noisy.size());
    if let Some(clean) = &clean {
        grid = grid.panel("clean", clean, 1);
    }
    grid = grid.panel("noisy", &noisy_pixels, 1);
    for (name, pixels) in denoised {
        grid = grid.panel(name.clone(), pixels, 1);
    }
    grid.render().map(Some)
}

/// The newest picture of samples in a stage's directory.
fn last_samples(stage: &Path) -> Option<RgbImage> {
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

/// The page of a run of SFBD.
pub(super) fn sfbd(
    settings: &With<SfbdSettings>,
    data: &NoisyData,
    place: &RunDir,
    end: End,
    rounds: &[Round],
) -> Result<String> {
    let count = |set: &Option<Images>| set.as_ref().map_or(0, |set| set.len());
    let mut page = Report::new(format!("Learning {} from noisy images", data.name)).text(&format!(
        "{} {} clean images and {} behind noise of standard deviation {}. {} stages are done.",
        state(end),
        count(&data.clean),
        count(&data.noisy),
        data.sigma,
        rounds.len()
    ));
    let values = data.noisy.as_ref().map_or(1, |set| set.values());
    let name = |round: &Round| match round.round {
        0 if settings.method.online.enabled => "online".to_string(),
        0 => "pre-trained on clean images".to_string(),
        k => format!("after round {k}"),
    };
    let mut denoised = Vec::new();
    for round in rounds {
        denoised.extend(shown(place, round.round, values)?.map(|pixels| (format!("round {}", round.round), pixels)));
    }
    if let Some(picture) = triptych(data, &denoised)? {
        place.write("samples/denoised.png", &png(&picture)?)?;
        page = page.section("Denoised").picture(
            &picture,
            "Images clean, noisy, and denoised in each round",
            "The same images in every round; the noise on each is drawn once for good.",
        )?;
    }
    let generated: Vec<(String, &Comparison)> =
        rounds.iter().filter_map(|round| Some((name(round), round.generated.as_ref()?))).collect();
    if !generated.is_empty() {
        page = table(page.section("Distance by round: what the model draws"), &generated);
    }
    let of_denoised: Vec<(String, &Comparison)> = rounds
        .iter()
        .filter_map(|round| Some((format!("denoised in round {}", round.round), round.denoised.as_ref()?)))
        .collect();
    if !of_denoised.is_empty() {
        page = table(page.section("Distance by round: the denoised images"), &of_denoised);
    }
    let errors: Vec<(f64, f64)> =
        rounds.iter().filter_map(|round| Some((f64::from(round.round), round.rms_error?))).collect();
    if !errors.is_empty() {
        let rows: Vec<_> = errors.iter().map(|(k, e)| vec![format!("{k}"), fixed(*e, 4)]).collect();
        page = page
            .text("Root mean square error of the denoised images against the images before the noise:")
            .table(&["round", "error"], &rows);
    }
    if generated.len() > 1 {
        let points = |f: &dyn Fn(&Comparison) -> f64| {
            generated.iter().enumerate().map(|(k, (_, c))| (k as f64, f(c))).collect::<Vec<_>>()
        };
        let chart = Chart::new("Fréchet distance", "round", "distance of what the model draws")
            .series("generated", points(&|c| c.frechet_distance));
        page = page.picture(&chart.render()?, "Fréchet distance by round", "")?;
    }
    let last = rounds.last().map_or(0, |round| round.round);
    if let Some(picture) = last_samples(&place.path().join(format!("rounds/{last:02}"))) {
        page = page.section("Samples").picture(&picture, "Samples of the last model", "")?;
    }
    let document = settings.document()?;
    page = page.section("Data").verbatim(&data.accounts.join("\n"));
    Ok(page.section("Settings").verbatim(&document).html())
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
