//! The commands of `veridical::methods`.

pub mod ambient;
pub mod csc;
pub mod kdgan;
mod labels;
pub mod sfbd;
pub mod triple_gan;

use std::path::{Path, PathBuf};

use veridical::data::{DataSet, ReadOptions, open_with};
use veridical::methods::NoisyData;
use veridical::methods::noisy::{Known, NoiseModel, NoisySection, Sigma};
use veridical::settings::help;
use veridical::train::config::TrainSection;
use veridical::train::{RunConfig, RunDir, RunOptions, Settings};
use veridical::{Error, Result};

use super::data::Reading;
use super::destination::Destination;
use super::interrupt::{self, Keeping};
use super::progress::note;
use super::words::{BY_PRESET, words};
use super::{Ended, data, device, output, ranks, say, train};

/// What every method's command takes.
#[derive(clap::Args)]
pub struct Common {
    /// Settings to start from; without a preset or a file they follow from the data
    #[arg(long, conflicts_with = "resume")]
    preset: Option<String>,
    /// A TOML file of settings, laid over the preset
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// One setting, such as train.batch=32; may be given often
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Go on from wherever the run in --out was, with its settings
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace the run that is in --out
    #[arg(long)]
    overwrite: bool,
    #[arg(long, value_parser = device::name, help = help::<TrainSection>("device") + " [default: best]")]
    device: Option<String>,
    /// Makes everything random but what has a seed of its own (--print-config says what): the same seed gives the same
    /// model [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Train for so many minutes at most; what is drawn and measured at the end comes after (exit code 0)
    #[arg(long)]
    minutes: Option<f64>,
    /// Write event files for TensorBoard, too: figures and pictures by steps, into tensorboard/ of the run's directory
    #[arg(long)]
    tensorboard: bool,
    /// Write the settings, every key with its meaning, to standard output, and do nothing
    #[arg(long)]
    print_config: bool,
}

/// Where noisy images come from.
#[derive(clap::Args)]
pub struct Noise {
    /// Write the noisy images as the model denoises them at the end, in their own units and order: .npy, .npz, .tif, or
    /// a folder of a file each
    #[arg(long, value_name = "PATH")]
    denoised: Option<PathBuf>,
    #[arg(long, value_name = "PATH", help = help::<NoisySection>("path"))]
    noisy: Option<String>,
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true, help = help::<NoisySection>("sigma") + BY_PRESET)]
    sigma: Option<Sigma>,
    /// For images that are bad in another way than by noise, such as blurred ones: the level of noise from which on
    /// each is as good as a clean one. A number, a file with one for each (inf: never), or auto: by a classifier of
    /// clean and bad images behind noise
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true, conflicts_with_all = ["sigma", "noise_model"])]
    merging_sigma: Option<Sigma>,
    #[arg(long, value_name = "LAW", value_parser = words::<NoiseModel>(), hide_possible_values = true, help = help::<NoisySection>("noise_model"))]
    noise_model: Option<NoiseModel>,
    #[arg(long, allow_negative_numbers = true, help = help::<NoisySection>("gain"))]
    gain: Option<Known>,
    #[arg(long, allow_negative_numbers = true, help = help::<NoisySection>("offset"))]
    offset: Option<Known>,
    #[arg(long, value_name = "NOISE", allow_negative_numbers = true, help = help::<NoisySection>("read_noise"))]
    read_noise: Option<Known>,
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help = help::<NoisySection>("clean_share") + BY_PRESET)]
    clean_share: Option<f64>,
}

