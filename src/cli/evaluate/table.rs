//! The figures of a comparison as text, and what is to be known of them.

use veridical::evaluate::{Ceiling, Comparing, Comparison, Measured, Statistics};
use veridical::figures::{fixed, significant};

type Figure<T> = fn(&T) -> Option<f64>;

/// A line: its name, the figure, the figure of real rows, and whether it is in the units of the data.
const FIGURES: [(&str, Figure<Comparison>, Figure<Ceiling>, bool); 11] = [
    ("Fréchet distance", |c| c.frechet_distance, |_| None, true),
    ("KID", |c| Some(c.kid), |_| None, false),
    ("  its standard error", |c| c.kid_error, |_| None, false),
    ("MMD, Gaussian kernel", |c| Some(c.mmd_gaussian), |_| None, false),
    ("energy distance", |c| c.energy_distance, |_| None, true),
    ("sliced Wasserstein", |c| Some(c.sliced_wasserstein), |_| None, true),
    ("precision", |c| Some(c.precision), |c| Some(c.precision), false),
    ("recall", |c| Some(c.recall), |c| Some(c.recall), false),
    ("density", |c| Some(c.density), |c| Some(c.density), false),
    ("coverage", |c| Some(c.coverage), |c| Some(c.coverage), false),
    ("inception score", |c| c.inception_score, |_| None, false),
];

/// The figures one under the other; real data in a second column.
pub fn table(generated: &Comparison, floor: Option<&Comparison>) -> String {
    let Comparison { features, dims, real, .. } = generated;
    let mut lines = vec![format!(
        "on {features} ({} each), {} generated and {real} real {}",
        numbers(*dims),
        generated.generated,
        features.rows()
    )];
    let beside = floor.is_some() || generated.ceiling.is_some();
    lines.push(format!(
        "{:<24}{:>12}{}",
        "",
        "generated",
        if beside { format!("{:>12}", "real") } else { String::new() }
    ));
    for (name, figure, of_real, in_units) in FIGURES {
        let Some(value) = figure(generated) else { continue };
        let other = match floor {
            Some(floor) => figure(floor),
            None => generated.ceiling.as_ref().and_then(of_real),
        };
        let other = other.map_or(String::new(), |value| format!("{:>12}", number(value, in_units)));
        lines.push(format!("{name:<24}{:>12}{other}", number(value, in_units)));
    }
    lines.join("\n")
}

/// The one figure of statistics.
pub fn of_statistics(found: &Statistics) -> String {
    let rows = |rows: Option<usize>, which: &str| match rows {
        Some(rows) => format!("{rows} {which} rows"),
        None => format!("statistics of {which} ones"),
    };
    let heading = format!(
        "on {} ({} each), {} and {}",
        found.features,
        numbers(found.dims),
        rows(found.generated, "generated"),
        rows(found.real, "real")
    );
    let distance = found.frechet_distance.map_or("\u{2013}".into(), |distance| number(distance, true));
    format!("{heading}\n{:<24}{distance:>12}", "Fréchet distance")
}

/// What is left out and why, what KID was made of, what the units are, and what the column of real rows is.
pub fn notes(found: &Comparison, floor: Option<&Comparison>, comparing: &Comparing) -> Vec<String> {
    let mut notes = Vec::new();
    let what = found.features.rows();
    if !found.units.is_empty() {
        notes.push(format!("distances are {} (the Fréchet distance in their squares)", found.units));
    }
    match (&found.rank_deficient, found.frechet_distance) {
        (Some(why), None) => {
            notes.push(format!("Fréchet distance left out: {why}, or get it all the same by --rank-deficient"));
        }
        (Some(why), Some(_)) => notes.push(format!("Fréchet distance of little meaning: {why}")),
        (None, _) => {}
    }
    let [subsets, size] = found.kid_subsets;
    let least = found.real.min(found.generated);
    let because = match comparing.kid_subset_size {
        Some(asked) if asked > size => format!(", not {asked}: the smaller sample has no more"),
        None if size < 1000 => format!(", half of the {least} of the smaller sample"),
        _ => String::new(),
    };
    notes.push(format!("KID is the mean over {subsets} random subsets of {size} rows of either sample{because}"));
    if found.kid_error.is_none() {
        let why = if subsets == 1 { "one subset" } else { "subsets that are all rows of a sample" };
        notes.push(format!("no standard error of KID: {why} cannot tell it"));
    }
    if found.features == Measured::Coordinates {
        notes.push(
            "of points the Fréchet distance compares means and covariances alone, and KID moments up to the third, \
             which hangs on the scale of the numbers; energy distance, MMD and sliced Wasserstein see every difference"
                .into(),
        );
    }
    if found.inception_score.is_none() {
        notes.push(match found.features {
            Measured::Classifier => "inception score left out: it takes 10 generated images or more".into(),
            _ => "inception score left out: it takes class probabilities, as of a classifier (--features FILE)".into(),
        });
    }
    if let Some(floor) = floor {
        notes.push(format!(
            "real: {} training {what} against the test {what}, which a model that knows only the former cannot be \
             expected to beat",
            floor.generated
        ));
    }
    match found.ceiling {
        Some(Ceiling { rows: [reference, others], expected_coverage, .. }) => notes.push(format!(
            "real: {others} real {what} against {reference} others, what a perfect model would come to; the coverage \
             expected of one is {}",
            fixed(expected_coverage, 3)
        )),
        None if comparing.ceiling => {
            notes.push(format!("too few real {what} to split them and say what is the most that a model can reach"));
        }
        None => {}
    }
    notes
}

fn numbers(count: usize) -> String {
    if count == 1 { "1 number".into() } else { format!("{count} numbers") }
}

/// Five digits after the point; of large and small numbers in the units of the data those that count.
fn number(value: f64, in_units: bool) -> String {
    match value.abs() {
        size if size >= 1e6 => significant(value, 6),
        size if in_units && (1e-13..1e-3).contains(&size) => significant(value, 5),
        _ => fixed(value, 5),
    }
}
