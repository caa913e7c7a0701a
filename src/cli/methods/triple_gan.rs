//! `veridical triple-gan`: a classifier and a conditional generator from few labels and many images.

use std::path::PathBuf;

use veridical::methods::game::{GameData, Subset};
use veridical::methods::triple_gan::{
    Baseline, TripleGanOutcome, TripleGanRun, TripleGanSection, TripleGanSettings, presets,
};
use veridical::settings::help;
use veridical::train::Own;
use veridical::{Error, Result};

use super::{Common, words};
use crate::cli::progress::note;
use crate::cli::train::{self, Terminal};
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
    #[arg(long, default_value = "runs/triple-gan")]
    out: PathBuf,
    /// Images with classes: a folder or file (IDX, CIFAR, pictures, .npz), or digits
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// How many training images have a label; 0: all
    #[arg(long, value_name = "N")]
    labelled: Option<usize>,
    /// Which: as many of each class, the last of the set, or any
    #[arg(long, value_name = "NAME", value_parser = words::<Subset>())]
    subset: Option<Subset>,
    #[arg(long, value_name = "NAME", value_parser = words::<Baseline>(), help = help::<TripleGanSection>("baseline"))]
    baseline: Option<Baseline>,
}

pub fn run(args: Args) -> Result<Ended> {
    let given = args.data.clone().or_else(|| args.common.given("data.path"));
    let open = |path: &str| match GameData::open(path)? {
        GameData::Images(data) => Ok(data),
        GameData::Table(_) => Err(Error::Config(format!("{path}: a table; triple-gan takes images with a class each"))),
    };
    let opened = match args.common.is_fresh() {
        true => Some(open(given.as_deref().unwrap_or("digits"))?),
        false => None,
    };
    let fitting = opened.as_ref().map_or("digits", |data| presets::fitting(data.train.size()));
    let settings = args.common.settings(&args.out, fitting, presets::named, |own: &mut Own<TripleGanSettings>| {
        let Own(own) = own;
        own.data.path = given.clone().unwrap_or(own.data.path.clone());
        own.data.labelled = args.labelled.unwrap_or(own.data.labelled);
        own.data.subset = args.subset.unwrap_or(own.data.subset);
        own.triple_gan.baseline = args.baseline.unwrap_or(own.triple_gan.baseline);
    })?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    let path = &settings.0.data.path;
    let data = match opened {
        Some(data) if path == given.as_deref().unwrap_or("digits") => data,
        _ => open(path)?,
    };
    note(&data.account());
    let mut triple_gan = TripleGanRun::new(&settings, &data)?;
    triple_gan.notes.iter().for_each(|line| note(line));
    let (place, options, _keeping) = args.common.place(&args.out)?;
    let mut terminal = Terminal::new(&args.out);
    let (end, outcome) = triple_gan.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&format!("{} after {} iterations", train::ended(end), outcome.iterations))?;
    say(&summary(&outcome))?;
    train::files(&args.out, end)
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
