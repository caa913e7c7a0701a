//! Training a diffusion model: the loss of its data in every step, pictures and distances meanwhile.

use std::path::{Path, PathBuf};

use super::checkpoint::{self, Checkpoint};
use super::config::{Average, RunConfig};
use super::early::{Early, Step};
use super::log::{self, Log};
use super::observer::{End, Observer};
use super::plan::{CHECKPOINTS, MODEL, Plan, RunOptions};
use super::prepared::Prepared;
use super::run::{Ran, run_trained};
use super::run_dir::RunDir;
use super::trained::{MODEL_PLAYER, Moment, Trained};
use super::trainer::{Tick, Trainer};
#[cfg(feature = "report")]
use super::{drawn, pages};
use super::{measure, snapshots};
use crate::data::{Batches, DataSet, Images};
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::figures::{grouped, size};
use crate::nn::Weights;

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

/// Trains as `config` says on `data`, in the directory `place`.
///
/// The result is a pure function of settings and data: on any number of threads, and however often it was interrupted
/// and resumed. Where the calling thread is to [stop](crate::stop), the step, picture or measurement in progress is
/// dropped and the checkpoint of the last whole step written; where that is so before there is anything to keep, it is
/// an error.
///
/// Errors on settings that make no sense together, on a checkpoint of other settings or data (naming the difference),
/// on output that fails, and on a loss that is not finite (naming the step, the network and the last good checkpoint).
pub fn run(
    config: &RunConfig,
    data: &DataSet,
    place: &RunDir,
    options: RunOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    Prepared::new(config, data)?.run(place, options, observer)
}

impl Prepared<'_> {
    /// The run itself; see [`run`](super::run()). Errors where [`rehearse`](Self::rehearse) does before anything is
    /// written.
    pub fn run(mut self, place: &RunDir, options: RunOptions, observer: &mut dyn Observer) -> Result<Outcome> {
        self.rehearse()?;
        place.check_writable(&["config.toml", "log.jsonl", "report.html", MODEL], &[CHECKPOINTS, "samples"])?;
        self.left_out.iter().for_each(|what| observer.note(what));
        let device = self.model.weights.device();
        // A run that goes on from its own checkpoint has no need of another's.
        if options.resume && !checkpoint::steps(&place.path().join(CHECKPOINTS))?.is_empty() {
            self.start = None;
        }
        let outcome = DiffusionTraining::new(self).and_then(|mut training| {
            let plan = training.plan();
            let Ran { end, steps, checkpoint } = run_trained(&mut training, &plan, place, options, observer)?;
            Ok(Outcome { end, model: training.model()?, steps, checkpoint })
        });
        // What follows, if anything, is of another size.
        device.release_memory();
        outcome
    }
}

/// A diffusion model in training.
pub(super) struct DiffusionTraining<'a> {
    at: Prepared<'a>,
    trainer: Trainer,
    batches: Batches,
    /// The same order, some steps ahead, where images stay in their files; `None` where they are in memory.
    ahead: Option<Ahead>,
    early: Early,
}

/// Batches that are read before their steps come.
struct Ahead {
    batches: Batches,
    /// The next step of which nothing was asked for.
    next: u64,
}

/// How many steps ahead images are read.
const STEPS_AHEAD: u64 = 4;

impl Ahead {
    /// Has the images of the steps after this one read meanwhile.
    fn read(&mut self, data: &Images, step: u64) -> Result<()> {
        let last = step.saturating_add(STEPS_AHEAD);
        for step in self.next.max(step + 1)..=last {
            data.ahead(&self.batches.at(step)?)?;
        }
        self.next = last + 1;
        Ok(())
    }
}

impl<'a> DiffusionTraining<'a> {
    /// Errors on settings that the optimiser does not take, and where [`Checkpoint::restore_players`] does for a run
    /// that goes on from another one's end.
    pub fn new(mut at: Prepared<'a>) -> Result<Self> {
        let trainer =
            Trainer::new(at.model.weights.clone(), at.options)?.with_power_averages(&at.config.average.power)?;
        let batches = at.config.batches(at.data.train.len())?;
        let start: Option<Checkpoint> = at.start.take();
        let in_files = at.data.train.is_stored() && at.source.is_none();
        let ahead = in_files.then(|| Ahead { batches: batches.clone(), next: 0 });
        let mut training = DiffusionTraining { at, trainer, batches, ahead, early: Early::default() };
        start.iter().try_for_each(|start| start.restore_players(&mut training))?;
        Ok(training)
    }

