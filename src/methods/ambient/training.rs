//! A whole training on images with and without noise.

#[cfg(feature = "report")]
use super::TrainedOn;
use super::{AmbientObjective, AmbientSettings};
use crate::data::DataSet;
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::evaluate::Comparison;
use crate::figures::significant;
use crate::methods::judge::Judge;
use crate::methods::noisy::{NoiseLevels, NoisyData};
#[cfg(feature = "report")]
use crate::methods::pages;
use crate::methods::sure::{Sure, unsure_sigma};
use crate::train::{End, Ended, MethodSettings, Observer, Prepared, RunDir, RunOptions, Stages, With};

/// Images by which the level of the noise is told, at most.
const LOOKED_AT: usize = 1024;

/// A training, ready to start.
#[derive(Debug)]
pub struct AmbientTraining {
    settings: With<AmbientSettings>,
    set: DataSet,
    /// What was read, for the report.
    #[cfg_attr(not(feature = "report"), allow(dead_code))]
    accounts: Vec<String>,
    /// The levels of the noise, for people.
    noise: String,
    objective: AmbientObjective,
    judge: Option<Judge>,
    /// Whether there are no images to measure against but the noisy ones.
    real_are_noisy: bool,
}

/// What is said of figures where the real images are noisy.
const AGAINST_NOISY: &str = "measured against the noisy images, as there are no clean ones: a model that leaves the \
                             noise out is as far from them as the noise is large, so these figures only compare runs";

impl AmbientTraining {
    /// Checks everything that can be checked. Errors without the images that are asked for, on settings that make no
    /// sense, on a noise level that the model does not know, and where [`Prepared::new`] does.
    pub fn new(settings: &With<AmbientSettings>, data: &NoisyData) -> Result<Self> {
        settings.check()?;
        data.check(&settings.run)?;
        let mut settings = settings.clone();
        let (set, objective) = settings.method.task(&settings.run, data)?;
        settings.run = settings.run.completed(&set.train)?;
        let mut prepared = Prepared::new(&settings.run, &set)?.with_objective(objective.clone());
        let (low, high) = prepared.model().denoiser().sigma_range();
        if let Some(sigma) = data.levels.range().into_iter().find(|sigma| !(low..=high).contains(sigma)) {
            let what = format!("noisy.sigma = {sigma}: the model knows levels from {low} to {high}");
            return Err(Error::Config(what));
        }
        prepared.rehearse()?;
        drop(prepared);
        let real = data.test.as_ref().or(data.clean.as_ref()).unwrap_or(&set.train);
        let judge = Judge::new(&settings.method.judge, real, settings.run.sampling.sampler())?;
        let (accounts, noise) = (data.accounts.clone(), data.levels.said(data.unit()));
        let real_are_noisy = judge.is_some() && data.test.is_none() && data.clean.is_none();
        Ok(AmbientTraining { settings, set, accounts, noise, objective, judge, real_are_noisy })
    }

    /// The training, or what is left of it, and the measurement. Errors where training and sampling do.
    pub fn run(
        &self,
        place: &RunDir,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<(Ended, Option<Comparison>)> {
        let (mut stages, mut measured) = (Stages::new(place, options, observer), None);
        let result = self.stages(&mut stages, &mut measured);
        let ended = stages.end(result)?;
        if ended.end == End::Stopped && stages.latest().is_none() {
            return Err(Error::Stopped); // before there was anything new to show
        }
        if place.is_writer() {
            self.report(place, ended.end, measured.as_ref())?;
        }
        Ok((ended, measured))
    }

    /// Trains on all images, each by its own noise level, then measures.
    fn stages(&self, stages: &mut Stages, measured: &mut Option<Comparison>) -> Result<()> {
        let prepared = Prepared::new(&self.settings.run, &self.set)?
            .with_objective(self.objective.clone())
            .with_document(self.settings.document()?, AmbientSettings::FREE)
            .with_branches(AmbientSettings::BRANCHES);
        let model = stages.train_here(prepared)?;
        let ranks = stages.place().ranks().clone();
        ranks.on_first(|| {
            if let AmbientObjective::Sure(sure) = &self.objective {
                self.say_level(sure, &model, stages)?;
            }
            if let Some(judge) = &self.judge {
                if self.real_are_noisy {
                    stages.note(AGAINST_NOISY);
                }
                stages.note(&format!("drawing {} samples to measure", self.settings.method.judge.images));
                *measured = Some(judge.model(&model)?);
                stages.place().write_json("metrics.json", measured)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Says the level of the noise that the model has found out, beside the stated one.
    fn say_level(&self, sure: &Sure, model: &Model, stages: &mut Stages) -> Result<()> {
        let noisy = (0..self.set.train.len() as u32).filter(|i| sure.levels[*i as usize] > 0.0);
        let noisy: Vec<u32> = noisy.take(LOOKED_AT).collect();
        if noisy.is_empty() {
            return Ok(());
        }
        let levels = NoiseLevels::Each(sure.levels.to_vec());
        let found = unsure_sigma(model, &self.set.train, &noisy, &levels)? * self.set.train.units().of_noise();
        stages.note(&format!(
            "by UNSURE, as far as the model has learned, the noise has sigma {} or less; it is said to have {}",
            significant(found, 3),
            self.noise
        ));
        Ok(())
    }

    /// Writes no page: the build is without the feature `report`.
    #[cfg(not(feature = "report"))]
    fn report(&self, _: &RunDir, _: End, _: Option<&Comparison>) -> Result<()> {
        Ok(())
    }

    #[cfg(feature = "report")]
    fn report(&self, place: &RunDir, end: End, measured: Option<&Comparison>) -> Result<()> {
        let ambient = &self.settings.method.ambient;
        let about = format!(
            "{} {} images ({}) by the loss \"{}\", noise of standard deviation {}.",
            pages::state(end),
            self.set.train.len(),
            ambient.images,
            ambient.loss,
            self.noise
        );
        let about = if self.real_are_noisy { format!("{about} It is {AGAINST_NOISY}.") } else { about };
        let rows: Vec<_> = measured.iter().map(|c| ("generated".to_string(), *c)).collect();
        let from = match ambient.images {
            TrainedOn::Both => "images with and without noise",
            TrainedOn::Noisy => "noisy images",
            TrainedOn::Clean => "clean images",
            TrainedOn::AllClean => "images before their noise",
        };
        let title = format!("Learning {} from {from}", self.set.name);
        let document = self.settings.document()?;
        let page = pages::single(&title, &about, &self.accounts.join("\n"), place, &rows, &document)?;
        place.write("report.html", page.as_bytes()).map(|_| ())
    }
}
