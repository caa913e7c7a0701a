//! A run: the loop around whatever is [trained](Trained), with checkpoints, log and what it shows of itself.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::checkpoint::{self, Subject};
use super::copies::Copies;
use super::observer::{End, Observer, Started};
use super::plan::{CHECKPOINTS, MODELS, Plan, RunOptions, model_file};
use super::rate::Recent;
use super::run_dir::RunDir;
use super::trained::{Moment, Trained};
use super::trainer::Tick;
use super::{config, log, resume, together};
use crate::error::{Error, Result};
use crate::figures::size;
use crate::stop;
use crate::tensor::Device;

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// Steps made in all.
    pub steps: u64,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
}

/// Trains whatever is [`Trained`] as `plan` says, in the directory `place`: what [`run`](super::run()) does for a
/// diffusion model.
///
/// The averaged weights of each player stand there at the end, by [`model_file`]. Where the calling thread is to
/// [stop](crate::stop), the step or show in progress is dropped and the checkpoint of the last whole step written;
/// where that is so before there is anything to keep, it is an error.
///
/// Errors on a checkpoint of other settings or data (naming the difference), on output that fails, and where a step
/// does (naming the last good checkpoint). Where [several processes](crate::distributed) share the run, all of them
/// call this, and it is also an error if one of them is lost or is of another version, of other settings or of other
/// data.
pub fn run_trained(
    trained: &mut dyn Trained,
    plan: &Plan,
    place: &RunDir,
    options: RunOptions,
    observer: &mut dyn Observer,
) -> Result<Ran> {
    let ran = Run::start(trained, plan, place, options, observer).and_then(|mut run| {
        let end = run.train(observer)?;
        run.finish(end, observer)
    });
    ran.inspect_err(|error| match error {
        // Whoever is told of it by another rank need not tell that.
        Error::Rank { .. } => {}
        other => place.ranks().abort(&other.to_string()),
    })
}

struct Run<'a> {
    trained: &'a mut dyn Trained,
    plan: &'a Plan,
    place: &'a RunDir,
    log: log::Log,
    /// `None` where another rank writes.
    copies: Option<Copies<'a>>,
    started: Instant,
    budget: Option<Duration>,
    last_checkpoint: Option<PathBuf>,
    /// Sum of the losses, and steps, since the last line of the log.
    since: (f64, u64),
    /// The last step of this session, and the speed then.
    last: Option<(Tick, f64)>,
}

impl<'a> Run<'a> {
    fn start(
        trained: &'a mut dyn Trained,
        plan: &'a Plan,
        place: &'a RunDir,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let models: Vec<String> = trained.players().iter().map(|(player, _)| model_file(player)).collect();
        checkpoint::check_names(trained)?;
        if models.len() > 1 {
            trained.players_mut().into_iter().for_each(|(player, trainer)| trainer.call(player));
        }
        let folders: &[&str] =
            if models.iter().any(|file| file.contains('/')) { &[CHECKPOINTS, MODELS] } else { &[CHECKPOINTS] };
        let files: Vec<&str> =
            ["config.toml", "log.jsonl"].into_iter().chain(models.iter().map(String::as_str)).collect();
        place.check_writable(&files, folders)?;
        together::share(trained, place.ranks())?;
        let last_checkpoint = match options.resume {
            true => place.ranks().first_then_others(|| {
                config::check_same(place.path(), &plan.settings, &plan.free, &plan.branches)?;
                resume::resume(trained, plan, place, observer)
            })?,
            false => None,
        };
        together::check_same(trained, plan, place.ranks())?;
        if let Some(how) = together::connect(trained, place.ranks())? {
            observer.note(&how);
        }
        if place.is_writer() {
            config::store(place.path(), &plan.settings)?;
        }
        let (log, started) = (place.log()?, Instant::now());
        let step = trained.progress().0;
        let copies = place.is_writer().then(|| Copies::open(place, plan, options, step)).transpose()?;
        let (budget, since) = (options.budget, (0.0, 0));
        Ok(Run { trained, plan, place, log, copies, started, budget, last_checkpoint, since, last: None })
    }

    fn steps(&self) -> u64 {
        self.trained.progress().0
    }

    /// Trains until the last step, or as long as time and stop allow.
    fn train(&mut self, observer: &mut dyn Observer) -> Result<End> {
        match self.make_steps(observer) {
            Err(Error::Stopped) => Ok(End::Stopped),
            end => end,
        }
    }

