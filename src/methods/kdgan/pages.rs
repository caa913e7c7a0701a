//! The page of a run.

use super::outcome::KdganOutcome;
use super::settings::KdganSettings;
use crate::error::Result;
use crate::figures::grouped;
use crate::methods::game::{Scores, Subset, charts, confusion_table, score_table};
use crate::methods::pages::state;
use crate::report::Report;
use crate::train::{End, RunDir, log};

/// Which examples have their labels.
fn chosen(settings: &KdganSettings, outcome: &KdganOutcome) -> String {
    match (settings.data.labelled, outcome.student.accuracy()) {
        (0, _) => "all of them".into(),
        // Labels that overlap cannot be balanced.
        (_, None) if settings.data.subset == Subset::Balanced => Subset::Random.to_string(),
        _ => settings.data.subset.to_string(),
    }
}

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
            grouped(outcome.labelled as u64),
            chosen(settings, outcome),
            outcome.seed
        ))
        .section("How well they do");
    let players: Vec<(&str, &Scores)> =
        std::iter::once(("student", &outcome.student)).chain(outcome.teacher.iter().map(|t| ("teacher", t))).collect();
    page =
        score_table(page, &players).text(&format!("On {measured}, at the end of the run; nothing was chosen by them."));
    let (headline, axis) = match outcome.student.accuracy() {
        Some(_) => ("Accuracy", "share that is right"),
        None => ("Mean average precision", "MAP"),
    };
    let ticks = log::read(place.path().join("log.jsonl"))?;
    let charted = [
        (headline, axis, &[("student", "student"), ("teacher", "teacher")][..], ""),
        (
            "The value of the game",
            "E log D + E log(1 - D)",
            &[("value", "value")][..],
            "At the equilibrium it is -log 4 = -1.386; near 0 the discriminator has won.",
        ),
        (
            "What the discriminator says",
            "mean of D",
            &[("judged_real", "on true labels"), ("judged_fake", "on the players' labels")][..],
            "Both tend to 1/2 as the players' labels come to be the true ones.",
        ),
        ("Loss of the student", "loss", &[("student_loss", "student")][..], ""),
    ];
    page = charts(page, &ticks, &charted)?;
    page = confusion_table(page, "student", &outcome.student, class_names);
    Ok(page.section("Data").verbatim(account).section("Settings").verbatim(document).html())
}
