//! `veridical csc`: fine-tuning for the coarse solver that a model is deployed with.

use std::path::PathBuf;

use veridical::methods::contrastive_chain::CscSection;
use veridical::methods::{CscSettings, FineTuning, FineTuningKind, fine_tune, presets};
use veridical::settings::help;
use veridical::train::With;
use veridical::train::config::TrainSection;
use veridical::{Error, Result};

use super::Common;
use crate::cli::data::{Reading, open};
use crate::cli::progress::note;
use crate::cli::train::{self, Steps, Terminal};
use crate::cli::words::{BY_PRESET, stated, words};
use crate::cli::{Ended, model, ranks, say};

/// Fine-tune a trained model for the coarse solver that it is sampled with (contrastive sampling chains, CDM, or
/// plainly).
///
/// The model is measured at several numbers of steps before and after. The run's directory is that of `veridical
/// train`, with metrics.json.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Directory of the run
    #[arg(long, visible_alias = "output", default_value = "runs/csc")]
    out: PathBuf,
    /// The trained model: a file, or the directory of a run
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// The images that it was trained on: a folder or file (IDX, CIFAR, pictures, .npz), digits, or synthetic:NAME
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    #[arg(long, value_name = "NAME", value_parser = words::<FineTuningKind>(), hide_possible_values = true, help = stated::<CscSection>("method"))]
    method: Option<FineTuningKind>,
    #[arg(long, help = help::<TrainSection>("images") + BY_PRESET)]
    images: Option<u64>,
    #[command(flatten)]
    steps: Steps,
    #[command(flatten)]
    ranks: ranks::Args,
}

pub fn run(args: Args) -> Result<Ended> {
    if let Some(ended) = args.common.shared("csc", &args.ranks)? {
        return Ok(ended);
    }
    let model = args.model.as_deref().map(model::setting).transpose()?;
    let settings =
        args.common.settings(&args.out, presets::csc("digits")?, presets::csc, |with: &mut With<CscSettings>| {
            let csc = &mut with.method.csc;
            with.run.data.path = args.data.clone().unwrap_or(with.run.data.path.clone());
            args.reading.set(&mut with.run.data);
            args.steps.set(&mut with.run);
            csc.model = model.clone().unwrap_or(csc.model.clone());
            csc.method = args.method.unwrap_or(csc.method);
            with.run.train.images = args.images.unwrap_or(with.run.train.images);
        })?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    if settings.run.data.path.is_empty() {
        return Err(Error::Config("no data: say what the model was trained on with --data PATH".into()));
    }
    let data = open(&settings.run.data.path, settings.run.data.options()?, &settings.method.csc.model)?;
    note(&data.account());
    let fine_tuning = FineTuning::new(&settings, &data)?;
    fine_tune::warning(fine_tuning.model(), &data.train).iter().for_each(|warning| note(warning));
    let (place, options, _keeping) =
        args.common.place(&args.out, [&*settings.run.data.path], (&settings.document()?, settings.run.train.slots))?;
    let mut terminal = Terminal::new(&args.out);
    let (outcome, measured) = fine_tuning.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&train::ended(outcome.end, &format!("{} steps", outcome.steps)))?;
    for m in &measured {
        say(&format!("{:<7} {:>3} steps  {}", m.when, m.steps, m.comparison.brief()))?;
    }
    train::files(&args.out, outcome.end)
}
