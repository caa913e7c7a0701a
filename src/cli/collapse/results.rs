//! Figures, chart and page of `veridical collapse`.

use std::path::Path;

use serde_json::{Map, Value, json};
use veridical::figures::fixed;
use veridical::methods::self_consuming::{Measured, Plan, Simulated};
use veridical::report::{Chart, Report, png};
use veridical::train::{RunDir, write_atomic};
use veridical::{Error, Result};

use super::Args;

pub struct Results<'a> {
    pub args: &'a Args,
    pub plan: Plan,
    pub found: Simulated,
    /// The variance of the truth, where the family has a law.
    pub variance: Option<f64>,
    pub verdict: Option<String>,
    pub seconds: f64,
}

/// Rounds that the table shows.
const SHOWN: usize = 11;

impl Results<'_> {
    pub fn write_json(&self, path: &Path) -> Result<()> {
        write_atomic(path, (text(&self.json())? + "\n").as_bytes())
    }

    /// `metrics.json`, `risk.png`, `report.html` and `config.toml`.
    pub fn write_run(&self, run: &RunDir) -> Result<()> {
        run.write_toml("config.toml", self.args)?;
        run.write_json("metrics.json", &self.json())?;
        let mut page = Report::new(format!("{} on its own samples", capital(&self.args.family)))
            .text(&self.description())
            .text(self.verdict.as_deref().unwrap_or(""));
        for (i, measure) in self.found.measures.iter().enumerate() {
            let chart = self.chart(measure).render()?;
            if i == 0 {
                run.write("risk.png", &png(&chart)?)?;
            }
            let caption = if measure.theory.is_some() {
                "Mean over the repeats and its theory; the band holds nine tenths of the repeats."
            } else {
                "Mean over the repeats; the band holds nine tenths of them."
            };
            page = page.section(&capital(&measure.name)).picture(
                &chart,
                &format!("{} over the rounds", measure.name),
                caption,
            )?;
        }
        let header = ["round", "samples", "real share", "mean", "standard error", "theory"];
        let page = page.section("Figures").table(&header, &self.rows());
        let settings = toml::to_string(self.args).map_err(|e| Error::argument("collapse", e.to_string()))?;
        run.write("report.html", page.section("Settings").verbatim(&settings).html().as_bytes())?;
        Ok(())
    }

    /// What the terminal shows.
    pub fn summary(&self) -> String {
        let line = |cells: &[String]| -> String {
            cells.iter().map(|cell| format!("{cell:>14}")).collect::<String>().trim_end().to_string()
        };
        let header = ["round", "samples", "real share", "mean", "std error", "theory"].map(String::from);
        let mut lines = vec![self.description(), line(&header)];
        lines.extend(self.rows().iter().map(|row| line(row)));
        lines.extend(self.verdict.clone());
        lines.join("\n")
    }

    fn description(&self) -> String {
        let Args { family, arm, samples, fresh, rounds, seed, .. } = self.args;
        let measure = self.found.measures.first().map_or("", |measure| &measure.name);
        format!(
            "{family}, arm {arm}, n {samples}, real share {fresh}: {} repeats of {rounds} rounds with seed {seed} in {:.2} s; {measure}:",
            self.args.repeats(),
            self.seconds
        )
    }

    /// The first measure in some of the rounds.
    fn rows(&self) -> Vec<Vec<String>> {
        let Some(risk) = self.found.measures.first() else { return Vec::new() };
        let last = self.plan.rounds().len() - 1;
        let shown: std::collections::BTreeSet<usize> = (0..SHOWN).map(|i| i * last / (SHOWN - 1)).collect();
        shown
            .into_iter()
            .map(|t| {
                let round = self.plan.rounds()[t];
                let theory = risk.theory.as_ref().map_or("\u{2013}".into(), |theory| figure(theory[t]));
                vec![
                    t.to_string(),
                    round.n.to_string(),
                    format!("{:.4}", round.alpha),
                    figure(risk.mean[t]),
                    figure(risk.stderr[t]),
                    theory,
                ]
            })
            .collect()
    }

    fn chart(&self, measure: &Measured) -> Chart {
        let over = |values: &[f64]| values.iter().enumerate().map(|(t, &v)| (t as f64, v)).collect::<Vec<_>>();
        let (lowest, highest) =
            measure.mean.iter().fold((f64::INFINITY, 0f64), |(low, high), &v| (low.min(v), high.max(v)));
        let wide = lowest > 0.0 && highest > 8.0 * lowest;
        let label = if wide { format!("{}, logarithmic", measure.name) } else { measure.name.clone() };
        let mut chart = Chart::new(capital(&measure.name), "round", label);
        if wide {
            chart = chart.log_y();
        }
        let band = measure.percentiles.iter().enumerate().map(|(t, p)| (t as f64, p[0], p[2])).collect();
        chart = chart.banded("simulated", over(&measure.mean), band);
        match &measure.theory {
            Some(theory) => chart.series("theory", over(theory)),
            None => chart,
        }
    }

    pub fn json(&self) -> Value {
        let rounds = self.plan.rounds();
        let mut measures = Map::new();
        for measure in &self.found.measures {
            let percentile = |i: usize| measure.percentiles.iter().map(|p| p[i]).collect::<Vec<_>>();
            let value = json!({
                "mean": measure.mean,
                "stderr": measure.stderr,
                "p05": percentile(0),
                "p50": percentile(1),
                "p95": percentile(2),
                "theory": measure.theory,
            });
            measures.insert(measure.name.clone(), value);
        }
        let risk = self.found.measures.first();
        json!({
            "family": self.args.family,
            "arm": self.args.arm,
            "settings": self.args,
            "repeats": self.args.repeats(),
            "seed": self.args.seed,
            "v": self.variance,
            "alpha": rounds.iter().map(|round| round.alpha).collect::<Vec<_>>(),
            "n": rounds.iter().map(|round| round.n).collect::<Vec<_>>(),
            "risk_mean": risk.map(|risk| &risk.mean),
            "risk_stderr": risk.map(|risk| &risk.stderr),
            "risk_theory": risk.and_then(|risk| risk.theory.as_ref()),
            "measures": measures,
            "verdict": self.verdict,
            "seconds": self.seconds,
        })
    }
}

fn text(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| Error::argument("collapse", e.to_string()))
}

/// Four digits, whatever the size.
fn figure(value: f64) -> String {
    if value == 0.0 || (1e-3..1e4).contains(&value.abs()) { fixed(value, 5) } else { format!("{value:.3e}") }
}

/// With a capital first letter.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
