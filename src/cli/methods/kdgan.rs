//! `veridical kdgan`: a small student from few labels.

use std::path::PathBuf;

use veridical::Result;
use veridical::methods::KdganSettings;
use veridical::methods::game::Scores;
use veridical::methods::kdgan::{KdganMethod, KdganOutcome, KdganRun, KdganSection, StepsSection, presets};
use veridical::settings::help;
use veridical::train::{Own, Settings};

use super::Common;
use super::labels::{Labels, Opened};
use crate::cli::progress::note;
use crate::cli::train::{self, Terminal};
use crate::cli::words::{BY_PRESET, stated, words};
use crate::cli::{Ended, ranks, say};

/// Train a small student from few labels by a game with a teacher and a discriminator (KDGAN), or by one of six other
/// methods at equal steps and augmentation.
///
/// The run's directory gets config.toml, log.jsonl, checkpoints/, models/ (the student and the others, as files of
/// classifiers), metrics.json and report.html. Without --preset the preset is the one for images of that size.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Directory of the run
    #[arg(long, visible_alias = "output", default_value = "runs/kdgan")]
    out: PathBuf,
    /// Images with classes: a folder or file (IDX, CIFAR, pictures, .npz), or digits; or an ARFF file with many labels
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    #[command(flatten)]
    labels: Labels,
    #[arg(long, value_name = "NAME", value_parser = words::<KdganMethod>(), help = stated::<KdganSection>("method"))]
    method: Option<KdganMethod>,
    #[arg(long, value_name = "EXAMPLES", help = help::<StepsSection>("batch") + BY_PRESET)]
    batch: Option<usize>,
    /// Adam's learning rate of all players (student.lr, teacher.lr and teacher.discriminator_lr) [default: the
    /// preset's]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    #[command(flatten)]
    ranks: ranks::Args,
}

pub fn run(args: Args) -> Result<Ended> {
    if let Some(ended) = args.common.shared("kdgan", &args.ranks)? {
        return Ok(ended);
    }
    let opened = Opened::new(&args.common, args.data.as_deref())?;
    let fitting = opened.first().map_or("digits", |(_, data)| presets::fitting(data));
    let opened_by = opened.preset_line(fitting);
    let settings =
        args.common.settings(&args.out, presets::named(fitting)?, presets::named, |own: &mut Own<KdganSettings>| {
            let Own(own) = own;
            own.data.path = opened.given.clone().unwrap_or(own.data.path.clone());
            args.labels.set(&mut own.data);
            own.kdgan.method = args.method.unwrap_or(own.kdgan.method);
            own.steps.batch = args.batch.unwrap_or(own.steps.batch);
            for rate in [&mut own.student.lr, &mut own.teacher.lr, &mut own.teacher.discriminator_lr] {
                *rate = args.lr.unwrap_or(*rate);
            }
        })?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    let data = opened.of(&settings.0.data.path)?;
    note(&data.account());
    opened_by.iter().for_each(|line| note(line));
    let mut kdgan = KdganRun::new(&settings, &data)?;
    kdgan.notes.iter().for_each(|line| note(line));
    let (place, options, _keeping) =
        args.common.place(&args.out, [&*settings.0.data.path], (&settings.document()?, settings.0.train.slots))?;
    let mut terminal = Terminal::new(&args.out);
    let (end, outcome) = kdgan.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&train::ended(end, &format!("{} steps of the student", outcome.student_steps)))?;
    say(&summary(&outcome))?;
    train::files(&args.out, end)
}

fn summary(outcome: &KdganOutcome) -> String {
    let figures = |scores: &Scores| match scores.accuracy() {
        Some(accuracy) => format!("accuracy {:.2}%", 100.0 * accuracy),
        None => scores.figures().iter().map(|(name, v)| format!("{name} {v:.4}")).collect::<Vec<_>>().join(", "),
    };
    let teacher = outcome.teacher.as_ref().map_or(String::new(), |scores| format!("; teacher {}", figures(scores)));
    format!("student {}{teacher} ({:.0} s)", figures(&outcome.student), outcome.seconds)
}
