//! `veridical train`: a model of your own data.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use veridical::data::{DataSet, Images};
use veridical::diffusion::ModelConfig;
use veridical::distributed::Ranks;
use veridical::figures::counted;
use veridical::settings::help;
use veridical::tensor::TensorFile;
use veridical::train::config::{self, OptimizerSection, TrainSection, preset_names, preset_shape};
use veridical::train::{End, Existing, Observer, Prepared, RunConfig, RunDir, RunOptions, Started, Tick};
use veridical::{Device, Error, Result, files};

use super::data::{Reading, given, open, reopen};
use super::progress::{Progress, note};
use super::words::BY_PRESET;
use super::{Ended, device, interrupt, model, output, ranks, say};

/// Train a diffusion model.
///
/// Settings come from a preset, then a file, then --set, then the flags below. The run's directory gets config.toml
/// (complete; good for --config), log.jsonl (log.csv and measured.csv are the same as tables),
/// samples/, checkpoints/, report.html and at the end model.safetensors.
/// Ctrl-C and SIGTERM stop it within seconds, with a checkpoint of the last whole step (exit code 130); --resume goes
/// on as if nothing had happened, or with other settings of [optimizer], [loss], [augment] and [sampling], and another
/// length: a branch of the run, of which its log and report tell.
#[derive(clap::Args)]
pub struct Args {
    /// Settings to start from; without a preset or a file they follow from the data
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(preset_names()))]
    preset: Option<String>,
    /// A TOML file of settings, laid over the preset
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as train.batch=32; may be given often
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// What to learn from: a folder or file (IDX, CIFAR, pictures, .npz), digits, or synthetic:NAME
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    #[command(flatten)]
    reading: Reading,
    /// Mirror pictures left to right at every other sight; samples are mirrored as often
    #[arg(long, alias = "random-flip")]
    flip: bool,
    /// Directory of the run
    #[arg(long, visible_alias = "output", default_value = "runs/train")]
    out: PathBuf,
    /// Go on from the newest checkpoint in --out, with its settings
    #[arg(long, conflicts_with_all = ["preset", "config", "overwrite"])]
    resume: bool,
    /// Replace the run that is in --out
    #[arg(long)]
    overwrite: bool,
    /// A model to start from, of the same architecture: a file, or the directory of a run
    #[arg(long, visible_alias = "model", value_name = "MODEL", conflicts_with = "resume")]
    init: Option<PathBuf>,
    #[arg(long, value_parser = device::name, help = help::<TrainSection>("device") + " [default: best]")]
    device: Option<String>,
    /// Makes everything random: the same seed gives the same model [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Training steps in all
    #[arg(long, conflicts_with = "images", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    steps: Option<u64>,
    #[arg(long, help = help::<TrainSection>("images") + BY_PRESET)]
    images: Option<u64>,
    #[command(flatten)]
    steps_of: Steps,
    #[command(flatten)]
    ranks: ranks::Args,
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

/// What a step of training is, of a diffusion model.
#[derive(clap::Args)]
pub struct Steps {
    #[arg(long, value_name = "IMAGES", help = help::<TrainSection>("batch") + BY_PRESET)]
    batch: Option<usize>,
    #[arg(long, value_name = "RATE", help = help::<OptimizerSection>("lr") + BY_PRESET)]
    lr: Option<f64>,
}

impl Steps {
    /// Puts what flags say into the settings.
    pub fn set(&self, run: &mut RunConfig) {
        run.train.batch = self.batch.unwrap_or(run.train.batch);
        run.optimizer.lr = self.lr.unwrap_or(run.optimizer.lr);
    }
}

/// What becomes of a run that is stopped.
pub const RESUMABLE: &str = "what is in progress is dropped, and what is whole kept for --resume";

/// A settings file is some kilobytes.
const MAX_BYTES: u64 = 1 << 18;

