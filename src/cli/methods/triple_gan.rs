//! `veridical triple-gan`: a classifier and a conditional generator from few labels and many images.

use std::path::PathBuf;

use veridical::data::DataSet;
use veridical::methods::game::GameData;
use veridical::methods::triple_gan::{
    Baseline, TripleGanOutcome, TripleGanRun, TripleGanSection, TripleGanSettings, presets,
};
use veridical::settings::help;
use veridical::train::{Own, Settings};
use veridical::{Error, Result};

use super::Common;
use super::labels::{Labels, Opened};
use crate::cli::progress::note;
use crate::cli::train::{self, Terminal};
use crate::cli::words::{BY_PRESET, stated, words};
use crate::cli::{Ended, say};

/// Learn to classify, and to draw images of a class, from few labelled images and many unlabelled ones (Triple-GAN).
///
/// The run's directory gets config.toml, log.jsonl, samples/, checkpoints/, models/ (the classifier and the others),
/// metrics.json, samples.png and report.html. Without --preset the preset is the one for images of that size.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Directory of the run
    #[arg(long, visible_alias = "output", default_value = "runs/triple-gan")]
    out: PathBuf,
    /// Images with classes: a folder or file (IDX, CIFAR, pictures, .npz), or digits
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    #[command(flatten)]
    labels: Labels,
    #[arg(long, value_name = "NAME", value_parser = words::<Baseline>(), help = stated::<TripleGanSection>("baseline"))]
    baseline: Option<Baseline>,
    /// Images of each kind in a step (triple_gan.labelled, unlabelled, generated and joined, where some join)
    /// [default: the preset's]
    #[arg(long, value_name = "IMAGES")]
    batch: Option<usize>,
    #[arg(long, value_name = "RATE", help = help::<TripleGanSection>("lr") + BY_PRESET)]
    lr: Option<f64>,
}

pub fn run(args: Args) -> Result<Ended> {
    let opened = Opened::new(&args.common, args.data.as_deref())?;
    let fitting = match opened.first() {
        Some((path, data)) => presets::fitting(images(path, data)?.train.size()),
        None => "digits",
    };
    let opened_by = opened.preset_line(fitting);
    let settings = args.common.settings(
        &args.out,
        presets::named(fitting)?,
        presets::named,
        |own: &mut Own<TripleGanSettings>| {
            let Own(own) = own;
            own.data.path = opened.given.clone().unwrap_or(own.data.path.clone());
            args.labels.set(&mut own.data);
            let game = &mut own.triple_gan;
            game.baseline = args.baseline.unwrap_or(game.baseline);
            game.lr = args.lr.unwrap_or(game.lr);
            for images in [&mut game.labelled, &mut game.unlabelled, &mut game.generated, &mut game.joined] {
                *images = args.batch.filter(|_| *images > 0).unwrap_or(*images);
            }
        },
    )?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    let path = &settings.0.data.path;
    let data = opened.of(path)?;
    let data = images(path, &data)?;
    note(&data.account());
    opened_by.iter().for_each(|line| note(line));
    let mut triple_gan = TripleGanRun::new(&settings, data)?;
    triple_gan.notes.iter().for_each(|line| note(line));
    let (place, options, _keeping) = args.common.place(&args.out, [&**path], (&settings.document()?, 1))?;
    let mut terminal = Terminal::new(&args.out);
    let (end, outcome) = triple_gan.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&train::ended(end, &format!("{} iterations", outcome.iterations)))?;
    say(&summary(&outcome))?;
    train::files(&args.out, end)
}

fn images<'a>(path: &str, data: &'a GameData) -> Result<&'a DataSet> {
    match data {
        GameData::Images(data) => Ok(data),
        GameData::Table(_) => Err(Error::Config(format!("{path}: a table; triple-gan takes images with a class each"))),
    }
}

fn summary(outcome: &TripleGanOutcome) -> String {
    let samples = match (outcome.sample_accuracy, outcome.sample_accuracy_real) {
        (Some(made), Some(real)) => {
            format!("; generated images read as their class {:.1}% (real ones {:.1}%)", 100.0 * made, 100.0 * real)
        }
        _ => String::new(),
    };
    format!("error {:.2}%{samples} ({:.0} s)", 100.0 * outcome.error, outcome.seconds)
}
