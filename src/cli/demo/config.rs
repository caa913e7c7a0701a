//! What the demo is asked to do: flags over a file over defaults.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use veridical::data::Shuffle;
use veridical::diffusion::{EdmLoss, Loss, ModelConfig, Sampler};
use veridical::methods::noisy::Sigma;
use veridical::methods::{SfbdSettings, presets};
use veridical::nn::SongConfig;
use veridical::optim::{Decay, HalfLife, Schedule};
use veridical::train::config::ScheduleKind;
use veridical::train::{TrainOptions, With};
use veridical::{Error, Result, files};

use crate::cli::{device, positive};

/// Learn real handwritten digits and draw new ones.
///
/// Trains a class-conditional score network on the 8x8 digits in the binary, samples from it, measures how close the
/// samples are to digits that it has not seen, and writes pictures, log, model and a report into a directory. Ctrl-C
/// and SIGTERM stop it within seconds; the model that was learned by then is kept (exit code 130).
#[derive(clap::Args)]
pub struct Args {
    /// Where to compute: cpu, cuda, cuda:N, emulator, or best (CUDA if there is a GPU, else CPU) [default: best]
    #[arg(long, value_parser = device::name)]
    device: Option<String>,
    /// Makes everything random: the same seed gives the same digits [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Images a step [default: 64]
    #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    batch: Option<u32>,
    /// Learning rate [default: 0.003]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    lr: Option<f64>,
    /// Training steps [default: 1200]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_STEPS))]
    steps: Option<u64>,
    /// Directory for the results; an earlier run's is replaced
    #[arg(long, visible_alias = "output", default_value = "runs/demo")]
    pub out: PathBuf,
    /// Write into --out even if it holds other files
    #[arg(long)]
    pub overwrite: bool,
    /// Start from a config.toml that an earlier run wrote; the flags above win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const MAX_STEPS: u64 = 10_000_000;

/// The settings of a run, complete: `config.toml` of its directory, and good for `--config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The version that wrote the file; another one may give other digits.
    pub version: String,
    pub device: String,
    pub seed: u64,
    pub steps: u64,
    pub batch: usize,
    pub learning_rate: f64,
    /// Images over which the learning rate rises; it then falls along half a cosine.
    pub warm_up: u64,
    /// Longer gradients are shortened to this.
    pub max_norm: f64,
    /// Half-life of the averaged weights, in images.
    pub ema_half_life: f64,
    pub model_channels: usize,
    /// Channels at each resolution, in multiples of `model_channels`.
    pub channel_mult: Vec<usize>,
    pub num_blocks: usize,
    pub attn_resolutions: Vec<usize>,
    pub dropout: f64,
    /// Standard deviation of the pixels.
    pub sigma_data: f64,
    /// Mean and standard deviation of ln sigma in training.
    pub p_mean: f64,
    pub p_std: f64,
    pub sampler_steps: usize,
    /// Digits of each class that are generated.
    pub per_class: usize,
    /// Passes over the data of the classifier that judges them.
    pub classifier_epochs: u64,
    /// The second part: share of the digits that are clean, and the noise of the others.
    pub clean_share: f64,
    pub noise: f64,
    /// Rounds of denoising and fine-tuning. Pre-training takes a quarter of `steps`, a round an eighth.
    pub rounds: u32,
    /// The third part: digits that have their class.
    pub labelled: usize,
    /// Iterations of the game with the others.
    pub game_iterations: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            version: env!("CARGO_PKG_VERSION").into(),
            device: "best".into(),
            seed: 0,
            steps: 1200,
            batch: 64,
            learning_rate: 3e-3,
            warm_up: 6400,
            max_norm: 10.0,
            ema_half_life: 8000.0,
            model_channels: 32,
            channel_mult: vec![1, 1],
            num_blocks: 1,
            attn_resolutions: vec![4],
            dropout: 0.05,
            sigma_data: 0.75,
            p_mean: -0.8,
            p_std: 1.2,
            sampler_steps: 18,
            per_class: 50,
            classifier_epochs: 12,
            clean_share: 0.04,
            noise: 0.59,
            rounds: 3,
            labelled: 50,
            game_iterations: 800,
        }
    }
}

impl Config {
    pub fn model(&self, side: usize, channels: usize, classes: usize) -> ModelConfig {
        let network = SongConfig {
            label_dim: classes,
            model_channels: self.model_channels,
            channel_mult: self.channel_mult.clone(),
            num_blocks: self.num_blocks,
            attn_resolutions: self.attn_resolutions.clone(),
            dropout: self.dropout,
            ..SongConfig::new(side, channels)
        };
        ModelConfig::edm(network, self.sigma_data)
    }

