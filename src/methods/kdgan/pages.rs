//! The page of a run.

use super::outcome::KdganOutcome;
use super::settings::KdganSettings;
use crate::error::Result;
use crate::figures::grouped;
use crate::methods::game::{Scores, chart, confusion_table, score_table};
use crate::methods::pages::state;
use crate::report::Report;
use crate::train::{End, RunDir, log};

pub(super) fn page(
    settings: &KdganSettings,
    outcome: &KdganOutcome,
    end: End,
    place: &RunDir,
    account: &str,
    class_names: &[String],
    document: &str,
) -> Result<String> {
    let measured = if settings.data.validation > 0 { "training examples that were set apart" } else { "test examples" };
    let mut page = Report::new(format!("{} on {}", outcome.method.to_uppercase(), settings.data.path))
        .text(&format!(
            "{} The student made {} steps of {} examples, {} labelled ones ({}); seed {}.",
            state(end),
            grouped(outcome.student_steps),
            settings.steps.batch,
            if settings.data.labelled == 0 { "all".into() } else { grouped(settings.data.labelled as u64) },
            settings.data.subset,
            outcome.seed
        ))
        .section("How well they do");
    let players: Vec<(&str, &Scores)> =
        std::iter::once(("student", &outcome.student)).chain(outcome.teacher.iter().map(|t| ("teacher", t))).collect();
    page =
        score_table(page, &players).text(&format!("On {measured}, at the end of the run; nothing was chosen by them."));
    let headline = if outcome.student.accuracy().is_some() { "Accuracy" } else { "Mean average precision" };
    let ticks = log::read(place.path().join("log.jsonl"))?;
    for (title, label, curves, note) in [
        (headline, headline, &[("student", "student"), ("teacher", "teacher")][..], ""),
        (
            "The value of the game",
            "E log D + E log(1 - D)",
            &[("value", "value")],
            "At the equilibrium it is -log 4 = -1.386; near 0 the discriminator has won.",
        ),
        (
            "What the discriminator says",
            "mean of D",
            &[("judged_real", "on true labels"), ("judged_fake", "on the players' labels")],
            "Both tend to 1/2 as the players' labels come to be the true ones.",
        ),
        ("Loss of the student", "loss", &[("student_loss", "student")], ""),
    ] {
        if let Some(picture) = chart(&ticks, title, label, curves)? {
            page = page.section(title).picture(&picture, &format!("{title} over the steps of all players"), note)?;
        }
    }
    page = confusion_table(page, "student", &outcome.student, class_names);
    Ok(page.section("Data").verbatim(account).section("Settings").verbatim(document).html())
}