pub fn run(args: Args) -> Result<Ended> {
    if !args.print_config {
        if let Some(ended) = args.ranks.started()? {
            return Ok(ended);
        }
        ranks::join("train", args.resume)?;
    }
    let args = Args { init: args.init.as_deref().map(model::file).transpose()?, ..args };
    let opened = args.opened()?;
    let mut config = args.settings(opened.as_ref())?;
    if args.print_config {
        let one = |(size, classes): ([usize; 3], usize)| {
            Images::from_bytes(vec![0; size.iter().product()], vec![0], size, classes)
        };
        let images = match (&opened, &args.data, args.shape()) {
            (Some(set), _, _) => Some(set.train.clone()),
            (None, None, Some(shape)) => Some(one(shape)?),
            _ => None,
        };
        if let Some(images) = images {
            config = config.completed(&images)?;
        }
        say(config.document()?.trim_end())?;
        return Ok(Ended::Done);
    }
    let budget = budget(args.minutes)?;
    if config.data.path.is_empty() {
        return Err(Error::Config("no data: say what to learn from with --data PATH".into()));
    }
    if args.data.is_none() && args.config.is_none() && !args.resume && config.data.path == "digits" {
        note("no --data is given: learning the handwritten digits in the program");
    }
    let (derived, data) = match opened {
        Some(set) => (true, set),
        None if args.resume => {
            (false, reopen(&config.data.path, config.data.options()?, &config.train.init, &args.out)?)
        }
        None => (false, open(&config.data.path, config.data.options()?, &config.train.init)?),
    };
    note(&data.account());
    if derived {
        note(&format!("settings from the data: {} (config.toml has all of them)", config.in_brief()));
    }
    // Everything that can be wrong with the settings shows here, before a directory is made.
    let mut prepared = Prepared::new(&config, &data).map_err(|error| args.of_another_preset(error, &data.train))?;
    note("trying a step and a sample before anything is written");
    prepared.rehearse()?;
    let _keeping = interrupt::keeping(RESUMABLE);
    if !args.resume {
        output::outside(&args.out, [&*config.data.path])?;
    }
    let ranks = ranks::same(&prepared.config().document()?, prepared.config().train.slots)?;
    let place = directory(&args.out, args.resume, args.overwrite, &ranks)?;
    let mut terminal = Terminal::new(&args.out);
    let outcome = prepared.run(
        &place,
        RunOptions { resume: args.resume, budget, tensorboard: args.tensorboard },
        &mut terminal,
    )?;
    terminal.finish();
    say(&ended(outcome.end, &counted(outcome.steps as usize, "step", "steps")))?;
    files(&args.out, outcome.end)
}

/// The preset of a set that is in the binary.
pub fn own_preset(set: &DataSet) -> Option<&'static str> {
    let name = if set.name.ends_with("digits") { "digits" } else { "points" };
    set.is_built_in().then_some(name)
}

/// Settings that follow from the data, for the device of this name: those of their presets for sets that are built in.
pub fn fitting(set: &DataSet, device: Option<&str>) -> Result<RunConfig> {
    if let Some(name) = own_preset(set) {
        return RunConfig::build(Some(name), None, &[]);
    }
    let gpu = match device {
        None | Some("best") => !matches!(Device::best(), Device::Cpu),
        Some(name) => name.starts_with("cuda"),
    };
    Ok(RunConfig::fitting(&set.train, gpu))
}

/// `--minutes` as a time.
pub fn budget(minutes: Option<f64>) -> Result<Option<Duration>> {
    let time = |minutes: f64| {
        Duration::try_from_secs_f64(60.0 * minutes)
            .map_err(|_| Error::Config(format!("--minutes {minutes}: expected a number that is not negative")))
    };
    minutes.map(time).transpose()
}

/// The directory of a run, new, resumed or replaced.
pub fn directory(out: &Path, resume: bool, overwrite: bool, ranks: &Ranks) -> Result<RunDir> {
    let existing = match (resume, overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::ReplaceRun,
        _ => Existing::Refuse,
    };
    let there = RunDir::is_run(out);
    RunDir::shared(out, existing, ranks).map_err(|e| match e {
        Error::Config(what) if existing == Existing::Refuse && there => {
            Error::Config(format!("{what}, go on with the run by --resume, or replace it by --overwrite"))
        }
        Error::Config(what) if existing == Existing::ReplaceRun && !there && out.is_dir() => {
            Error::Config(format!("{what}: --overwrite replaces the files of a run, and these are somebody else's"))
        }
        other => other,
    })
}

/// The end of a run in words, after what was made.
pub fn ended(end: End, made: &str) -> String {
    match end {
        End::Finished => format!("finished after {made}"),
        End::OutOfTime => format!("out of time after {made}"),
        End::Stopped => format!("stopped after {made}; go on with --resume"),
    }
}

/// Says where a run's results are.
pub fn files(out: &Path, end: End) -> Result<Ended> {
    let model = out.join("model.safetensors");
    if model.is_file() {
        say(&format!("model {}", model.display()))?;
    }
    say(&format!("report {}", out.join("report.html").display()))?;
    Ok(if end == End::Stopped { Ended::Interrupted } else { Ended::Done })
}