    fn make_steps(&mut self, observer: &mut dyn Observer) -> Result<End> {
        let (first, steps) = (self.steps(), self.plan.steps);
        let players = self.trained.players();
        let parameters = players.iter().map(|(_, trainer)| trainer.weights().layout().parameter_count()).sum();
        let device = players.first().map_or(Device::Cpu, |(_, trainer)| trainer.weights().device());
        let leaves = self.leaves()?;
        observer.started(&Started { parameters, device, first, steps, leaves });
        if self.last_checkpoint.is_some() && self.shows(first) {
            self.show(Moment::MadeUp, observer)?;
        }
        let mut recent = Recent::new(self.trained.progress().1);
        while self.steps() < steps {
            let is_late = || self.budget.is_some_and(|budget| self.started.elapsed() >= budget);
            let wanted = match observer.stop() {
                true => Some(End::Stopped),
                false => is_late().then_some(End::OutOfTime),
            };
            if let Some(end) = together::end(self.place.ranks(), wanted).map_err(|e| self.lost(e))? {
                return Ok(end);
            }
            let before = self.steps();
            let tick = self.trained.step(observer).map_err(|e| self.lost(e))?;
            if tick.step != before + 1 || self.steps() != tick.step {
                let what = format!(
                    "step {} of the player that counts was to be made, but it says {} and was given {}",
                    before + 1,
                    self.steps(),
                    tick.step
                );
                return Err(Error::argument("Trained::step", what));
            }
            let rate = recent.rate(tick.seen);
            observer.ticked(&tick, rate, self.plan.samples);
            self.after(&tick, rate, observer).map_err(|e| match e {
                e if e.is_between_ranks() => self.lost(e),
                other => other,
            })?;
        }
        Ok(End::Finished)
    }

    /// What the run will leave on disk.
    fn leaves(&self) -> Result<Vec<String>> {
        let Plan { keep_last, keep_every, checkpoint_every, .. } = *self.plan;
        let bytes = checkpoint::bytes(self.trained)?;
        let checkpoints = match (checkpoint_every, keep_every) {
            (0, _) => format!("a checkpoint of {} at the end", size(bytes)),
            (_, 0) => format!("checkpoints of {}, the newest {keep_last} kept (train.keep_last)", size(bytes)),
            (_, every) => {
                // Those of other steps than multiples of both are not made, or not kept.
                let kept = self.plan.steps / lcm(every, checkpoint_every);
                let all = size(bytes.saturating_mul(kept.saturating_add(keep_last as u64)));
                format!(
                    "checkpoints of {}, the newest {keep_last} kept (train.keep_last) and those of every {every} steps \
                     (train.keep_every), up to {all}",
                    size(bytes)
                )
            }
        };
        Ok([vec![checkpoints], self.trained.leaves(self.plan.samples)].concat())
    }

    /// Whether something is to be shown after a step, the last one aside.
    fn shows(&self, step: u64) -> bool {
        let every = self.plan.show_every;
        every != 0 && step.is_multiple_of(every) && step < self.plan.steps
    }

    /// What is due after a step.
    fn after(&mut self, tick: &Tick, rate: f64, observer: &mut dyn Observer) -> Result<()> {
        let plan = self.plan;
        let due = |every: u64| every != 0 && tick.step.is_multiple_of(every);
        self.since.0 += tick.loss;
        self.since.1 += 1;
        self.last = Some((*tick, rate));
        // A line for each checkpoint, so that a resumed run's means begin where the first run's did.
        if due(plan.log_every) || due(plan.checkpoint_every) || tick.step == plan.steps {
            stop::shielded(|| self.write_log(tick, rate))?;
        }
        if self.trained.keeps(tick) {
            stop::shielded(|| {
                together::gather(self.trained)?;
                if self.place.is_writer() { self.trained.kept(self.place, tick) } else { Ok(()) }
            })?;
        }
        if due(plan.checkpoint_every) && tick.step != plan.steps {
            stop::shielded(|| self.checkpoint())?;
        }
        if self.shows(tick.step) {
            self.show(Moment::Due, observer)?;
        }
        Ok(())
    }

    /// The first rank draws and measures; the others wait for it.
    fn show(&mut self, moment: Moment, observer: &mut dyn Observer) -> Result<()> {
        stop::shielded(|| together::gather(self.trained))?;
        let ranks = self.place.ranks();
        let shown = ranks.on_first(|| {
            self.trained.show(self.place, &mut self.log, moment, observer)?;
            self.copied()?;
            self.trained.report(self.place, None)
        });
        shown.map(|_| ())
    }

    /// Copies what has come to the log.
    fn copied(&mut self) -> Result<()> {
        let step = self.steps();
        self.copies.as_mut().map_or(Ok(()), |copies| copies.follow(step))
    }

    /// A line of the log, with the mean loss since the line before.
    fn write_log(&mut self, tick: &Tick, rate: f64) -> Result<()> {
        let (sum, steps) = std::mem::take(&mut self.since);
        let mut line = serde_json::json!({
            "step": tick.step,
            "seen": tick.seen,
            "loss": sum / steps.max(1) as f64,
            "gradient_norm": tick.gradient_norm,
            "learning_rate": tick.learning_rate,
            "images_per_second": rate,
            "seconds": self.started.elapsed().as_secs_f64(),
        });
        for (name, figure) in self.trained.figures() {
            if line.get(name).is_some() {
                return Err(Error::argument("Trained::figures", format!("{name} is a field of every line of the log")));
            }
            line[name] = figure.into();
        }
        self.log.append(&line)?;
        self.copied()
    }

