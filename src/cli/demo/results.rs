//! How good the digits are, and the pictures and pages that show it.

use std::time::Instant;

use serde::Serialize;
use veridical::data::{Digits, digits};
use veridical::figures::fixed;
use veridical::report::{Chart, ImageGrid, Report, png};
use veridical::train::RunDir;
use veridical::{Result, files};

use super::Config;
use super::distance::Distance;
use super::few::Few;
use super::story::{PER_CLASS, Stage, Story};

const SHOWN_PER_CLASS: usize = 10;

/// Everything that a finished (or stopped) run knows about itself.
pub struct Results {
    /// The second part, unless it was stopped.
    pub story: Option<Story>,
    /// The third part, unless it was stopped.
    pub few: Option<Few>,
    pub before: Distance,
    pub after: Distance,
    pub real: Distance,
    /// Share of the generated digits that the classifier takes for the digit that was asked for.
    pub accuracy: f64,
    /// Share of the held-out real digits that it recognises.
    pub accuracy_real: f64,
    /// Step and loss of every training step.
    pub losses: Vec<(f64, f64)>,
    /// Generated digits sorted by class, `per_class` of each.
    pub generated: Vec<f32>,
    /// When the command was started.
    pub started: Instant,
}

/// `metrics.json`.
#[derive(Serialize)]
struct Metrics {
    kid_before: f64,
    kid_after: f64,
    kid_real: f64,
    swd_before: f64,
    swd_after: f64,
    swd_real: f64,
    classifier_accuracy: f64,
    classifier_accuracy_real: f64,
    steps: u64,
    interrupted: bool,
    /// The second part: distances of the clean-only model, after each round, and of the ceiling.
    noisy: Vec<Stage>,
    /// The third part: what few labels come to.
    few: Option<Few>,
    seconds: f64,
}

impl Results {
    /// Writes `samples.png`, `loss.png`, `report.html` and `metrics.json`.
    pub fn write(&self, run: &RunDir, config: &Config, data: &Digits) -> Result<()> {
        let samples = self.samples(config, data)?;
        let loss = Chart::new("Training loss", "step", "EDM loss of one digit, logarithmic")
            .log_y()
            .smoothed("loss, averaged", self.losses.clone(), (self.losses.len() as f64 / 60.0).max(1.0))
            .render()?;
        run.write("samples.png", &png(&samples)?)?;
        run.write("loss.png", &png(&loss)?)?;

        let toml = files::read_text(run.path().join("config.toml"), 1 << 16, "settings file").unwrap_or_default();
        let mut report = Report::new("Handwritten digits, learned")
            .text(&format!(
                "A class-conditional score network saw {} real digits for {} steps on {} with seed {}, then drew the digits below.",
                data.train.len(),
                self.losses.len(),
                config.device,
                config.seed
            ))
            .picture(&samples, "Generated digits, a row for each class, beside real ones", "")?
            .section("How close to real")
            .table(
                &["", "before training", "after training", "real digits"],
                &self.rows(),
            )
            .text(&format!(
                "Distances are to the {} held-out digits, which nothing was trained on; smaller is closer, and as many digits of the training set show how close is close. \
                 KID is unbiased, so it scatters around 0 for real digits and may be negative. \
                 The classifier has seen real digits only, and counts a generated digit as right if it reads the one that was asked for.",
                data.held_out.len()
            ));
        if let Some(story) = &self.story {
            report = report
                .section("From noisy digits")
                .text(&format!(
                    "The same network learned again, from {} clean digits and {} behind noise of standard deviation {} on pixels in [-1, 1]: first from the \
                     clean ones, then in rounds of denoising the noisy ones with the present model and training on the result (SFBD). The noise on \
                     each digit is drawn once for good.",
                    story.clean, story.noisy, config.noise
                ))
                .picture(&story.picture, "Digits noisy, denoised in each round, and drawn by the last model", "")?
                .table(&["", "KID on pixels", "sliced Wasserstein", "error of the denoised"], &self.story_rows())
                .text(&format!(
                    "Of {} digits that each model draws, against the same held-out digits. The ceiling is the model above, which saw more images; \
                     error is the root mean square on pixels, and the noise itself has {}.",
                    10 * PER_CLASS.min(config.per_class),
                    config.noise
                ));
        }
        if self.story.is_none() {
            report = report.section("From noisy digits").text("This part was stopped before it was done.");
        }
        report = match &self.few {
            Some(few) => report
                .section("From few labels")
                .text(&format!(
                    "Digits, drawn by a generator that learned in a game (Triple-GAN): {} digits had their class, the other {} did not. \
                     The classifier that learned beside it reads {} of the held-out digits; the same network from the {} labels alone reads {}.{}",
                    few.labelled,
                    few.unlabelled,
                    percent(few.game),
                    few.labelled,
                    percent(few.alone),
                    few.read.map_or(String::new(), |read| format!(
                        " A classifier of all labels reads {} of the generated digits as the one that was asked for.",
                        percent(read)
                    ))
                ))
                .picture(&few.picture, "Digits generated from few labels, a row for each class", "")?,
            None => report.section("From few labels").text("This part was stopped before it was done."),
        };
        let report = report
            .section("Loss")
            .picture(&loss, "Training loss over the steps", "")?
            .section("Settings")
            .verbatim(&toml)
            .text(&format!("Data: {}.", digits::SOURCE));
        run.write("report.html", report.html().as_bytes())?;
        // Last, so that where it is the rest is too.
        run.write_json(
            "metrics.json",
            &Metrics {
                kid_before: self.before.kid,
                kid_after: self.after.kid,
                kid_real: self.real.kid,
                swd_before: self.before.swd,
                swd_after: self.after.swd,
                swd_real: self.real.swd,
                classifier_accuracy: self.accuracy,
                classifier_accuracy_real: self.accuracy_real,
                steps: self.losses.len() as u64,
                interrupted: self.few.is_none(),
                few: self.few.clone(),
                noisy: self.story.as_ref().map(|story| story.stages.clone()).unwrap_or_default(),
                seconds: self.started.elapsed().as_secs_f64(),
            },
        )?;
        Ok(())
    }

