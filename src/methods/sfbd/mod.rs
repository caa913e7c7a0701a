//! Stochastic forward-backward deconvolution (Lu, Wu & Yu 2025, arXiv 2502.05446): the law of clean images from a few of them and many noisy
//! ones.
//!
//! ```text
//! phi_0 <- train D on the clean set                                                                  pre_train
//! for k = 1..K:
//!     E_k   <- { x : for each noisy y, run the reverse process of D_{phi_{k-1}} from (y, sigma) to 0 }   denoise_all
//!     phi_k <- train D on E_k (merged with the clean set), from phi_{k-1}                             fine_tune
//! ```
//!
//! With exact training and a stochastic denoiser a round is a step of expectation maximisation on the law of clean images, the
//! Richardson-Lucy deconvolution: the Kullback-Leibler distance of the truth to the model's law never rises, and the distances of the
//! observed laws sum to at most the first of these. The deterministic denoiser of the public code has the truth as its fixed point too,
//! but not that guarantee. Both are checked on densities that are known, in `tests/sfbd.rs`.
//!
//! A round denoises the images that its training draws: the others, however many, change nothing.
//!
//! Every stage is a [training run](crate::train::run()) in a directory of its own, `rounds/00/` for the pre-training, and denoising a pure function
//! of model and image; so a run that was killed goes on, from wherever it was, to the same bits.
//!
//! ```no_run
//! use veridical::data;
//! use veridical::methods::{NoisyData, Sfbd, presets};
//! use veridical::train::{Existing, RunDir, RunOptions};
//! # fn main() -> veridical::Result<()> {
//! let images = NoisyData::given(Some(data::open("clean/")?), data::open("noisy.npz")?, 0.59)?; // or fields of your own
//! let settings = presets::sfbd("mnist")?.build(None, &["sfbd.denoiser=\"sde\"".into()])?;
//! let place = RunDir::create("runs/mine", Existing::Refuse)?;
//! let outcome = Sfbd::new(&settings, &images)?.run(&place, RunOptions::default(), &mut ())?;
//! println!("{} stages", outcome.rounds.len());
//! # Ok(())
//! # }
//! ```

mod round;
mod settings;

use round::Denoised;
pub use round::{Round, SHOWN, shown};
pub use settings::{OnlineSection, SfbdSection, SfbdSettings};

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::denoising::Denoising;
use super::fine_tune;
use super::judge::Judge;
use super::noisy::{NoisyData, joined};
use super::online_sfbd::OnlineSfbd;
use crate::data::{DataSet, npy};
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::random::RandomKey;
use crate::train::pages as training_pages;
use crate::train::{End, Observer, Prepared, RunConfig, RunDir, RunOptions, With, checkpoint, fixed};

/// A run of SFBD, ready to start.
#[derive(Debug)]
pub struct Sfbd<'a> {
    settings: With<SfbdSettings>,
    data: &'a NoisyData,
    clean: DataSet,
    denoising: Denoising,
    judge: Option<Judge>,
    /// The model to start from, if it is not pre-trained here.
    given: Option<Model>,
}

/// What a run of SFBD came to.
#[derive(Debug)]
pub struct SfbdOutcome {
    /// How it ended.
    pub end: End,
    /// The model of the last stage that was finished or stopped in.
    pub model: Option<Model>,
    /// What each finished stage measured; the first is the pre-training.
    pub rounds: Vec<Round>,
}

/// Time that is left, and whether there is a run to go on with.
struct Session {
    started: Instant,
    options: RunOptions,
}

impl Session {
    fn left(&self) -> Option<Duration> {
        self.options.budget.map(|budget| budget.saturating_sub(self.started.elapsed()))
    }
}