    /// How long the run is and what it leaves when.
    pub fn plan(&self) -> Plan {
        let train = &self.at.config.train;
        Plan {
            steps: train.steps(),
            samples: train.images,
            batch: Some(train.batch as u64),
            log_every: train.log_every,
            show_every: train.sample_every,
            checkpoint_every: train.checkpoint_every,
            keep_last: train.keep_last,
            keep_every: train.keep_every,
            settings: self.at.document.clone(),
            free: self.at.free.iter().map(|key| key.to_string()).collect(),
            branches: self.at.branches.iter().map(|key| key.to_string()).collect(),
            data: self.at.fingerprint.clone(),
        }
    }

    /// The averaged model.
    pub fn model(&self) -> Result<Model> {
        self.at.model.with_weights(&self.trainer.average()?)
    }

    /// The samples of a step, once their source is ready for it.
    fn indices(&mut self, step: u64, observer: &mut dyn Observer) -> Result<Vec<u32>> {
        if let Some(source) = &mut self.at.source {
            let (trainer, model) = (&self.trainer, &self.at.model);
            let average = || model.with_weights(&trainer.average()?);
            source.before(step, &average, &mut |text| observer.note(text))?;
        }
        if let Some(ahead) = &mut self.ahead {
            ahead.read(&self.at.data.train, step)?;
        }
        self.early.indices(step, &mut self.batches)
    }

    fn snapshot(&self, place: &RunDir) -> Result<()> {
        snapshots::store(place.path(), &self.trainer, &self.at.model, self.at.config.average.keep_snapshots)
    }

    fn picture_name(&self) -> String {
        format!("samples/{:012}.png", self.trainer.seen())
    }

    /// Draws nothing: the build is without the feature `report`.
    #[cfg(not(feature = "report"))]
    fn picture(&self, _: &RunDir, _: &mut dyn Observer) -> Result<()> {
        Ok(())
    }