impl Noise {
    /// The clean images, or the noisy ones where there are no clean ones, if nothing but they say what the settings
    /// are to be. Without either it is the digits' preset.
    fn opened(&self, common: &Common, data: Option<&str>, reading: &Reading) -> Result<Option<DataSet>> {
        let named = |flag: Option<&str>, key: &str| flag.map(String::from).or_else(|| common.given(key));
        let (clean, noisy) = (named(data, "data.path"), named(self.noisy.as_deref(), "noisy.path"));
        let options = reading.options(&common.set)?;
        let level = self.sigma.is_some() || self.merging_sigma.is_some() || common.given("noisy.sigma").is_some();
        let law = self.model(common)?;
        let (options, of_counts) = (law.reading(options)?, law == NoiseModel::Counts);
        if of_counts && level {
            return Err(Error::Config(
                "--sigma: the noise of counts has the level that --gain, --offset and --read-noise say; leave --sigma out"
                    .into(),
            ));
        }
        if self.noise_model == Some(NoiseModel::Merging) && !level && !common.resume {
            return Err(Error::Config(
                "--noise-model merging without --merging-sigma: give a level, a file with one for each image, or auto"
                    .into(),
            ));
        }
        let stated = level || of_counts || common.config.is_some();
        if noisy.as_ref().is_some_and(|path| !path.is_empty()) && !stated && !common.resume {
            return Err(Error::Config(
                "--noisy without --sigma: give the standard deviation of the noise, --sigma auto to have it estimated, or a file with one for each image; for photon counts --noise-model counts"
                    .into(),
            ));
        }
        match (clean, noisy) {
            _ if !common.is_fresh() => Ok(None),
            (Some(path), _) if !path.is_empty() => open_with(&path, &options).map(Some),
            (_, Some(path)) if !path.is_empty() => open_with(&path, &ReadOptions { noisy: true, ..options }).map(Some),
            _ => Ok(None),
        }
    }

    /// The law of the noise, as flags and `--set` say it.
    fn model(&self, common: &Common) -> Result<NoiseModel> {
        match (self.noise_model, common.given("noisy.noise_model")) {
            _ if self.merging_sigma.is_some() => Ok(NoiseModel::Merging),
            (Some(model), _) => Ok(model),
            (None, Some(name)) => name.parse(),
            (None, None) => Ok(NoiseModel::Gaussian),
        }
    }

    /// Settings of training that follow from data, which are then transformed, and standardised, where their noise asks
    /// for it.
    fn fitting(&self, common: &Common, set: &DataSet) -> Result<RunConfig> {
        let mut run = common.fitting(set)?;
        if matches!(self.model(common)?, NoiseModel::Counts | NoiseModel::Multiplicative) {
            run.model.insert("sigma_data".into(), 0.5.into());
        }
        Ok(run)
    }

    fn set(&self, noisy: &mut NoisySection) {
        noisy.path = self.noisy.clone().unwrap_or(noisy.path.clone());
        noisy.sigma = self.sigma.clone().unwrap_or(noisy.sigma.clone());
        noisy.noise_model = self.noise_model.unwrap_or(noisy.noise_model);
        if let Some(level) = &self.merging_sigma {
            (noisy.noise_model, noisy.sigma) = (NoiseModel::Merging, level.clone());
        }
        noisy.gain = self.gain.unwrap_or(noisy.gain);
        noisy.offset = self.offset.unwrap_or(noisy.offset);
        noisy.read_noise = self.read_noise.unwrap_or(noisy.read_noise);
        noisy.clean_share = self.clean_share.unwrap_or(noisy.clean_share);
    }
}

impl Noise {
    /// The images of a run, told of, and where the noisy ones go when they are denoised, if they are to be. Errors
    /// before anything is opened where they cannot go there.
    fn data(
        &self,
        noisy: &NoisySection,
        run: &RunConfig,
        opened: Option<DataSet>,
    ) -> Result<(NoisyData, Option<Destination>)> {
        let derived = opened.as_ref().is_some_and(|set| !set.is_built_in());
        let to = self.denoised.as_ref().map(|path| Destination::new("--denoised", path, None)).transpose()?;
        let inputs = [("--data", &*run.data.path), ("--noisy", &*noisy.path)];
        to.iter().try_for_each(|to| to.apart(inputs, Some(&noisy.sigma)))?;
        let data = noisy.open(run, opened)?;
        to.iter().try_for_each(|to| to.check_noisy(&data))?;
        data.accounts.iter().for_each(|account| note(account));
        if derived {
            note(&format!("settings from the data: {} (config.toml has all of them)", run.in_brief()));
        }
        Ok((data, to))
    }

