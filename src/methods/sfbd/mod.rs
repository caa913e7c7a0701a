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

mod online;
mod record;
mod round;
mod settings;

use record::{Record, Trace};
use round::Denoised;
pub use round::{Round, SHOWN, shown};
pub use settings::{OnlineSection, SfbdSection, SfbdSettings};

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::denoising::Denoising;
use super::fine_tune;
use super::judge::Judge;
use super::noisy::{NoisyData, joined};
use crate::data::{DataSet, npy};
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::random::RandomKey;
use crate::stop;
use crate::train::pages as training_pages;
use crate::train::{End, Observer, Prepared, RunConfig, RunDir, RunOptions, With, config, fixed};

/// A run of SFBD, ready to start.
#[derive(Debug)]
pub struct Sfbd<'a> {
    settings: With<SfbdSettings>,
    data: &'a NoisyData,
    clean: DataSet,
    denoising: Denoising,
    judge: Option<Judge>,
    /// Fingerprints of the clean and the noisy images.
    identity: String,
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
    /// Checks everything that can be checked before anything is written, and [rehearses](Prepared::rehearse) training and denoising.
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
        let mut prepared = Prepared::new(&settings.run, &clean)?;
        let denoising = settings.method.rehearsed(&settings.run, prepared.model(), data.sigma)?;
        prepared.rehearse()?;
        drop(prepared);
        let real = data.test.as_ref().unwrap_or(&clean.train);
        let judge = Judge::new(&settings.method.judge, real, settings.run.sampling.sampler())?;
        let identity = format!("clean {}, noisy {}", clean.train.fingerprint(), data.noisy()?.fingerprint());
        Ok(Sfbd { settings, data, clean, denoising, judge, identity, given })
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
    /// The result is a pure function of settings and data, however often it was interrupted and resumed. Where the calling thread is to
    /// [stop] it ends with what there is. Errors where training and sampling do.
    pub fn run(&self, place: &RunDir, options: RunOptions, observer: &mut dyn Observer) -> Result<SfbdOutcome> {
        let session = Session { started: Instant::now(), options };
        config::store(place.path(), &self.settings.document()?)?;
        let mut outcome = SfbdOutcome { end: End::Finished, model: None, rounds: Vec::new() };
        let end = match self.settings.method.online.enabled {
            true => self.online(place, &session, observer, &mut outcome),
            false => self.rounds(place, &session, observer, &mut outcome),
        };
        outcome.end = match end {
            Err(Error::Stopped) => End::Stopped,
            end => end?,
        };
        place.write_json("metrics.json", &outcome.rounds)?;
        if let Some(model) = &outcome.model {
            stop::shielded(|| model.save(place.path().join(crate::train::MODEL)))?;
        }
        self.report(place, &outcome)?;
        Ok(outcome)
    }

    /// The algorithm above. What it has come to stands in `outcome`, however it ends.
    fn rounds(
        &self,
        place: &RunDir,
        session: &Session,
        observer: &mut dyn Observer,
        outcome: &mut SfbdOutcome,
    ) -> Result<End> {
        let ended = |outcome: &mut SfbdOutcome, (end, model): (End, Option<Model>)| {
            outcome.model = model.or(outcome.model.take());
            Ok(end)
        };
        let mut model = match self.pre_train(place, session, observer)? {
            ControlFlow::Break(early) => return ended(outcome, early),
            ControlFlow::Continue((model, record)) => {
                outcome.rounds.push(record);
                model
            }
        };
        for k in 1..=self.settings.method.sfbd.rounds {
            outcome.model = Some(model.clone());
            // Not left half-way: what an earlier session came to stays what the run's files say.
            let finished = stop::shielded(|| self.finished(k, place, &model, observer))?;
            if let Some((finished, record)) = finished {
                outcome.rounds.push(self.by_this_judge(&finished, record, place, observer)?);
                model = finished;
                continue;
            }
            let denoised = match self.denoise_all(k, &model, place, session, observer)? {
                ControlFlow::Break(end) => return Ok(end),
                ControlFlow::Continue(denoised) => denoised,
            };
            model = match self.fine_tune(k, &model, &denoised, place, session, observer)? {
                ControlFlow::Break(early) => return ended(outcome, early),
                ControlFlow::Continue((model, record)) => {
                    outcome.rounds.push(record);
                    model
                }
            };
            place.write_json("metrics.json", &outcome.rounds)?;
            self.report(place, outcome)?;
        }
        outcome.model = Some(model);
        Ok(End::Finished)
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
        Ok(ControlFlow::Continue((given.clone(), self.of_given(given, place, observer)?)))
    }

    /// The noisy images that round `k` cannot do without: those that its training draws, and those that pictures show. Denoising is a pure
    /// function of image and model, so leaving out the others changes no bit of what follows.
    fn needed(&self, k: u32, model: &Model) -> Result<Vec<u32>> {
        let (noisy, sfbd) = (self.data.noisy()?, &self.settings.method.sfbd);
        if sfbd.files {
            return Ok((0..noisy.len() as u32).collect());
        }
        let config = self.stage_settings(k)?;
        let (set, clean) = match sfbd.merge {
            true => (joined(&[&self.clean.train, noisy])?, self.clean.train.len()),
            false => (noisy.clone(), 0),
        };
        let first = if sfbd.optimizer == "kept" { self.stage_settings(k - 1)?.train.steps() } else { 0 };
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
        if !round::begun(&round::directory(place, k)) {
            self.say_other_arithmetic(k - 1, model, place, observer)?;
        }
        let seed = RandomKey::stage_seed(self.settings.run.train.seed, k)?;
        let (weights, sigma) = (model.weights.fingerprint()?, self.data.sigma);
        let of = format!("{weights} {} {sigma} {seed} {:?}", noisy.fingerprint(), self.denoising);
        round::denoised(&directory, noisy, needed, &of, observer, |indices, observer| {
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

    fn stage_settings(&self, k: u32) -> Result<RunConfig> {
        self.settings.method.sfbd.stage(&self.settings.run, k)
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
        let config = self.stage_settings(k)?;
        let mut prepared = Prepared::new(&config, set)?;
        // The rounds asked already.
        if k == 0
            && let Some((model, record)) = stop::shielded(|| self.finished(k, place, prepared.model(), observer))?
        {
            let round = self.by_this_judge(&model, record, place, observer)?;
            return Ok(ControlFlow::Continue((model, round)));
        }
        if let Some(model) = before {
            prepared = match self.settings.method.sfbd.optimizer.as_str() {
                "kept" => {
                    let steps = self.stage_settings(k - 1)?.train.steps();
                    prepared.from_checkpoint(record::last_checkpoint(&round::directory(place, k - 1), steps)?)
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
        let round = match self.measure(k, &config, &outcome.model, denoised) {
            Err(Error::Stopped) => return Ok(ControlFlow::Break((End::Stopped, Some(outcome.model)))),
            measured => measured?,
        };
        Record::write(&round, &Trace::of(&outcome.model, &self.identity, self.judge.as_ref())?, &directory)?;
        round::tidy(&directory)?;
        if let (Some(generated), Some(judge)) = (&round.generated, &self.judge) {
            observer.note(&format!(
                "round {k}: Fréchet distance {} and KID {} on {}",
                fixed(generated.frechet_distance, 4),
                fixed(generated.kid, 5),
                judge.features()
            ));
        }
        Ok(ControlFlow::Continue((outcome.model, round)))
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

    fn report(&self, place: &RunDir, outcome: &SfbdOutcome) -> Result<()> {
        let page = super::pages::sfbd(&self.settings, self.data, place, outcome)?;
        place.write("report.html", page.as_bytes()).map(|_| ())
    }
}
