//! `veridical sfbd`: the law of clean images from a few of them and many noisy ones.

use std::path::PathBuf;

use veridical::Result;
use veridical::methods::sfbd::SfbdSection;
use veridical::methods::{Sfbd, SfbdSettings, presets};
use veridical::train::With;

use super::{Common, Noise};
use crate::cli::data::Reading;
use crate::cli::progress::note;
use crate::cli::train::{self, Steps, Terminal};
use crate::cli::words::stated;
use crate::cli::{Ended, model, ranks, say};

/// Learn from a few clean images and many noisy ones, by denoising and fine-tuning in rounds (SFBD).
///
/// Clean images come from --data and noisy ones, of known noise level, from --noisy; without --noisy, noise is put on
/// all images of --data but a share. The run's directory gets config.toml, rounds/ (a training run each), metrics.json,
/// report.html and model.safetensors. Ctrl-C and SIGTERM stop it within seconds, with everything complete (exit code
/// 130); --resume goes on as if nothing had happened.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Directory of the run
    #[arg(long, visible_alias = "output", default_value = "runs/sfbd")]
    out: PathBuf,
    /// Clean images: a folder or file (IDX, CIFAR, pictures, .npz), digits, or synthetic:NAME
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    noise: Noise,
    /// Training images in all: a third of them in pre-training (none with --model), the others in the rounds, or online
    /// [default: the preset's, or what follows from the data]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 50))]
    images: Option<u64>,
    #[command(flatten)]
    steps: Steps,
    #[command(flatten)]
    ranks: ranks::Args,
    #[arg(long, value_name = "K", help = stated::<SfbdSection>("rounds"))]
    rounds: Option<u32>,
    #[arg(long, value_name = "NAME", help = stated::<SfbdSection>("denoiser"))]
    denoiser: Option<String>,
    /// No rounds, but a buffer of denoised images that is refreshed while it is trained on (Online SFBD)
    #[arg(long)]
    online: bool,
    /// A trained model to start from, in place of pre-training on the clean images: a file, or the directory of a run
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<Ended> {
    if let Some(ended) = args.common.shared("sfbd", &args.ranks)? {
        return Ok(ended);
    }
    let model = args.model.as_deref().map(model::setting).transpose()?;
    let opened = args.noise.opened(&args.common, args.data.as_deref(), &args.reading)?;
    let fitting = match opened.as_ref().map(|set| (set, train::own_preset(set))) {
        None => presets::sfbd("digits")?,
        Some((_, Some(name))) => presets::sfbd(name)?,
        Some((set, None)) => presets::sfbd_fitting(args.noise.fitting(&args.common, set)?),
    };
    let settings = args.common.settings(&args.out, fitting, presets::sfbd, |with: &mut With<SfbdSettings>| {
        let SfbdSettings { noisy, sfbd, online, .. } = &mut with.method;
        with.run.data.path = args.data.clone().unwrap_or(with.run.data.path.clone());
        args.reading.set(&mut with.run.data);
        args.steps.set(&mut with.run);
        args.noise.set(noisy);
        sfbd.rounds = args.rounds.unwrap_or(sfbd.rounds);
        sfbd.denoiser = args.denoiser.clone().unwrap_or(sfbd.denoiser.clone());
        sfbd.model = model.clone().unwrap_or(sfbd.model.clone());
        online.enabled |= args.online;
        if let Some(images) = args.images {
            let first = if sfbd.model.is_empty() { images.div_ceil(3) } else { 0 };
            with.run.train.images = first.max(1);
            sfbd.round_images = (images - first).div_ceil(sfbd.rounds.max(1).into()).max(1);
            online.images = (images - first).max(1);
            online.ramp_images = online.ramp_images.min(online.images / 4);
        }
    })?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    let (data, denoised) = args.noise.data(&settings.method.noisy, &settings.run, opened)?;
    let sfbd = Sfbd::new(&settings, &data)?;
    let count = |set: &Option<veridical::data::Images>| set.as_ref().map_or(0, |set| set.len());
    note(&format!("{} clean and {} noisy images", count(&data.clean), count(&data.noisy)));
    args.noise.warning(&settings.method.noisy, &data).iter().for_each(|warning| note(warning));
    let (place, options, _keeping) = args.common.place(
        &args.out,
        [&*settings.run.data.path, &*settings.method.noisy.path],
        (&settings.document()?, settings.run.train.slots),
    )?;
    let mut terminal = Terminal::new(&args.out);
    let outcome = sfbd.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&train::ended(outcome.end, &format!("{} stages", outcome.rounds.len())))?;
    for round in &outcome.rounds {
        if let Some(c) = &round.generated {
            let name = if round.round == 0 { "start".into() } else { format!("round {}", round.round) };
            let error = round.rms_error.map_or(String::new(), |e| format!("  denoised to {e:.4}"));
            say(&format!("{name:<10} {}{error}", c.brief()))?;
        }
    }
    if let Some(to) = denoised.as_ref().filter(|_| place.is_writer()) {
        to.after(outcome.end, &args.out, &data, &settings.run.train.device)?;
    }
    train::files(&args.out, outcome.end)
}