impl Args {
    /// The data, where nothing but they say what the settings are to be.
    fn opened(&self) -> Result<Option<DataSet>> {
        let given = self.data.clone().or_else(|| given(&self.set, "data.path"));
        match given.filter(|_| self.preset.is_none() && self.config.is_none() && !self.resume) {
            Some(path) if !path.is_empty() => {
                let model = self.init.as_ref().map_or(Cow::Borrowed(""), |path| path.to_string_lossy());
                open(&path, self.reading.options(&self.set)?, &model).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The settings that preset (or the data), file and flags ask for.
    fn settings(&self, opened: Option<&DataSet>) -> Result<RunConfig> {
        let file = match (&self.config, self.resume) {
            (Some(path), _) => Some(read(path)?),
            (None, true) => Some(stored(&self.out)?),
            (None, false) => None,
        };
        let base = match (&self.preset, &file, opened) {
            (Some(name), _, _) => RunConfig::build(Some(name), None, &[])?,
            (None, Some(_), _) => RunConfig::default(),
            (None, None, Some(set)) => {
                let device = self.device.clone().or_else(|| given(&self.set, "train.device"));
                fitting(set, device.as_deref())?
            }
            (None, None, None) => RunConfig::build(Some("digits"), None, &[])?,
        };
        let base = match (&self.init, opened) {
            // Whoever goes on from a model wants its network.
            (Some(path), Some(_)) => base.with_architecture(&ModelConfig::of_file(&TensorFile::open(path)?)?)?,
            _ => base,
        };
        let mut config = base.changed(file.as_deref(), &self.set)?;
        config.data.path = self.data.clone().unwrap_or(config.data.path);
        self.reading.set(&mut config.data);
        config.data.flip |= self.flip;
        config.train.device = self.device.clone().unwrap_or(config.train.device);
        device::name(&config.train.device).map_err(Error::Config)?;
        config.train.seed = self.seed.unwrap_or(config.train.seed);
        self.steps_of.set(&mut config);
        if let Some(path) = &self.init {
            config.train.init = path.to_str().map(String::from).ok_or_else(|| {
                Error::Config(format!("--init {}: a settings file can name UTF-8 paths only", path.display()))
            })?;
        }
        let images = self.steps.map(|steps| steps.saturating_mul(config.train.batch as u64)).or(self.images);
        config.train.images = images.unwrap_or(config.train.images);
        config.check()?;
        // What --print-config shows is what the run will do.
        Ok(if config.train.init.is_empty() { config } else { config.for_trained_weights() })
    }

    /// The error of settings that do not fit the data, with what to do where a preset was named.
    fn of_another_preset(&self, error: Error, data: &Images) -> Error {
        let Some(name) = &self.preset else { return error };
        let Some(([h, w, c], _)) = preset_shape(name).filter(|(size, _)| *size != data.size()) else { return error };
        let [height, width, channels] = data.size();
        let others: Vec<&str> = preset_names()
            .iter()
            .copied()
            .filter(|name| preset_shape(name).is_some_and(|(size, _)| size == data.size()))
            .collect();
        let would = match others.is_empty() {
            true => "no preset is for these".into(),
            false => format!("for these there are {}", others.join(", ")),
        };
        Error::Config(format!(
            "{error}: the preset {name} is for images of {h}x{w}x{c}, and these are {height}x{width}x{channels}; {would}, and without \
             --preset the settings follow from the data"
        ))
    }

    /// What the preset's data look like.
    fn shape(&self) -> Option<([usize; 3], usize)> {
        match (&self.preset, &self.config, self.resume) {
            (Some(name), _, _) => preset_shape(name),
            (None, None, false) => preset_shape("digits"),
            _ => None,
        }
    }
}

/// A settings file, of a size that such files have.
pub fn read(path: &Path) -> Result<String> {
    files::read_text(path, MAX_BYTES, "settings file")
}

/// The settings of the run that is to be gone on with.
pub fn stored(out: &Path) -> Result<String> {
    let stored = config::stored(out)?;
    if !stored.checked {
        note("config.toml has no checksum (an earlier version wrote it, or somebody took it away): taken as it is");
    }
    Ok(stored.text)
}

/// Progress on standard error.
pub struct Terminal<'a> {
    out: &'a Path,
    progress: Option<Progress>,
}

impl<'a> Terminal<'a> {
    pub fn new(out: &'a Path) -> Self {
        Terminal { out, progress: None }
    }

    /// Leaves the bar as it stands.
    pub fn finish(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }
}

impl Observer for Terminal<'_> {
    fn started(&mut self, &Started { parameters, ref device, first, steps, ref leaves }: &Started) {
        let out = self.out.display();
        let left = counted((steps - first.min(steps)) as usize, "step", "steps");
        note(&format!("{parameters} parameters on {device}; {left} from {first} on, into {out}"));
        note(&format!("on disk: {}", leaves.join("; ")));
        self.finish();
    }

    fn ticked(&mut self, tick: &Tick, _rate: f64, images: u64) {
        let first = tick.seen - tick.seen / tick.step.max(1);
        let progress = self.progress.get_or_insert_with(|| Progress::from("images", first, images));
        progress.tick(tick.seen.min(images), Some(tick.loss));
    }

    fn note(&mut self, text: &str) {
        self.finish();
        note(text);
    }

    /// Where several processes share the run they stop together, between two steps.
    fn stop(&mut self) -> bool {
        ranks::are_several() && interrupt::requested()
    }
}
