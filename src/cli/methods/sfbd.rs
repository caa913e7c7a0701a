//! `veridical sfbd`: the law of clean images from a few of them and many noisy ones.

use std::path::PathBuf;

use veridical::Result;
use veridical::figures::fixed;
use veridical::methods::{Sfbd, SfbdSettings, presets};
use veridical::train::With;

use super::Common;
use crate::cli::progress::note;
use crate::cli::train::{self, Terminal};
use crate::cli::{Ended, say};

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
    #[arg(long, default_value = "runs/sfbd")]
    out: PathBuf,
    /// Clean images: a folder or file (IDX, CIFAR, pictures, .npz), digits, or synthetic:NAME
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
    /// Rounds of denoising and fine-tuning
    #[arg(long, value_name = "K")]
    rounds: Option<u32>,
    /// ode, sde, or the name of a solver
    #[arg(long, value_name = "NAME")]
    denoiser: Option<String>,
    /// No rounds, but a buffer of denoised images that is refreshed while it is trained on (Online SFBD)
    #[arg(long)]
    online: bool,
    /// A trained model to start from instead of pre-training
    #[arg(long, value_name = "FILE")]
    model: Option<String>,
}

pub fn run(args: Args) -> Result<Ended> {
    let settings = args.common.settings(&args.out, presets::sfbd, |with: &mut With<SfbdSettings>| {
        let SfbdSettings { noisy, sfbd, online, .. } = &mut with.method;
        with.run.data.path = args.data.clone().unwrap_or(with.run.data.path.clone());
        noisy.path = args.noisy.clone().unwrap_or(noisy.path.clone());
        noisy.sigma = args.sigma.unwrap_or(noisy.sigma);
        noisy.clean_share = args.clean_share.unwrap_or(noisy.clean_share);
        sfbd.rounds = args.rounds.unwrap_or(sfbd.rounds);
        sfbd.denoiser = args.denoiser.clone().unwrap_or(sfbd.denoiser.clone());
        sfbd.model = args.model.clone().unwrap_or(sfbd.model.clone());
        online.enabled |= args.online;
    })?;
    if args.common.printed(&settings)? {
        return Ok(Ended::Done);
    }
    let data = settings.method.noisy.open(&settings.run.data.path)?;
    data.accounts.iter().for_each(|account| note(account));
    let sfbd = Sfbd::new(&settings, &data)?;
    let count = |set: &Option<veridical::data::Images>| set.as_ref().map_or(0, |set| set.len());
    note(&format!("{} clean and {} noisy images", count(&data.clean), count(&data.noisy)));
    data.warning().iter().for_each(|warning| note(warning));
    let (place, options, _keeping) = args.common.place(&args.out)?;
    let mut terminal = Terminal::new(&args.out);
    let outcome = sfbd.run(&place, options, &mut terminal)?;
    terminal.finish();
    say(&format!("{} after {} stages", train::ended(outcome.end), outcome.rounds.len()))?;
    for round in &outcome.rounds {
        if let Some(c) = &round.generated {
            let name = if round.round == 0 { "start".into() } else { format!("round {}", round.round) };
            let error = round.rms_error.map_or(String::new(), |e| format!("  denoised to {e:.4}"));
            let (frechet, kid) = (fixed(c.frechet_distance, 4), fixed(c.kid, 5));
            say(&format!("{name:<10} Fréchet {frechet}  KID {kid}{error}"))?;
        }
    }
    train::files(&args.out, outcome.end)
}
