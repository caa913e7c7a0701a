//! Stochastic forward-backward deconvolution (Lu, Wu & Yu 2025, arXiv 2502.05446): the law of clean images from a few
//! of them and many noisy ones. The paper's Algorithm 1, with its lines numbered:
//!
//! ```text
//! 1  phi_0 <- train D on the clean set                                                                   pre_train
//! 2  for k = 1..K:
//! 3      E_k   <- { x : for each noisy y, run the reverse process of D_{phi_{k-1}} from (y, sigma) to 0 }  denoise_all
//! 4      phi_k <- train D on E_k, from phi_{k-1}                                                         fine_tune
//! ```
//!
//! Its code merges the clean set with `E_k` in line 4, which the algorithm does not say; here it is a setting
//! (`sfbd.merge`), on by default.
//!
//! With exact training and a stochastic denoiser a round is a step of expectation maximisation on the law of clean
//! images, the Richardson-Lucy deconvolution: the Kullback-Leibler distance of the truth to the model's law never
//! rises, and the distances of the observed laws sum to at most the first of these. The deterministic denoiser of the
//! public code has the truth as its fixed point too, but not that guarantee. Both are checked on densities that are
//! known, in `tests/sfbd.rs`.
//!
//! A round denoises the images that its training draws: the others, however many, change nothing.
//!
//! Every stage is a [training run](crate::train::run()) in a directory of its own, `rounds/00/` for the pre-training,
//! and denoising a pure function of model and image; so a run that was killed goes on, from wherever it was, to the
//! same bits.
//!
//! ```no_run
//! use veridical::data;
//! use veridical::methods::noisy::Sigma;
//! use veridical::methods::{NoisyData, Sfbd, presets};
//! use veridical::train::{Existing, RunDir, RunOptions};
//! # fn main() -> veridical::Result<()> {
//! let (clean, noisy) = (data::open("clean/")?, data::open_noisy("noisy.npz")?);
//! let images = NoisyData::given(Some(clean), noisy, &Sigma::Number(0.59))?; // or fields of your own
//! let settings = presets::sfbd("mnist")?.build(None, &["sfbd.denoiser=\"sde\"".into()])?;
//! let place = RunDir::create("runs/mine", Existing::Refuse)?;
//! let outcome = Sfbd::new(&settings, &images)?.run(&place, RunOptions::default(), &mut ())?;
//! println!("{} stages", outcome.rounds.len());
//! # Ok(())
//! # }
//! ```

mod online;
#[cfg(feature = "report")]
mod page;
#[cfg(feature = "report")]
mod panels;
mod record;
mod round;
mod rounds;
mod settings;

use round::Denoised;
pub use round::{Round, SHOWN, first_denoised};
use rounds::{Rounds, Stage};
pub use settings::{RoundOptimizer, SfbdSection, SfbdSettings, Store};

use super::denoising::denoise;
use super::fine_tune;
use super::judge::Judge;
use super::noisy::{NoiseLevels, NoisyData, joined};
use crate::data::DataSet;
#[cfg(feature = "formats")]
use crate::data::npy;
use crate::diffusion::{Model, Sampler};
use crate::error::Result;
use crate::random::RandomKey;
use crate::tensor::Device;
use crate::train::shown as in_pictures;
use crate::train::together;
use crate::train::{End, Observer, Prepared, RunConfig, RunDir, RunOptions, Stages, With};

/// A run of SFBD, ready to start.
#[derive(Debug)]
pub struct Sfbd<'a> {
    settings: With<SfbdSettings>,
    data: &'a NoisyData,
    clean: DataSet,
    denoiser: Sampler,
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