    /// What is suspicious about the stated level of the noise. Noise that was put on up to merging levels is as it is
    /// said, and what is below it is not the clean images' detail.
    fn warning(&self, noisy: &NoisySection, data: &NoisyData) -> Option<String> {
        data.warning().filter(|_| noisy.noise_model != NoiseModel::Merging)
    }
}

impl Common {
    /// The settings that preset, file and flags ask for; `edit` applies the command's own flags, and `fitting` are
    /// those where no preset is named. A resumed run's settings may differ from what it was started with only where
    /// that makes sense.
    fn settings<S: Settings>(
        &self,
        out: &Path,
        fitting: S,
        preset: impl Fn(&str) -> Result<S>,
        edit: impl FnOnce(&mut S),
    ) -> Result<S> {
        let stored = match self.resume {
            false => None,
            true => Some(train::stored(out)?),
        };
        let file = match (&stored, &self.config) {
            (Some(stored), _) => Some(stored.clone()),
            (None, Some(path)) => Some(train::read(path)?),
            (None, None) => None,
        };
        let mut settings = self.preset.as_deref().map_or(Ok(fitting), preset)?;
        if stored.is_some() {
            settings.without_architecture(); // the stored one is complete
        }
        let mut settings = settings.build(file.as_deref(), &self.set)?;
        edit(&mut settings);
        if let Some(device) = &self.device {
            settings.device().clone_from(device);
        }
        device::name(settings.device()).map_err(Error::Config)?;
        *settings.seed() = self.seed.unwrap_or(*settings.seed());
        settings.check()?;
        if let Some(stored) = stored {
            let named = |e: Error| Error::Config(format!("{}: {e}", out.display()));
            settings.continues(&stored).map_err(named)?;
        }
        Ok(settings)
    }

    /// The settings of training that follow from data.
    fn fitting(&self, set: &DataSet) -> Result<RunConfig> {
        train::fitting(set, self.device.clone().or_else(|| self.given("train.device")).as_deref())
    }

    /// Whether nothing but flags says what to do: no preset, no file, no run that is there.
    fn is_fresh(&self) -> bool {
        self.preset.is_none() && self.config.is_none() && !self.resume
    }

    /// What the last `--set` of this key gives it, as a text.
    fn given(&self, key: &str) -> Option<String> {
        data::given(&self.set, key)
    }

    /// Starts the processes that are to share the work, or meets them; `Some` if the command is over with that.
    fn shared(&self, command: &str, ranks: &ranks::Args) -> Result<Option<Ended>> {
        if self.print_config {
            return Ok(None);
        }
        let ended = ranks.started()?;
        if ended.is_none() {
            ranks::join(command, self.resume)?;
        }
        Ok(ended)
    }

    /// Prints the settings if that is all that was asked for.
    fn printed(&self, settings: &impl Settings) -> Result<bool> {
        if self.print_config {
            say(settings.document()?.trim_end())?;
        }
        Ok(self.print_config)
    }

    /// The run's directory, which from here on a stop leaves whole. Settings and slots are the same on all ranks.
    fn place<'a>(
        &self,
        out: &Path,
        data: impl IntoIterator<Item = &'a str>,
        (document, slots): (&str, usize),
    ) -> Result<(RunDir, RunOptions, Keeping)> {
        if !self.resume {
            output::outside(out, data)?;
        }
        let budget = train::budget(self.minutes)?;
        let keeping = interrupt::keeping(train::RESUMABLE);
        let place = train::directory(out, self.resume, self.overwrite, &ranks::same(document, slots)?)?;
        Ok((place, RunOptions { resume: self.resume, budget, tensorboard: self.tensorboard }, keeping))
    }
}