    /// What the terminal shows.
    pub fn summary(&self) -> String {
        let mut lines = vec![format!("{:20} {:>12} {:>12} {:>12}", "", "untrained", "trained", "real digits")];
        lines.extend(
            self.rows().iter().map(|row| format!("{:20} {:>12} {:>12} {:>12}", row[0], row[1], row[2], row[3])),
        );
        lines.join("\n")
    }

    /// What the terminal shows of the second part.
    pub fn story(&self) -> Vec<String> {
        let Some(story) = &self.story else { return Vec::new() };
        let mut lines = vec![String::new(), format!("from {} clean and {} noisy digits:", story.clean, story.noisy)];
        lines.push(format!("{:34} {:>8} {:>12} {:>14}", "", "KID", "sliced W.", "denoised error"));
        lines.extend(
            self.story_rows().iter().map(|row| format!("{:34} {:>8} {:>12} {:>14}", row[0], row[1], row[2], row[3])),
        );
        lines
    }

    /// What the terminal shows of the third part.
    pub fn few(&self) -> Vec<String> {
        let Some(few) = &self.few else { return Vec::new() };
        let row = |name: &str, value: f64| format!("{name:54} {:>7}", percent(value));
        let mut lines =
            vec![String::new(), format!("from {} labelled digits, and {} without:", few.labelled, few.unlabelled)];
        lines.push(row("held-out digits read, learned from the labels alone", few.alone));
        lines.push(row("the same, in a game with a generator of digits", few.game));
        lines.extend(few.read.map(|read| row("generated digits read as what was asked for", read)));
        lines
    }

    fn story_rows(&self) -> Vec<Vec<String>> {
        let four = |v: f64| fixed(v, 4);
        let row =
            |s: &Stage| vec![s.name.clone(), four(s.kid), four(s.swd), s.rms_error.map_or("\u{2013}".into(), four)];
        self.story.iter().flat_map(|story| &story.stages).map(row).collect()
    }

    /// The table of the report and the terminal.
    fn rows(&self) -> Vec<Vec<String>> {
        let four = |v: f64| fixed(v, 4);
        let row = |name: &str, cells: [String; 3]| [vec![name.to_string()], cells.to_vec()].concat();
        vec![
            row("KID on pixels", [four(self.before.kid), four(self.after.kid), four(self.real.kid)]),
            row("sliced Wasserstein", [four(self.before.swd), four(self.after.swd), four(self.real.swd)]),
            row("classifier reads it", ["\u{2013}".into(), percent(self.accuracy), percent(self.accuracy_real)]),
        ]
    }

    fn samples(&self, config: &Config, data: &Digits) -> Result<image::RgbImage> {
        let shown = SHOWN_PER_CLASS.min(config.per_class);
        let values = data.held_out.values();
        let generated: Vec<f32> = self
            .generated
            .chunks(config.per_class * values)
            .flat_map(|class| &class[..shown * values])
            .copied()
            .collect();
        let picks: Vec<u32> = (0..data.held_out.classes() as u32)
            .flat_map(|c| data.held_out.of_class(c).into_iter().take(shown))
            .collect();
        let (real, _) = data.held_out.gather(&picks)?;
        ImageGrid::new(data.held_out.size())
            .row_labels((0..data.held_out.classes()).map(|class| class.to_string()))
            .panel(format!("generated, after {} steps", self.losses.len()), &generated, shown)
            .panel("real, held out", &real, shown)
            .footer(format!("8 by 8 pixels, enlarged smoothly. Real digits: {}", digits::SOURCE))
            .smooth()
            .render()
    }
}

fn percent(v: f64) -> String {
    format!("{:.1}%", 100.0 * v)
}
