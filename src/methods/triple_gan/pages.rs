//! The page of a run.

use super::outcome::TripleGanOutcome;
use super::settings::TripleGanSettings;
use crate::error::Result;
use crate::figures::grouped;
use crate::methods::game::{charts, confusion_table, score_table};
use crate::methods::pages::{last_samples, state};
use crate::players::GanLoss;
use crate::report::Report;
use crate::train::{End, RunDir, log};

pub(super) fn page(
    settings: &TripleGanSettings,
    outcome: &TripleGanOutcome,
    end: End,
    place: &RunDir,
    account: &str,
    class_names: &[String],
    document: &str,
) -> Result<String> {
    let title = match outcome.baseline.as_str() {
        "none" => "Triple-GAN".to_string(),
        baseline => format!("Without the game ({baseline})"),
    };
    let measured = if settings.data.validation > 0 { "training images that were set apart" } else { "test images" };
    let labelled = grouped(outcome.labelled as u64);
    let mut page = Report::new(format!("{title} on {}", settings.data.path))
        .text(&format!(
            "{} {} iterations with {labelled} labelled images ({}); seed {}.",
            state(end),
            grouped(outcome.iterations),
            settings.data.subset,
            outcome.seed
        ))
        .section("How well the classifier does");
    page = score_table(page, &[("classifier", &outcome.classifier)]).text(&format!(
        "An error of {:.2}%. On {measured}, at the end of the run; nothing was chosen by them.",
        100.0 * outcome.error
    ));
    if let (Some(made), Some(real)) = (outcome.sample_accuracy, outcome.sample_accuracy_real) {
        page = page.section("Generated images").text(&format!(
            "A classifier that was trained on all training labels reads {:.1}% of the generated images as the class that was \
             asked for, and {:.1}% of the {measured}.",
            100.0 * made,
            100.0 * real
        ));
    }
    if let Some(picture) = last_samples(place.path()) {
        page = page.picture(&picture, "Generated images, a row for each class", "")?;
    }
    let value = match settings.triple_gan.loss {
        GanLoss::Hinge => {
            "Of the sigmoids of the logits; the hinge loss itself looks at these no further than 1 and -1."
        }
        _ => "At the equilibrium it is -log 4 = -1.386; near 0 the discriminator has won.",
    };
    let ticks = log::read(place.path().join("log.jsonl"))?;
    let charted = [
        ("Accuracy", "share that is right", &[("accuracy", "classifier")][..], ""),
        ("The value of the game", "E log D + E log(1 - D)", &[("value", "value")][..], value),
        (
            "What the discriminator says",
            "mean of D",
            &[
                ("judged_real", "true pairs"),
                ("judged_generated", "the generator's"),
                ("judged_classified", "the classifier's"),
            ][..],
            "",
        ),
        (
            "Losses",
            "loss",
            &[
                ("classifier_loss", "classifier"),
                ("generator_loss", "generator"),
                ("discriminator_loss", "discriminator"),
            ][..],
            "",
        ),
    ];
    page = charts(page, &ticks, &charted)?;
    page = confusion_table(page, "classifier", &outcome.classifier, class_names);
    Ok(page.section("Data").verbatim(account).section("Settings").verbatim(document).html())
}