    /// Draws samples into `samples/`. A model that has diverged is not drawn, which is no reason to stop.
    #[cfg(feature = "report")]
    fn picture(&self, place: &RunDir, observer: &mut dyn Observer) -> Result<()> {
        let model = self.model()?;
        match drawn::samples(&self.at.config, self.at.data, &model, self.trainer.seen()) {
            Ok(Some(picture)) => place.write(self.picture_name(), &crate::report::png(&picture)?).map(|_| ()),
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
    fn measure(&self, place: &RunDir, log: &mut Log, observer: &mut dyn Observer) -> Result<()> {
        let at = (self.trainer.steps(), self.trainer.seen());
        let ticks = log::read(place.path().join("log.jsonl"))?;
        if ticks.iter().any(|tick| tick["step"] == at.0 && tick["kid"].is_number()) {
            return Ok(());
        }
        if self.at.config.sampling.measured > 0 {
            observer.note(&format!("drawing {} samples to measure", self.at.config.sampling.measured));
        }
        match measure::distances(&self.at.config, self.at.data, &self.model()?, at) {
            Ok(Some(distances)) => log.append(&distances),
            Ok(None) => Ok(()),
            Err(Error::NonFinite { what, found }) => {
                observer.note(&format!("no distances after {} images: {what} is not finite: {found}", at.1));
                Ok(())
            }
            Err(other) => Err(other),
        }
    }
}

impl Trained for DiffusionTraining<'_> {
    fn players(&self) -> Vec<(&str, &Trainer)> {
        vec![(MODEL_PLAYER, &self.trainer)]
    }

    fn players_mut(&mut self) -> Vec<(&str, &mut Trainer)> {
        vec![(MODEL_PLAYER, &mut self.trainer)]
    }

    fn step(&mut self, observer: &mut dyn Observer) -> Result<Tick> {
        let step = self.trainer.steps();
        let indices = self.indices(step, observer);
        let (batch, micro) = (self.at.config.train.batch, self.at.config.train.part());
        let (at, trainer) = (&self.at, &mut self.trainer);
        let mut parts = Step::new(at, &mut self.batches, &mut self.early, step, indices);
        let tick = trainer.step_of(batch, micro, &mut parts);
        if tick.is_ok() {
            parts.finish();
        }
        tick.map_err(|error| match error {
            Error::NonFinite { what, found } => {
                Error::NonFinite { what: format!("{what} of {}", at.model.denoiser().model_type()), found }
            }
            other => other,
        })
    }

    fn save(&self, _: &str, weights: &Weights, path: &Path) -> Result<()> {
        self.at.model.with_weights(weights)?.save(path)
    }

    fn load(&self, _: &str, path: &Path) -> Result<Weights> {
        let model = Model::load(path, &self.at.model.weights.device())?;
        checkpoint::same_architecture(path, &model, &self.at.model)?;
        Ok(model.weights)
    }

    fn state(&self) -> Result<Vec<(String, Vec<u8>)>> {
        self.at.source.iter().map(|source| Ok((SOURCE.to_string(), source.state()?))).collect()
    }

    fn restore(&mut self, read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<()> {
        match &mut self.at.source {
            Some(source) => source.restore(&read(SOURCE)?),
            None => Ok(()),
        }
    }

    fn resumed(&mut self, place: &RunDir) -> Result<()> {
        let config = &self.at.config;
        let every = config.average.snapshot_every;
        snapshots::cut(place.path(), self.trainer.seen(), config.train.batch as u64, every)
    }

    fn keeps(&self, tick: &Tick) -> bool {
        let config = &self.at.config;
        snapshots::due(tick.seen, config.train.batch as u64, config.average.snapshot_every)
    }

    fn kept(&mut self, place: &RunDir, _: &Tick) -> Result<()> {
        self.snapshot(place)
    }

    fn leaves(&self, images: u64) -> Vec<String> {
        let Average { ref power, snapshot_every: every, keep_snapshots: keep, .. } = self.at.config.average;
        if every == 0 {
            return Vec::new();
        }
        if power.is_empty() {
            return vec!["no snapshots in spite of average.snapshot_every, for average.power names no widths".into()];
        }
        let one = power.len() as u64 * checkpoint::weights(&self.trainer);
        // One at the end, too.
        let count = (images / every).saturating_add(u64::from(!images.is_multiple_of(every)));
        let stay = if keep == 0 { count } else { count.min(keep) };
        let kept = match keep {
            0 => format!("all {stay} kept (average.keep_snapshots keeps fewer)"),
            _ => format!("the newest {stay} kept (average.keep_snapshots)"),
        };
        let (one, all, every) = (size(one), size(one.saturating_mul(stay)), grouped(every));
        vec![format!("snapshots of {one} every {every} images (average.snapshot_every), {kept}, {all}")]
    }

    fn ended(&mut self, place: &RunDir, end: End) -> Result<()> {
        // Not where a run was stopped: the average that is reconstructed must not depend on that.
        match end == End::Finished && self.at.config.average.snapshot_every != 0 {
            true => self.snapshot(place),
            false => Ok(()),
        }
    }

    fn show(&mut self, place: &RunDir, log: &mut Log, moment: Moment, observer: &mut dyn Observer) -> Result<()> {
        let there = moment == Moment::MadeUp && place.path().join(self.picture_name()).is_file();
        if !there {
            self.picture(place, observer)?;
        }
        match moment {
            Moment::Last(End::Stopped) => Ok(()),
            _ => self.measure(place, log, observer),
        }
    }

    #[cfg(feature = "report")]
    fn report(&self, place: &RunDir, end: Option<End>) -> Result<()> {
        let Prepared { config, data, model, document, .. } = &self.at;
        let html = pages::report(config, data, model, place.path(), document, end)?;
        place.write("report.html", html.as_bytes()).map(|_| ())
    }
}

/// The file of data that change while they are trained on.
const SOURCE: &str = "source.safetensors";
