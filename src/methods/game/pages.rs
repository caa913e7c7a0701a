//! Parts of the pages of games.

use image::RgbImage;
use serde_json::Value;

use super::held_out::Scores;
use crate::error::Result;
use crate::report::{Chart, Report};

/// Points of a curve that is drawn as it is; longer ones are smoothed.
const PLAIN: usize = 40;
/// Classes of a table of confusions at most: more are not read.
const CONFUSED: usize = 20;

/// A chart of figures of a log over the steps of all players; `None` if it has none of them.
fn chart(ticks: &[Value], title: &str, label: &str, curves: &[(&str, &str)]) -> Result<Option<RgbImage>> {
    let mut chart = Chart::new(title, "thousand steps of all players", label);
    let mut any = false;
    for (key, name) in curves {
        let point = |tick: &Value| Some((tick["step"].as_f64()? / 1000.0, tick[*key].as_f64()?));
        let points: Vec<(f64, f64)> = ticks.iter().filter_map(point).collect();
        if points.len() < 2 {
            continue;
        }
        any = true;
        chart = match points.len() > PLAIN {
            true => {
                let half_life = points.len() as f64 / 40.0;
                chart.smoothed(*name, points, half_life)
            }
            false => chart.series(*name, points),
        };
    }
    if any { chart.render().map(Some) } else { Ok(None) }
}

/// A chart of a page: its title, what its vertical axis is, the figures of the log with their names, and a note.
pub type Curves<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

/// A section with a chart for each of those that the log has figures of.
pub fn charts(mut page: Report, ticks: &[Value], all: &[Curves]) -> Result<Report> {
    for (title, label, curves, note) in all {
        if let Some(picture) = chart(ticks, title, label, curves)? {
            page = page.section(title).picture(&picture, &format!("{title} over the steps of all players"), note)?;
        }
    }
    Ok(page)
}

/// A table of what players' figures are.
pub fn score_table(page: Report, players: &[(&str, &Scores)]) -> Report {
    let Some((_, first)) = players.first() else { return page };
    let header: Vec<&str> = std::iter::once("").chain(first.figures().into_iter().map(|(name, _)| name)).collect();
    let cells = |scores: &Scores| -> Vec<String> { scores.figures().iter().map(|(_, v)| format!("{v:.4}")).collect() };
    let rows: Vec<Vec<String>> =
        players.iter().map(|(name, scores)| [vec![name.to_string()], cells(scores)].concat()).collect();
    page.table(&header, &rows)
}

/// How often each class was taken for each other, as a section of a page, where there are not too many.
pub fn confusion_table(page: Report, player: &str, scores: &Scores, names: &[String]) -> Report {
    let Scores::Class { confusion, .. } = scores else { return page };
    if confusion.is_empty() || confusion.len() > CONFUSED {
        return page;
    }
    let name = |class: usize| names.get(class).cloned().unwrap_or_else(|| class.to_string());
    let columns: Vec<String> = (0..confusion.len()).map(name).collect();
    let header: Vec<&str> = std::iter::once("").chain(columns.iter().map(String::as_str)).collect();
    let rows: Vec<Vec<String>> = confusion
        .iter()
        .enumerate()
        .map(|(label, taken)| std::iter::once(name(label)).chain(taken.iter().map(u64::to_string)).collect())
        .collect();
    page.section(&format!("What the {player} takes for what"))
        .table(&header, &rows)
        .text("A row for each class, a column for what its examples were taken for.")
}
