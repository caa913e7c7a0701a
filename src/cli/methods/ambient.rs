//! `veridical ambient`: training on images with and without noise.

use std::path::PathBuf;

use veridical::Result;
use veridical::figures::fixed;
use veridical::methods::{AmbientSettings, AmbientTraining, presets};
use veridical::train::With;

use super::Common;
use crate::cli::progress::note;
use crate::cli::train::{self, Terminal};
use crate::cli::{Ended, say};

/// Learn from images with and without noise in one training (Ambient-Tweedie), or from one kind alone, to compare with.
///
/// Images are named as for `veridical sfbd`. The run's directory is that of `veridical train`, with metrics.json.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Directory of the run
    #[arg(long, default_value = "runs/ambient")]
    out: PathBuf,
    /// Clean images: a folder or file (IDX, CIFAR, pictures, .npz), digits, or synthetic:NAME; empty for none
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// Images that have their noise already (.npz and .npy hold values beyond [-1, 1])
    #[arg(long, value_name = "PATH")]
    noisy: Option<String>,
    /// Standard deviation of the noise, for pixels in [-1, 1]
    #[arg(long, allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// Without --noisy: share of the images that stay clean
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    clean_share: Option<f64>,
    /// Which images to train on: both, noisy, clean, or all-clean
    #[arg(long, value_name = "WHICH")]
    on: Option<String>,
    /// tweedie, or plain: noisy images are taken as they are
    #[arg(long, value_name = "NAME")]
    loss: Option<String>,
    /// Training images in all
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 50))]
    images: Option<u64>,
}

pub fn run(args: Args) -> Result<Ended> {
    let settings = args.common.settings(&args.out, presets::ambient, |with: &mut With<AmbientSettings>| {
        let AmbientSettings { noisy, ambient, .. } = &mut with.method;
        with.run.data.path = args.data.clone().unwrap_or(with.run.data.path.clone());
        noisy.path = args.noisy.clone().unwrap_or(noisy.path.clone());
        noisy.sigma = args.sigma.unwrap_or(noisy.sigma);
        noisy.clean_share = args.clean_share.unwrap_or(noisy.clean_share);
        ambient.images = args.on.clone().unwrap_or(ambient.images.clone());
        ambient.loss = args.loss.clone().unwrap_or(ambient.loss.clone());
        with.run.train.images = args.images.unwrap_or(with.run.train.images);
    })?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    let data = settings.method.noisy.open(&settings.run.data.path)?;
    data.accounts.iter().for_each(|account| note(account));
    let training = AmbientTraining::new(&settings, &data)?;
    data.warning().iter().for_each(|warning| note(warning));
    let (place, options, _keeping) = args.common.place(&args.out)?;
    let mut terminal = Terminal::new(&args.out);
    let (outcome, measured) = training.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&format!("{} after {} steps", train::ended(outcome.end), outcome.steps))?;
    if let Some(c) = measured {
        say(&format!("Fréchet {}  KID {}", fixed(c.frechet_distance, 4), fixed(c.kid, 5)))?;
    }
    train::files(&args.out, outcome.end)
}