impl<'a> Sfbd<'a> {
    /// Checks everything that can be checked before anything is written.
    ///
    /// Errors without clean or noisy images, on settings that make no sense, on a noise level that the model does not know, and where
    /// [`Prepared::new`] does.
    pub fn new(settings: &With<SfbdSettings>, data: &'a NoisyData) -> Result<Self> {
        settings.check()?;
        let mut settings = settings.clone();
        data.noisy()?;
        let clean = data.set(data.clean()?.clone());
        let given = match settings.method.sfbd.model.as_str() {
            "" => None,
            path => {
                let (model, run) = fine_tune::pretrained(path, &settings.run, &clean.train)?;
                settings.run = run;
                Some(model)
            }
        };
        settings.run = settings.run.completed(&clean.train)?;
        let (low, high) = Prepared::new(&settings.run, &clean)?.model().denoiser().sigma_range();
        if !(low..=high).contains(&data.sigma) {
            let what = format!("noisy.sigma = {}: the model knows levels from {low} to {high}", data.sigma);
            return Err(Error::Config(what));
        }
        let denoising = settings.method.denoising(&settings.run)?;
        let real = data.test.as_ref().unwrap_or(&clean.train);
        let judge = Judge::new(&settings.method.judge, real, settings.run.sampling.sampler())?;
        Ok(Sfbd { settings, data, clean, denoising, judge, given })
    }

    /// The settings, complete.
    pub fn settings(&self) -> &With<SfbdSettings> {
        &self.settings
    }

    /// What models are measured by, if they are.
    pub fn judge(&self) -> Option<&Judge> {
        self.judge.as_ref()
    }

    /// The whole algorithm, or what is left of it, in the directory `place`.
    ///
    /// The result is a pure function of settings and data, however often it was interrupted and resumed. Errors where training and sampling do.
    pub fn run(&self, place: &RunDir, options: RunOptions, observer: &mut dyn Observer) -> Result<SfbdOutcome> {
        let session = Session { started: Instant::now(), options };
        place.write("config.toml", self.settings.document()?.as_bytes())?;
        let outcome = match self.settings.method.online.enabled {
            true => self.online(place, &session, observer)?,
            false => self.rounds(place, &session, observer)?,
        };
        place.write_json("metrics.json", &outcome.rounds)?;
        if let Some(model) = &outcome.model {
            model.save(place.path().join(crate::train::MODEL))?;
        }
        self.report(place, &outcome)?;
        Ok(outcome)
    }

    fn rounds(&self, place: &RunDir, session: &Session, observer: &mut dyn Observer) -> Result<SfbdOutcome> {
        let mut outcome = SfbdOutcome { end: End::Finished, model: None, rounds: Vec::new() };
        let stopped = |outcome: SfbdOutcome, (end, model): (End, Option<Model>)| {
            Ok(SfbdOutcome { end, model: model.or(outcome.model), ..outcome })
        };
        let mut model = match self.pre_train(place, session, observer)? {
            ControlFlow::Break(early) => return stopped(outcome, early),
            ControlFlow::Continue((model, record)) => {
                outcome.rounds.push(record);
                model
            }
        };
        for k in 1..=self.settings.method.sfbd.rounds {
            if let Some((finished, record)) = self.finished(k, place, &model)? {
                outcome.rounds.push(record);
                model = finished;
                continue;
            }
            outcome.model = Some(model.clone());
            let denoised = match self.denoise_all(k, &model, place, session, observer)? {
                ControlFlow::Break(end) => return stopped(outcome, (end, None)),
                ControlFlow::Continue(denoised) => denoised,
            };
            model = match self.fine_tune(k, &model, &denoised, place, session, observer)? {
                ControlFlow::Break(early) => return stopped(outcome, early),
                ControlFlow::Continue((model, record)) => {
                    outcome.rounds.push(record);
                    model
                }
            };
            place.write_json("metrics.json", &outcome.rounds)?;
            self.report(place, &outcome)?;
        }
        Ok(SfbdOutcome { model: Some(model), ..outcome })
    }

    /// `phi_0`: on the clean images, or a model that was given.
    fn pre_train(
        &self,
        place: &RunDir,
        session: &Session,
        observer: &mut dyn Observer,
    ) -> Result<ControlFlow<(End, Option<Model>), (Model, Round)>> {
        let Some(given) = &self.given else {
            observer.note(&format!("pre-training on {} clean images", self.clean.train.len()));
            return self.stage(0, &self.clean, None, None, place, session, observer);
        };
        let record = match Round::read(place, 0)? {
            Some(record) => record,
            None => {
                let generated = self.judge.as_ref().map(|judge| judge.model(given)).transpose()?;
                Round { round: 0, images: 0, generated, denoised: None, rms_error: None }.write(place)?
            }
        };
        Ok(ControlFlow::Continue((given.clone(), record)))
    }

