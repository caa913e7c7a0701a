//! `veridical ambient`: training on images with and without noise.

use std::path::PathBuf;

use veridical::Result;
use veridical::methods::ambient::AmbientSection;
use veridical::methods::{AmbientLoss, AmbientSettings, AmbientTraining, TrainedOn, presets};
use veridical::settings::help;
use veridical::train::With;
use veridical::train::config::TrainSection;

use super::{Common, Noise};
use crate::cli::data::Reading;
use crate::cli::progress::note;
use crate::cli::train::{self, Steps, Terminal};
use crate::cli::words::{BY_PRESET, stated, words};
use crate::cli::{Ended, ranks, say};

/// Learn from images with and without noise in one training (Ambient-Tweedie), or from one kind alone, to compare with.
///
/// Images are named as for `veridical sfbd`. The run's directory is that of `veridical train`, with metrics.json.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Directory of the run
    #[arg(long, visible_alias = "output", default_value = "runs/ambient")]
    out: PathBuf,
    /// Clean images: a folder or file (IDX, CIFAR, pictures, .npz), digits, or synthetic:NAME; empty for none
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    noise: Noise,
    #[arg(long, value_name = "WHICH", value_parser = words::<TrainedOn>(), hide_possible_values = true, help = stated::<AmbientSection>("images"))]
    on: Option<TrainedOn>,
    #[arg(long, value_name = "NAME", value_parser = words::<AmbientLoss>(), hide_possible_values = true, help = stated::<AmbientSection>("loss"))]
    loss: Option<AmbientLoss>,
    #[arg(long, help = help::<TrainSection>("images") + BY_PRESET)]
    images: Option<u64>,
    #[command(flatten)]
    steps: Steps,
    #[command(flatten)]
    ranks: ranks::Args,
}

pub fn run(args: Args) -> Result<Ended> {
    if let Some(ended) = args.common.shared("ambient", &args.ranks)? {
        return Ok(ended);
    }
    let opened = args.noise.opened(&args.common, args.data.as_deref(), &args.reading)?;
    let fitting = match opened.as_ref().map(|set| (set, train::own_preset(set))) {
        None => presets::ambient("digits")?,
        Some((_, Some(name))) => presets::ambient(name)?,
        Some((set, None)) => presets::ambient_fitting(args.noise.fitting(&args.common, set)?),
    };
    let settings = args.common.settings(&args.out, fitting, presets::ambient, |with: &mut With<AmbientSettings>| {
        let AmbientSettings { noisy, ambient, .. } = &mut with.method;
        with.run.data.path = args.data.clone().unwrap_or(with.run.data.path.clone());
        args.reading.set(&mut with.run.data);
        args.steps.set(&mut with.run);
        args.noise.set(noisy);
        ambient.images = args.on.unwrap_or(ambient.images);
        ambient.loss = args.loss.unwrap_or(ambient.loss);
        with.run.train.images = args.images.unwrap_or(with.run.train.images);
    })?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    let (data, denoised) = args.noise.data(&settings.method.noisy, &settings.run, opened)?;
    let training = AmbientTraining::new(&settings, &data)?;
    args.noise.warning(&settings.method.noisy, &data).iter().for_each(|warning| note(warning));
    let (place, options, _keeping) = args.common.place(
        &args.out,
        [&*settings.run.data.path, &*settings.method.noisy.path],
        (&settings.document()?, settings.run.train.slots),
    )?;
    let mut terminal = Terminal::new(&args.out);
    let (outcome, measured) = training.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&train::ended(outcome.end, &format!("{} steps", outcome.steps)))?;
    if let Some(c) = measured {
        say(&c.brief())?;
    }
    if let Some(to) = denoised.as_ref().filter(|_| place.is_writer()) {
        to.after(outcome.end, &args.out, &data, &settings.run.train.device)?;
    }
    train::files(&args.out, outcome.end)
}
