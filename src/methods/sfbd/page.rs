//! The page of a run of SFBD.

use super::SfbdSettings;
use super::panels::panels;
use super::round::{Round, first_denoised, shown};
use crate::data::{Images, Kind};
use crate::error::Result;
use crate::evaluate::Comparison;
use crate::figures::fixed;
use crate::methods::noisy::NoisyData;
use crate::methods::pages::{last_samples, state, table};
use crate::report::{Chart, Report, png};
use crate::train::{End, RunDir, With};

/// The page of a run of SFBD.
pub(super) fn page(
    settings: &With<SfbdSettings>,
    data: &NoisyData,
    place: &RunDir,
    end: End,
    rounds: &[Round],
) -> Result<String> {
    let count = |set: &Option<Images>| set.as_ref().map_or(0, |set| set.len());
    let any = data.clean.as_ref().or(data.noisy.as_ref());
    let noun = any.map_or("images", |set| Kind::of(set.size()).noun());
    let mut page = Report::new(format!("Learning {} from noisy {noun}", data.name)).text(&format!(
        "{} {} clean {noun} and {} behind noise of standard deviation {}. {} stages are done.",
        state(end),
        count(&data.clean),
        count(&data.noisy),
        data.levels.said(data.unit()),
        rounds.len()
    ));
    let name = |round: &Round| match round.round {
        0 if settings.method.online.enabled => "online".to_string(),
        0 => format!("pre-trained on clean {noun}"),
        k => format!("after round {k}"),
    };
    let mut denoised = Vec::new();
    for (round, noisy) in rounds.iter().flat_map(|round| Some((round.round, data.noisy.as_ref()?))) {
        let found = first_denoised(place, round, shown(noisy) * noisy.values())?;
        denoised.extend(found.map(|pixels| (format!("round {round}"), pixels)));
    }
    if let Some(picture) = panels(data, denoised)? {
        place.write("samples/denoised.png", &png(&picture)?)?;
        page = page.section("Denoised").picture(
            &picture,
            &format!("The {noun} clean, noisy, and denoised in each round"),
            &format!("The same {noun} in every round; the noise on each is drawn once for good."),
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
        page = table(page.section(&format!("Distance by round: the denoised {noun}")), &of_denoised);
    }
    let errors: Vec<(f64, f64)> =
        rounds.iter().filter_map(|round| Some((f64::from(round.round), round.rms_error?))).collect();
    if !errors.is_empty() {
        let rows: Vec<_> = errors.iter().map(|(k, e)| vec![format!("{k}"), fixed(*e, 4)]).collect();
        page = page
            .text(&format!("Root mean square error of the denoised {noun} against the {noun} before the noise:"))
            .table(&["round", "error"], &rows);
    }
    if generated.len() > 1 {
        let frechet: Vec<(f64, f64)> =
            (0u32..).zip(&generated).filter_map(|(k, (_, c))| Some((k.into(), c.frechet_distance?))).collect();
        if !frechet.is_empty() {
            let chart = Chart::new("Fréchet distance", "round", "distance of what the model draws")
                .series("generated", frechet);
            page = page.picture(&chart.render()?, "Fréchet distance by round", "")?;
        }
        let kid = (0u32..).zip(&generated).map(|(k, (_, c))| (f64::from(k), c.kid, c.kid_error));
        let bars = kid.clone().filter_map(|(k, kid, error)| Some((k, kid - error?, kid + error?))).collect();
        let chart = Chart::new("KID", "round", "distance of what the model draws, with its standard error").barred(
            "generated",
            kid.map(|(k, kid, _)| (k, kid)).collect(),
            bars,
        );
        page = page.picture(&chart.render()?, "KID by round, with its standard error", "")?;
    }
    let last = rounds.last().map_or(0, |round| round.round);
    if let Some(picture) = last_samples(&place.path().join(format!("rounds/{last:02}"))) {
        page = page.section("Samples").picture(&picture, "Samples of the last model", "")?;
    }
    let document = settings.document()?;
    page = page.section("Data").verbatim(&data.accounts.join("\n"));
    Ok(page.section("Settings").verbatim(&document).html())
}