impl<'a> Sfbd<'a> {
    /// Checks everything that can be checked before anything is written, and [rehearses](Prepared::rehearse) training
    /// and denoising.
    ///
    /// Errors without clean or noisy images, on settings that make no sense, on a noise level that the model does not
    /// know, and where [`Prepared::new`] does.
    pub fn new(settings: &With<SfbdSettings>, data: &'a NoisyData) -> Result<Self> {
        settings.check()?;
        let mut settings = settings.clone();
        data.noisy()?;
        data.check(&settings.run)?;
        data.levels.range().into_iter().try_for_each(|sigma| settings.method.check_grid(&settings.run, sigma))?;
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
        let rehearsed = |sigma| settings.method.rehearsed(&settings.run, prepared.model(), sigma);
        let [least, most] = data.levels.range();
        rehearsed(least)?;
        let denoiser = rehearsed(most)?;
        prepared.rehearse()?;
        drop(prepared);
        let real = data.test.as_ref().unwrap_or(&clean.train);
        let judge = Judge::new(&settings.method.judge, real, settings.run.sampling.sampler())?;
        let mut identity = format!("clean {}, noisy {}", clean.train.fingerprint(), data.noisy()?.fingerprint());
        if let NoiseLevels::Each(_) = data.levels {
            identity += &format!(", {}", data.levels.fingerprint());
        }
        Ok(Sfbd { settings, data, clean, denoiser, judge, identity, given })
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
    /// The result is a pure function of settings and data, however often it was interrupted and resumed. Where the
    /// calling thread is to [stop](crate::stop) it ends with what there is. Errors where training and sampling do.
    pub fn run(&self, place: &RunDir, options: RunOptions, observer: &mut dyn Observer) -> Result<SfbdOutcome> {
        place.ranks().check_same(&[
            ("settings", together::without_device(&self.settings.document()?)),
            ("images", self.identity.clone()),
            ("arithmetic", together::kind(&Device::named(&self.settings.run.train.device)?)),
        ])?;
        self.settings.begin(place, options.resume)?;
        let mut rounds = Rounds::new(self, Stages::new(place, options, observer));
        let result = match self.settings.method.online.enabled {
            true => self.online(&mut rounds),
            false => self.algorithm(&mut rounds),
        };
        rounds.end(result)
    }

    /// Algorithm 1; what it has come to stands in `rounds`, however it ends.
    fn algorithm(&self, rounds: &mut Rounds) -> Result<()> {
        let mut phi = rounds.once(0, |stages| self.pre_train(stages))?; // line 1
        for k in 1..=self.settings.method.sfbd.rounds {
            phi = rounds.once(k, |stages| {
                let e = self.denoise_all(k, &phi, stages)?; // line 3
                self.fine_tune(k, &phi, e, stages) // line 4
            })?;
        }
        Ok(())
    }

    /// Line 1, `phi_0`: a model trained on the clean images, or the one that was given.
    fn pre_train(&self, stages: &mut Stages) -> Result<Stage> {
        let Some(given) = &self.given else {
            stages.note(&format!("pre-training on {} clean images", self.clean.train.len()));
            let model = self.train(0, &self.clean, None, stages)?;
            return Ok(Stage { model, denoised: None });
        };
        Ok(Stage { model: given.clone(), denoised: None })
    }

    /// Line 3, `E_k`: the noisy images denoised by the model, from `(y, sigma)` to 0.
    fn denoise_all(&self, k: u32, phi: &Model, stages: &mut Stages) -> Result<Denoised> {
        let (noisy, needed, levels) = (self.data.noisy()?, self.needed(k, phi)?, &self.data.levels);
        let directory = round::directory(stages.place(), k);
        let of =
            if needed.len() < noisy.len() { format!("the {} that are drawn of ", needed.len()) } else { String::new() };
        stages.note(&format!(
            "round {k}: denoising {of}{} images of noise {}",
            noisy.len(),
            levels.said(self.data.unit())
        ));
        if !Stages::begun(&directory) {
            self.say_other_arithmetic(k - 1, phi, stages)?;
        }
        let seed = RandomKey::stage_seed(self.settings.run.train.seed, k)?;
        let follows_from = format!(
            "{} {} {} {seed} {:?}",
            phi.weights.fingerprint()?,
            noisy.fingerprint(),
            levels.fingerprint(),
            self.denoiser
        );
        round::denoised(&directory.join("denoised"), noisy, needed, &follows_from, stages, |indices| {
            denoise(&self.denoiser, phi, noisy, indices, levels, seed)
        })
    }

    /// Line 4, `phi_k`: the model trained on, on the denoised images and, merged, the clean ones.
    fn fine_tune(&self, k: u32, phi: &Model, e: Denoised, stages: &mut Stages) -> Result<Stage> {
        let sfbd = &self.settings.method.sfbd;
        let train = if sfbd.merge { joined(&[&self.clean.train, &e.images])? } else { e.images.clone() };
        let train = if sfbd.store == Store::U8 { round::as_bytes(&train)? } else { train };
        #[cfg(feature = "formats")]
        if sfbd.files && stages.place().is_writer() {
            npy::write_images(round::directory(stages.place(), k).join("denoised.npz"), &e.images)?;
        }
        stages.note(&format!("round {k}: training on {} images", train.len()));
        let model = self.train(k, &self.data.set(train), Some(phi), stages)?;
        Ok(Stage { model, denoised: Some(e) })
    }

    /// Trains stage `k` in a directory of its own, from the weights of the stage before, if there was one.
    fn train(&self, k: u32, set: &DataSet, before: Option<&Model>, stages: &mut Stages) -> Result<Model> {
        let mut prepared = Prepared::new(&self.stage_settings(k)?, set)?;
        if let Some(phi) = before {
            prepared = match self.settings.method.sfbd.optimizer {
                RoundOptimizer::Kept => {
                    let steps = self.stage_settings(k - 1)?.train.steps();
                    let directory = round::directory(stages.place(), k - 1);
                    prepared.from_checkpoint(record::last_checkpoint(&directory, steps)?)
                }
                RoundOptimizer::Fresh => prepared.from_weights(&phi.weights)?,
            };
        }
        stages.train(&round::directory(stages.place(), k), prepared)
    }

    /// The noisy images that round `k` cannot do without: those that its training draws, and those that pictures show.
    /// Denoising is a pure function of image and model, so leaving out the others changes no bit of what follows.
    fn needed(&self, k: u32, phi: &Model) -> Result<Vec<u32>> {
        let (noisy, sfbd) = (self.data.noisy()?, &self.settings.method.sfbd);
        if sfbd.files {
            return Ok((0..noisy.len() as u32).collect());
        }
        let config = self.stage_settings(k)?;
        let (set, clean) = match sfbd.merge {
            true => (joined(&[&self.clean.train, noisy])?, self.clean.train.len()),
            false => (noisy.clone(), 0),
        };
        let first = if sfbd.optimizer == RoundOptimizer::Kept { self.stage_settings(k - 1)?.train.steps() } else { 0 };
        let mut needed = config.batches(set.len())?.drawn(first..config.train.steps())?;
        for index in in_pictures::shown(&config, &set, phi.denoiser().label_dim()) {
            needed[index as usize] = true;
        }
        let needed = &needed[clean..];
        let shown = round::shown(noisy);
        Ok((0..noisy.len() as u32).filter(|&i| needed[i as usize] || (i as usize) < shown).collect())
    }

    fn stage_settings(&self, k: u32) -> Result<RunConfig> {
        self.settings.method.sfbd.stage(&self.settings.run, k)
    }
}
