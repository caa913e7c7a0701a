//! A whole run: from settings and data to a model, with checkpoints, log, pictures and a report.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::checkpoint;
use super::config::RunConfig;
use super::prepared::Prepared;
use super::rate::Recent;
use super::run_dir::RunDir;
use super::trainer::{Tick, Trainer};
use super::{config, log, measure, pages, resume, snapshots};
use crate::data::{Batches, DataSet};
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::stop;

/// What a run tells whoever started it, and asks.
pub trait Observer {
    /// Everything is ready and the first step follows. `model` is what is trained, `first` the step to start from.
    fn started(&mut self, model: &Model, first: u64, steps: u64);
    /// A step was made. `rate` is in images a second, over the last steps; `images` are those of the whole run.
    fn ticked(&mut self, tick: &Tick, rate: f64, images: u64);
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// Whether to stop after this step; asked before each. A [`Stop`](crate::stop::Stop) is heeded within a step, too.
    fn stop(&mut self) -> bool {
        false
    }
}

/// Nobody looks.
impl Observer for () {
    fn started(&mut self, _: &Model, _: u64, _: u64) {}
    fn ticked(&mut self, _: &Tick, _: f64, _: u64) {}
    fn note(&mut self, _: &str) {}
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All images were seen.
    Finished,
    /// The time was up.
    OutOfTime,
    /// The observer asked to stop, or the calling thread was to [stop](crate::stop).
    Stopped,
}

/// What a run made.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The model: averaged weights, if an average is kept.
    pub model: Model,
    /// Steps made in all.
    pub steps: u64,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
}

/// Where checkpoints are, in a run's directory.
pub const CHECKPOINTS: &str = "checkpoints";
/// The model at the end, in a run's directory.
pub const MODEL: &str = "model.safetensors";

/// How to run, besides the settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Go on from the newest checkpoint in the run's directory.
    pub resume: bool,
    /// Stop, complete, after so much time.
    pub budget: Option<Duration>,
}

/// Trains as `config` says on `data`, in the directory `place`.
///
/// The result is a pure function of settings and data: on any number of threads, and however often it was interrupted and resumed. Where
/// the calling thread is to [stop](crate::stop), the step, picture or measurement in progress is dropped and the checkpoint of the last whole
/// step written; where that is so before there is anything to keep, it is an error.
///
/// Errors on settings that make no sense together, on a checkpoint of other settings or data (naming the difference), on output that fails,
/// and on a loss that is not finite (naming the step and the last good checkpoint).
pub fn run(
    config: &RunConfig,
    data: &DataSet,
    place: &RunDir,
    options: RunOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    Prepared::new(config, data)?.run(place, options, observer)
}

pub(super) struct Run<'a> {
    at: Prepared<'a>,
    place: &'a RunDir,
    trainer: Trainer,
    batches: Batches,
    log: log::Log,
    started: Instant,
    budget: Option<Duration>,
    last_checkpoint: Option<PathBuf>,
    /// Sum of the losses, and steps, since the last line of the log.
    since: (f64, u64),
    /// The last step of this session, and the speed then.
    last: Option<(Tick, f64)>,
}

impl<'a> Run<'a> {
    pub fn start(
        mut at: Prepared<'a>,
        place: &'a RunDir,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let mut trainer =
            Trainer::new(at.model.weights.clone(), at.options)?.with_power_averages(&at.config.average.power)?;
        let last_checkpoint = match options.resume {
            true => resume::resume(&mut at, place, &mut trainer, observer)?,
            false => None,
        };
        if let (Some(start), None) = (&at.start, &last_checkpoint) {
            start.restore(&at.model, &mut trainer)?;
        }
        config::store(place.path(), &at.document)?;
        let batches = at.config.batches(at.data.train.len())?;
        let log = place.log()?;
        let started = Instant::now();
        Ok(Run {
            at,
            place,
            trainer,
            batches,
            log,
            started,
            budget: options.budget,
            last_checkpoint,
            since: (0.0, 0),
            last: None,
        })
    }

    /// Trains until the last step, or as long as time and stop allow.
    pub fn train(&mut self, observer: &mut dyn Observer) -> Result<End> {
        match self.make_steps(observer) {
            Err(Error::Stopped) => Ok(End::Stopped),
            end => end,
        }
    }