    /// The noisy images that round `k` cannot do without: those that its training draws, and those that pictures show. Denoising is a pure
    /// function of image and model, so leaving out the others changes no bit of what follows.
    fn needed(&self, k: u32, model: &Model) -> Result<Vec<u32>> {
        let (noisy, sfbd) = (self.data.noisy()?, &self.settings.method.sfbd);
        if sfbd.files {
            return Ok((0..noisy.len() as u32).collect());
        }
        let config = self.stage_config(k)?;
        let (set, clean) = match sfbd.merge {
            true => (joined(&[&self.clean.train, noisy])?, self.clean.train.len()),
            false => (noisy.clone(), 0),
        };
        let first = if sfbd.optimizer == "kept" { self.stage_config(k - 1)?.train.steps() } else { 0 };
        let mut needed = config.batches(set.len())?.drawn(first..config.train.steps())?;
        for index in training_pages::shown(&config, &set, model.denoiser().label_dim()) {
            needed[index as usize] = true;
        }
        let needed = &needed[clean..];
        Ok((0..noisy.len() as u32).filter(|&i| needed[i as usize] || (i as usize) < SHOWN).collect())
    }

    /// `E_k`: the noisy images denoised by the model, from `(y, sigma)` to 0.
    fn denoise_all(
        &self,
        k: u32,
        model: &Model,
        place: &RunDir,
        session: &Session,
        observer: &mut dyn Observer,
    ) -> Result<ControlFlow<End, Denoised>> {
        let (noisy, needed) = (self.data.noisy()?, self.needed(k, model)?);
        let directory = round::directory(place, k).join("denoised");
        let of =
            if needed.len() < noisy.len() { format!("the {} that are drawn of ", needed.len()) } else { String::new() };
        observer.note(&format!("round {k}: denoising {of}{} images of noise {}", noisy.len(), self.data.sigma));
        let seed = RandomKey::stage_seed(self.settings.run.train.seed, k)?;
        round::denoised(&directory, noisy, needed, |indices| {
            if observer.stop() {
                return Ok(ControlFlow::Break(End::Stopped));
            }
            if session.left().is_some_and(|left| left.is_zero()) {
                return Ok(ControlFlow::Break(End::OutOfTime));
            }
            Ok(ControlFlow::Continue(self.denoising.images(model, noisy, indices, self.data.sigma, seed)?))
        })
    }

    /// `phi_k`: on the denoised images and, merged, the clean ones.
    fn fine_tune(
        &self,
        k: u32,
        model: &Model,
        denoised: &Denoised,
        place: &RunDir,
        session: &Session,
        observer: &mut dyn Observer,
    ) -> Result<ControlFlow<(End, Option<Model>), (Model, Round)>> {
        let sfbd = &self.settings.method.sfbd;
        let train = match sfbd.merge {
            true => joined(&[&self.clean.train, &denoised.images])?,
            false => denoised.images.clone(),
        };
        let train = if sfbd.store == "u8" { round::as_bytes(&train)? } else { train };
        if sfbd.files {
            npy::write_images(round::directory(place, k).join("denoised.npz"), &denoised.images)?;
        }
        self.stage(k, &self.data.set(train), Some(model), Some(denoised), place, session, observer)
    }

    /// The model of a stage that an earlier session finished, and what it measured. `like` has its architecture.
    fn finished(&self, k: u32, place: &RunDir, like: &Model) -> Result<Option<(Model, Round)>> {
        let Some(record) = Round::read(place, k)? else { return Ok(None) };
        let file = round::directory(place, k).join(crate::train::MODEL);
        Ok(Some((Model::load(file, &like.weights.device())?, record)))
    }

    /// The settings of a stage's training: with a fresh optimiser it starts at step 0 with numbers of its own, with a kept one it goes on.
    fn stage_config(&self, k: u32) -> Result<RunConfig> {
        let (mut run, sfbd) = (self.settings.run.clone(), &self.settings.method.sfbd);
        match (k, sfbd.optimizer.as_str()) {
            (0, _) => {}
            (_, "kept") => {
                // Whole batches, so that a stage ends where the next begins.
                let batch = run.train.batch as u64;
                let steps = run.train.images.div_ceil(batch) + u64::from(k) * sfbd.round_images.div_ceil(batch);
                run.train.images = steps * batch;
            }
            _ => {
                run.train.images = sfbd.round_images;
                run.train.seed = RandomKey::stage_seed(run.train.seed, k)?;
            }
        }
        Ok(run)
    }