    pub fn training(&self) -> TrainOptions {
        TrainOptions {
            schedule: Schedule {
                warm_up: self.warm_up,
                decay: Decay::Cosine { total: self.steps * self.batch as u64 },
            },
            max_norm: self.max_norm,
            average: Some(HalfLife { images: self.ema_half_life, ramp: Some(0.1) }),
            ..TrainOptions::adam(self.learning_rate, self.seed)
        }
    }

    pub fn loss(&self) -> Loss {
        Loss::Edm(EdmLoss { p_mean: self.p_mean, p_std: self.p_std })
    }

    pub fn sampler(&self) -> Sampler {
        Sampler { steps: self.sampler_steps, ..Sampler::default() }
    }

    /// The second part: the same network on the same digits, of which most are behind noise.
    pub fn sfbd(&self) -> Result<With<SfbdSettings>> {
        let mut with = presets::sfbd("digits")?;
        with.run = with.run.with_architecture(&self.model(8, 1, 10))?;
        let run = &mut with.run;
        run.data.labels = true;
        run.data.shuffle = Shuffle::Epochs;
        run.loss.p_mean = self.p_mean;
        run.loss.p_std = self.p_std;
        run.optimizer.lr = self.learning_rate;
        run.optimizer.max_norm = self.max_norm;
        run.optimizer.schedule = ScheduleKind::Cosine;
        run.average.half_life = self.ema_half_life;
        let batch = self.batch as u64;
        run.train.images = (self.steps / 4).max(1) * batch;
        run.optimizer.warm_up = self.warm_up.min(run.train.images / 5);
        run.train.batch = self.batch;
        run.train.seed = self.seed;
        run.train.device.clone_from(&self.device);
        (run.train.sample_every, run.train.checkpoint_every) = (0, 0);
        // What the demo measures itself is not measured by the run, too.
        (run.sampling.steps, run.sampling.measured) = (self.sampler_steps, 0);
        (run.sampling.columns, run.sampling.rows) = (10, 10);
        let SfbdSettings { noisy, sfbd, judge, .. } = &mut with.method;
        (noisy.sigma, noisy.clean_share, noisy.seed) = (Sigma::Number(self.noise), self.clean_share, self.seed);
        (sfbd.rounds, sfbd.round_images) = (self.rounds, (self.steps / 8).max(1) * batch);
        // Of the grid's levels those below the noise are used: 7 of 18.
        sfbd.steps = self.sampler_steps.max(2);
        judge.images = 0; // the demo's own figures are taken instead
        with.check()?;
        Ok(with)
    }

    /// Errors with the setting that makes no sense. What the network itself asks of its sizes it says when it is made.
    fn check(&self) -> std::result::Result<(), String> {
        device::name(&self.device)?;
        for (name, value, least, most) in [
            ("steps", self.steps, 1, MAX_STEPS),
            ("batch", self.batch as u64, 1, 1 << 16),
            ("model_channels", self.model_channels as u64, 1, 1024),
            ("num_blocks", self.num_blocks as u64, 1, 16),
            ("sampler_steps", self.sampler_steps as u64, 1, 10_000),
            ("per_class", self.per_class as u64, 1, 1000),
            ("classifier_epochs", self.classifier_epochs, 1, 1000),
            ("rounds", u64::from(self.rounds), 1, 100),
            ("labelled", self.labelled as u64, 10, 1500),
            ("game_iterations", self.game_iterations, 1, MAX_STEPS),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} = {value}, expected {least} to {most}"));
            }
        }
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("max_norm", self.max_norm),
            ("ema_half_life", self.ema_half_life),
            ("sigma_data", self.sigma_data),
            ("p_std", self.p_std),
            ("noise", self.noise),
            ("clean_share", self.clean_share),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("{name} = {value}, expected a positive number"));
            }
        }
        match self.p_mean.is_finite() {
            true => Ok(()),
            false => Err(format!("p_mean = {}, expected a number", self.p_mean)),
        }
    }
}

impl Args {
    /// The settings that these flags ask for, checked.
    pub fn config(&self) -> Result<Config> {
        let mut config = self.config.as_deref().map_or_else(|| Ok(Config::default()), read)?;
        config.version = Config::default().version;
        config.device = self.device.clone().unwrap_or(config.device);
        config.seed = self.seed.unwrap_or(config.seed);
        config.steps = self.steps.unwrap_or(config.steps);
        config.batch = self.batch.map_or(config.batch, |batch| batch as usize);
        config.learning_rate = self.lr.unwrap_or(config.learning_rate);
        Ok(config)
    }
}

/// A settings file is a few hundred bytes.
const MAX_BYTES: u64 = 1 << 16;

fn read(path: &Path) -> Result<Config> {
    let text = files::read_text(path, MAX_BYTES, "settings file")?;
    let config: Config = toml::from_str(&text).map_err(|e| Error::format(path, e.to_string().trim_end()))?;
    config.check().map_err(|what| Error::format(path, what))?;
    Ok(config)
}