    fn make_steps(&mut self, observer: &mut dyn Observer) -> Result<End> {
        let steps = self.at.config.train.steps();
        observer.started(&self.at.model, self.trainer.steps(), steps);
        self.make_up(observer)?;
        let mut recent = Recent::new(self.trainer.seen());
        while self.trainer.steps() < steps {
            if observer.stop() {
                return Ok(End::Stopped);
            }
            if self.budget.is_some_and(|budget| self.started.elapsed() >= budget) {
                return Ok(End::OutOfTime);
            }
            let tick = self.step(observer).map_err(|e| self.named_checkpoint(e))?;
            let rate = recent.rate(tick.seen);
            observer.ticked(&tick, rate, self.at.config.train.images);
            self.after(&tick, rate, observer)?;
        }
        Ok(End::Finished)
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<Tick> {
        let step = self.trainer.steps();
        if let Some(source) = &mut self.at.source {
            let (trainer, model) = (&self.trainer, &self.at.model);
            let average = || model.with_flat_weights(trainer.average()?.flat().clone());
            source.before(step, &average, &mut |text| observer.note(text))?;
        }
        let (at, trainer) = (&self.at, &mut self.trainer);
        let indices = self.batches.at(step)?;
        let micro = at.config.train.part();
        trainer.step_in_parts(indices.len(), micro, |cx, training, range| {
            at.loss(cx, training, step, range.start, &indices[range])
        })
    }

    /// What is due after a step.
    fn after(&mut self, tick: &Tick, rate: f64, observer: &mut dyn Observer) -> Result<()> {
        let train = self.at.config.train.clone();
        let due = |every: u64| every != 0 && tick.step.is_multiple_of(every);
        self.since.0 += tick.loss;
        self.since.1 += 1;
        self.last = Some((*tick, rate));
        // A line for each checkpoint, so that a resumed run's means begin where the first run's did.
        if due(train.log_every) || due(train.checkpoint_every) || tick.step == train.steps() {
            self.write_log(tick, rate)?;
        }
        if snapshots::due(tick.seen, train.batch as u64, self.at.config.average.snapshot_every) {
            stop::shielded(|| snapshots::store(self.place.path(), &self.trainer, &self.at.model))?;
        }
        if due(train.checkpoint_every) && tick.step != train.steps() {
            self.checkpoint()?;
        }
        if due(train.sample_every) && tick.step != train.steps() {
            self.picture(observer)?;
            self.measure(observer)?;
            self.report(None)?;
        }
        Ok(())
    }

    /// A process may have died between a checkpoint and what follows it: the checkpoint's picture and distances are
    /// then still to be made.
    fn make_up(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let (step, every) = (self.trainer.steps(), self.at.config.train.sample_every);
        let due = self.last_checkpoint.is_some() && every != 0 && step.is_multiple_of(every);
        if !due || step >= self.at.config.train.steps() {
            return Ok(());
        }
        if !self.place.path().join(self.picture_name()).is_file() {
            self.picture(observer)?;
        }
        self.measure(observer)?;
        self.report(None)
    }

    /// A line of the log, with the mean loss since the line before.
    fn write_log(&mut self, tick: &Tick, rate: f64) -> Result<()> {
        let (sum, steps) = std::mem::take(&mut self.since);
        self.log.append(&serde_json::json!({
            "step": tick.step,
            "seen": tick.seen,
            "loss": sum / steps.max(1) as f64,
            "gradient_norm": tick.gradient_norm,
            "learning_rate": tick.learning_rate,
            "images_per_second": rate,
            "seconds": self.started.elapsed().as_secs_f64(),
        }))
    }

    fn checkpoint(&mut self) -> Result<PathBuf> {
        self.log.sync()?;
        let directory = self.place.path().join(CHECKPOINTS);
        let Prepared { model, document, fingerprint, source, .. } = &self.at;
        let source = source.as_ref().map(|source| source.state()).transpose()?;
        let saved = checkpoint::save(&directory, &self.trainer, model, document, fingerprint, source.as_deref());
        let path = saved.map_err(|e| self.named_checkpoint(e))?;
        self.last_checkpoint = Some(path.clone());
        self.prune()?;
        Ok(path)
    }

    fn prune(&self) -> Result<()> {
        let train = &self.at.config.train;
        let directory = self.place.path().join(CHECKPOINTS);
        checkpoint::prune(&directory, self.trainer.steps(), train.keep_last, train.keep_every)
    }

    /// Says in an error where the run can be taken up again.
    fn named_checkpoint(&self, error: Error) -> Error {
        let last = match &self.last_checkpoint {
            Some(path) => format!("the last good checkpoint is {}; go on from it with --resume", path.display()),
            None => "there is no checkpoint yet".into(),
        };
        match error {
            Error::NonFinite { what, found } => Error::NonFinite { what, found: format!("{found}; {last}") },
            Error::Io { path, source } => {
                Error::Io { path, source: std::io::Error::new(source.kind(), format!("{source}; {last}")) }
            }
            other => other,
        }
    }

    /// The averaged model.
    fn model(&self) -> Result<Model> {
        self.at.model.with_flat_weights(self.trainer.average()?.flat().clone())
    }

    fn picture_name(&self) -> String {
        format!("samples/{:012}.png", self.trainer.seen())
    }

    /// Draws samples into `samples/`. A model that has diverged is not drawn, which is no reason to stop.
    fn picture(&self, observer: &mut dyn Observer) -> Result<()> {
        let model = self.model()?;
        match pages::samples(&self.at.config, self.at.data, &model, self.trainer.seen()) {
            Ok(Some(picture)) => self.place.write(self.picture_name(), &super::png(&picture)?).map(|_| ()),
            Ok(None) => Ok(()),
            Err(Error::NonFinite { what, found }) => {
                observer
                    .note(&format!("no samples after {} images: {what} is not finite: {found}", self.trainer.seen()));
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    /// Logs how far samples are from the data, once for a step. A model that has diverged is not measured.
    fn measure(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let at = (self.trainer.steps(), self.trainer.seen());
        let ticks = log::read(self.place.path().join("log.jsonl"))?;
        if ticks.iter().any(|tick| tick["step"] == at.0 && tick["kid"].is_number()) {
            return Ok(());
        }
        match measure::distances(&self.at.config, self.at.data, &self.model()?, at) {
            Ok(Some(distances)) => self.log.append(&distances),
            Ok(None) => Ok(()),
            Err(Error::NonFinite { what, found }) => {
                observer.note(&format!("no distances after {} images: {what} is not finite: {found}", at.1));
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn report(&self, end: Option<End>) -> Result<()> {
        let Prepared { config, data, model, document, .. } = &self.at;
        let html = pages::report(config, data, model, self.place.path(), document, end)?;
        self.place.write("report.html", html.as_bytes()).map(|_| ())
    }

    pub fn finish(mut self, end: End, observer: &mut dyn Observer) -> Result<Outcome> {
        let (model, checkpoint) = stop::shielded(|| self.keep(end))?;
        let end = match self.show(end, observer) {
            Err(Error::Stopped) => End::Stopped,
            shown => shown.map(|()| end)?,
        };
        self.report(Some(end))?;
        Ok(Outcome { end, model, steps: self.trainer.steps(), checkpoint })
    }

    /// Writes what the run is resumed from, and the model.
    fn keep(&mut self, end: End) -> Result<(Model, PathBuf)> {
        let steps = self.trainer.steps();
        if let Some((tick, rate)) = self.last.take()
            && self.since.1 > 0
        {
            self.write_log(&tick, rate)?; // a run that ended between two lines
        }
        // A run that had nothing left to do has its last checkpoint already.
        let checkpoint = match self.last_checkpoint.take_if(|path| checkpoint::is_of(path, steps)) {
            Some(path) => {
                self.prune()?; // which the session that wrote it may not have come to
                path
            }
            None => self.checkpoint()?,
        };
        let model = self.model()?;
        // Not where a run was stopped: the average that is reconstructed must not depend on that.
        if end == End::Finished && self.at.config.average.snapshot_every != 0 {
            snapshots::store(self.place.path(), &self.trainer, &self.at.model)?;
        }
        model.save(self.place.path().join(MODEL))?;
        Ok((model, checkpoint))
    }

    /// What the model draws at the end.
    fn show(&mut self, end: End, observer: &mut dyn Observer) -> Result<()> {
        self.picture(observer)?;
        match end {
            End::Stopped => Ok(()),
            End::Finished | End::OutOfTime => self.measure(observer),
        }
    }
}
