//! `veridical train`: a model of your own data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use veridical::data::{self, Images};
use veridical::settings::help;
use veridical::train::config::{self, TrainSection, preset_names, preset_shape};
use veridical::train::{End, Existing, Observer, Prepared, RunConfig, RunDir, RunOptions, Started, Tick};
use veridical::{Error, Result, files};

use super::progress::{Progress, note};
use super::{Ended, device, interrupt, say};

/// Train a diffusion model.
///
/// Settings come from a preset, then a file, then --set, then the flags below. The run's directory gets config.toml
/// (complete; good for --config), log.jsonl, samples/, checkpoints/, report.html and at the end model.safetensors.
/// Ctrl-C and SIGTERM stop it within seconds, with a checkpoint of the last whole step (exit code 130); --resume goes
/// on as if nothing had happened.
#[derive(clap::Args)]
pub struct Args {
    /// Settings to start from; without a preset or a file: digits
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
    /// Directory of the run
    #[arg(long, default_value = "runs/train")]
    out: PathBuf,
    /// Go on from the newest checkpoint in --out, with its settings
    #[arg(long, conflicts_with_all = ["preset", "config", "overwrite"])]
    resume: bool,
    /// Replace the run that is in --out
    #[arg(long)]
    overwrite: bool,
    #[arg(long, value_name = "FILE", conflicts_with = "resume", help = help::<TrainSection>("init"))]
    init: Option<PathBuf>,
    #[arg(long, value_parser = device::name, help = help::<TrainSection>("device"))]
    device: Option<String>,
    /// Makes everything random: the same seed gives the same model
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Training steps in all
    #[arg(long, conflicts_with = "images", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    steps: Option<u64>,
    #[arg(long, help = help::<TrainSection>("images"))]
    images: Option<u64>,
    /// Stop after so many minutes, with everything complete (exit code 0)
    #[arg(long)]
    minutes: Option<f64>,
    /// Write the settings, every key with its meaning, to standard output, and do nothing
    #[arg(long)]
    print_config: bool,
}

/// What becomes of a run that is stopped.
pub const RESUMABLE: &str = "what is in progress is dropped, and what is whole kept for --resume";

/// A settings file is some kilobytes.
const MAX_BYTES: u64 = 1 << 18;

pub fn run(args: Args) -> Result<Ended> {
    let mut config = args.settings()?;
    if args.print_config {
        if let (Some((size, classes)), None) = (args.shape(), &args.data) {
            let one = Images::from_bytes(vec![0; size.iter().product()], vec![0], size, classes)?;
            config = config.completed(&one)?;
        }
        say(config.document()?.trim_end())?;
        return Ok(Ended::Done);
    }
    let budget = budget(args.minutes)?;
    if config.data.path.is_empty() {
        return Err(Error::Config("no data: say what to learn from with --data PATH".into()));
    }
    let data = data::open(&config.data.path)?;
    note(&data.account());
    // Everything that can be wrong with the settings shows here, before a directory is made.
    let mut prepared = Prepared::new(&config, &data)?;
    prepared.rehearse()?;
    let _keeping = interrupt::keeping(RESUMABLE);
    let place = directory(&args.out, args.resume, args.overwrite)?;
    let mut terminal = Terminal::new(&args.out);
    let outcome = prepared.run(&place, RunOptions { resume: args.resume, budget }, &mut terminal)?;
    terminal.finish();
    say(&format!("{} after {} steps", ended(outcome.end), outcome.steps))?;
    files(&args.out, outcome.end)
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
pub fn directory(out: &Path, resume: bool, overwrite: bool) -> Result<RunDir> {
    let existing = match (resume, overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::ReplaceRun,
        _ => Existing::Refuse,
    };
    let there = RunDir::is_run(out);
    RunDir::create(out, existing).map_err(|e| match e {
        Error::Config(what) if existing == Existing::Refuse && there => {
            Error::Config(format!("{what}, go on with the run by --resume, or replace it by --overwrite"))
        }
        Error::Config(what) if existing == Existing::ReplaceRun && !there && out.is_dir() => {
            Error::Config(format!("{what}: --overwrite replaces the files of a run, and these are somebody else's"))
        }
        other => other,
    })
}

/// The end of a run in words.
pub fn ended(end: End) -> &'static str {
    match end {
        End::Finished => "finished",
        End::OutOfTime => "out of time",
        End::Stopped => "stopped; go on with --resume",
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
    /// The settings that preset, file and flags ask for.
    fn settings(&self) -> Result<RunConfig> {
        let file = match (&self.config, self.resume) {
            (Some(path), _) => Some(read(path)?),
            (None, true) => Some(stored(&self.out)?),
            (None, false) => None,
        };
        let preset = match (&self.preset, &file) {
            (Some(name), _) => Some(name.as_str()),
            (None, Some(_)) => None,
            (None, None) => Some("digits"),
        };
        let mut config = RunConfig::build(preset, file.as_deref(), &self.set)?;
        config.data.path = self.data.clone().unwrap_or(config.data.path);
        config.train.device = self.device.clone().unwrap_or(config.train.device);
        device::name(&config.train.device).map_err(Error::Config)?;
        config.train.seed = self.seed.unwrap_or(config.train.seed);
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
    fn started(&mut self, &Started { parameters, ref device, first, steps }: &Started) {
        let out = self.out.display();
        note(&format!(
            "{parameters} parameters on {device}; {} steps from {first} on, into {out}",
            steps - first.min(steps)
        ));
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
}