    /// Trains a stage in its own directory, or finds it trained, and measures the result.
    fn stage(
        &self,
        k: u32,
        set: &DataSet,
        before: Option<&Model>,
        denoised: Option<&Denoised>,
        place: &RunDir,
        session: &Session,
        observer: &mut dyn Observer,
    ) -> Result<ControlFlow<(End, Option<Model>), (Model, Round)>> {
        let directory = round::directory(place, k);
        let config = self.stage_config(k)?;
        let mut prepared = Prepared::new(&config, set)?;
        if let Some(finished) = self.finished(k, place, prepared.model())? {
            return Ok(ControlFlow::Continue(finished));
        }
        if let Some(model) = before {
            prepared = match self.settings.method.sfbd.optimizer.as_str() {
                "kept" => {
                    let last = round::directory(place, k - 1).join(crate::train::CHECKPOINTS);
                    let (newest, _) = checkpoint::latest(&last)?;
                    prepared.from_checkpoint(newest.ok_or_else(|| {
                        Error::Config(format!("{}: there is no checkpoint to keep the optimiser of", last.display()))
                    })?)
                }
                _ => prepared.from_weights(&model.weights)?,
            };
        }
        let resume = round::begun(&directory);
        let at = round::open(&directory, resume)?;
        if k > 0 {
            observer.note(&format!("round {k}: training on {} images", set.train.len()));
        }
        let outcome = prepared.run(&at, RunOptions { resume, budget: session.left() }, observer)?;
        if outcome.end != End::Finished {
            return Ok(ControlFlow::Break((outcome.end, Some(outcome.model))));
        }
        let record = self.measure(k, &config, &outcome.model, denoised)?.write(place)?;
        round::tidy(&directory)?;
        if let (Some(generated), Some(judge)) = (&record.generated, &self.judge) {
            observer.note(&format!(
                "round {k}: Fréchet distance {} and KID {} on {}",
                fixed(generated.frechet_distance, 4),
                fixed(generated.kid, 5),
                judge.features()
            ));
        }
        Ok(ControlFlow::Continue((outcome.model, record)))
    }

    fn measure(&self, k: u32, config: &RunConfig, model: &Model, denoised: Option<&Denoised>) -> Result<Round> {
        let judge = self.judge.as_ref();
        let rms_error = match (denoised, &self.data.originals) {
            (Some(denoised), Some(originals)) => Some(denoised.rms_error(originals)?),
            _ => None,
        };
        let denoised = denoised.map(Denoised::done).transpose()?.filter(|set| set.len() >= 10).zip(judge);
        Ok(Round {
            round: k,
            images: config.train.images,
            generated: judge.map(|judge| judge.model(model)).transpose()?,
            denoised: denoised.map(|(set, judge)| judge.images(&set)).transpose()?,
            rms_error,
        })
    }

    /// The variant without rounds: one training run, whose data are refreshed meanwhile.
    fn online(&self, place: &RunDir, session: &Session, observer: &mut dyn Observer) -> Result<SfbdOutcome> {
        let mut config = self.settings.run.clone();
        let online = &self.settings.method.online;
        let first = config.train.steps();
        config.train.images = first * config.train.batch as u64 + online.images;
        let source = OnlineSfbd::new(online, self.data, self.denoising.clone(), &config, first)?;
        let set = self.data.set(source.placeholder()?);
        let document = With { run: config.clone(), method: self.settings.method.clone() }.document()?;
        let mut prepared = Prepared::new(&config, &set)?.with_document(document, &["judge.", "noisy.path"]);
        if let Some(given) = &self.given {
            prepared = prepared.from_weights(&given.weights)?;
        }
        let directory = round::directory(place, 0);
        let resume = round::begun(&directory);
        let at = round::open(&directory, resume)?;
        let options = RunOptions { resume, budget: session.left() };
        let outcome = prepared.with_source(source).run(&at, options, observer)?;
        let mut rounds = Vec::new();
        if outcome.end == End::Finished {
            rounds.push(self.measure(0, &config, &outcome.model, None)?.write(place)?);
        }
        Ok(SfbdOutcome { end: outcome.end, model: Some(outcome.model), rounds })
    }

    fn report(&self, place: &RunDir, outcome: &SfbdOutcome) -> Result<()> {
        let page = super::pages::sfbd(&self.settings, self.data, place, outcome)?;
        place.write("report.html", page.as_bytes()).map(|_| ())
    }
}