    fn checkpoint(&mut self) -> Result<PathBuf> {
        together::gather(self.trained)?;
        self.log.sync()?;
        let directory = self.place.path().join(CHECKPOINTS);
        if !self.place.is_writer() {
            let path = checkpoint::path(&directory, self.steps());
            self.last_checkpoint = Some(path.clone());
            return Ok(path);
        }
        let subject = Subject { settings: &self.plan.settings, data: &self.plan.data };
        let saved = checkpoint::save(&directory, self.trained, subject);
        let path = saved.map_err(|e| self.named_checkpoint(e))?;
        self.last_checkpoint = Some(path.clone());
        self.prune()?;
        Ok(path)
    }

    fn prune(&self) -> Result<()> {
        if !self.place.is_writer() {
            return Ok(());
        }
        let directory = self.place.path().join(CHECKPOINTS);
        checkpoint::prune(&directory, self.steps(), self.plan.keep_last, self.plan.keep_every)
    }

    /// A checkpoint of the last whole step; where another rank writes, the newest that it has written.
    fn keep_for_later(&mut self) -> Result<()> {
        if !self.place.is_writer() {
            let directory = self.place.path().join(CHECKPOINTS);
            let newest = checkpoint::steps(&directory)?.into_iter().max();
            self.last_checkpoint = newest.map(|step| checkpoint::path(&directory, step));
            return Ok(());
        }
        // The share of who is lost is lost with it: the last checkpoint counts.
        if self.trained.players().iter().any(|(_, trainer)| !trainer.is_whole()) {
            return Ok(());
        }
        if self.last_checkpoint.as_ref().is_some_and(|path| checkpoint::is_of(path, self.steps())) {
            return Ok(());
        }
        if let Some((tick, rate)) = self.last.take()
            && self.since.1 > 0
        {
            self.write_log(&tick, rate)?;
        }
        self.checkpoint().map(|_| ())
    }

    /// What becomes of an error of a step. Where another rank is lost or an exchange failed, nothing is wrong with what
    /// this one has: the steps since the last checkpoint are kept.
    fn lost(&mut self, error: Error) -> Error {
        if error.is_between_ranks()
            && self.steps() > 0
            && let Err(other) = stop::shielded(|| self.keep_for_later())
        {
            return self.named_checkpoint(other);
        }
        self.named_checkpoint(error)
    }

    /// Says in an error where the run can be taken up again.
    fn named_checkpoint(&self, error: Error) -> Error {
        let last = match &self.last_checkpoint {
            Some(path) => format!("the last good checkpoint is {}; go on from it with --resume", path.display()),
            None => "there is no checkpoint yet".into(),
        };
        match error {
            Error::NonFinite { what, found } => Error::NonFinite { what, found: format!("{found}; {last}") },
            Error::Rank { rank, what } => Error::Rank { rank, what: format!("{what}; {last}") },
            Error::Exchange { what } => Error::Exchange { what: format!("{what}; {last}") },
            Error::Format { path, what } => Error::Format { path, what: format!("{what}; {last}") },
            Error::Io { path, source } => {
                Error::Io { path, source: std::io::Error::new(source.kind(), format!("{source}; {last}")) }
            }
            other => other,
        }
    }

    fn finish(mut self, end: End, observer: &mut dyn Observer) -> Result<Ran> {
        let checkpoint = stop::shielded(|| self.keep(end))?;
        // Ranks end together: none goes on to what another one is still writing.
        let end = together::last(self.place.ranks(), || self.show_last(end, observer))?;
        Ok(Ran { end, steps: self.steps(), checkpoint })
    }

    fn show_last(&mut self, end: End, observer: &mut dyn Observer) -> Result<End> {
        let end = match self.trained.show(self.place, &mut self.log, Moment::Last(end), observer) {
            Err(Error::Stopped) => End::Stopped,
            shown => shown.map(|()| end)?,
        };
        self.copied()?;
        self.trained.report(self.place, Some(end))?;
        Ok(end)
    }

    /// Writes what the run is resumed from, and the models.
    fn keep(&mut self, end: End) -> Result<PathBuf> {
        together::gather(self.trained)?;
        let steps = self.steps();
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
        if !self.place.is_writer() {
            return Ok(checkpoint);
        }
        self.trained.ended(self.place, end)?;
        for (player, trainer) in self.trained.players() {
            let path = self.place.path().join(model_file(player));
            path.parent().map_or(Ok(()), |folder| fs::create_dir_all(folder).map_err(|e| Error::io(folder, e)))?;
            self.trained.save(player, &trainer.average()?, &path)?;
        }
        Ok(checkpoint)
    }
}

/// The least common multiple of two numbers above 0.
fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).saturating_mul(b).max(1)
}
