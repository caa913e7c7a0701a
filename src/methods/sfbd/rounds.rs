//! The stages of SFBD as a run has them: each once, found again by a later session, measured and recorded.

#[cfg(feature = "report")]
use super::page;
use super::record::{Record, Trace};
use super::round::{self, Denoised, Round};
use super::{Sfbd, SfbdOutcome};
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::stop;
use crate::tensor::Device;
use crate::train::{End, MODEL, Stages};

/// What a stage came to.
pub(super) struct Stage {
    pub model: Model,
    /// What it was trained on.
    pub denoised: Option<Denoised>,
}

/// The stages so far.
pub(super) struct Rounds<'a, 'd> {
    sfbd: &'a Sfbd<'d>,
    pub stages: Stages<'a>,
    done: Vec<Round>,
    /// Whether it ended while stages of an earlier session were measured again: what that wrote then stands.
    measuring_again: bool,
}

impl<'a, 'd> Rounds<'a, 'd> {
    pub fn new(sfbd: &'a Sfbd<'d>, stages: Stages<'a>) -> Self {
        Rounds { sfbd, stages, done: Vec::new(), measuring_again: false }
    }

    /// The model of stage `k`: what an earlier session made of it, or what `make` makes now. Measures and records it.
    pub fn once(&mut self, k: u32, make: impl FnOnce(&mut Stages<'a>) -> Result<Stage>) -> Result<Model> {
        let device = Device::named(&self.sfbd.settings.run.train.device)?;
        let directory = round::directory(self.stages.place(), k);
        // Not left half-way: what an earlier session came to stays what the run's files say.
        let ranks = self.stages.place().ranks().clone();
        let finished =
            ranks.first_then_others(|| stop::shielded(|| self.sfbd.finished(k, &device, &mut self.stages)))?;
        if let Some((model, record)) = finished {
            let again = ranks.on_first(|| self.sfbd.by_this_judge(&model, record, &mut self.stages));
            let round = match again {
                Err(early @ (Error::Stopped | Error::OutOfTime)) => {
                    self.measuring_again = true;
                    return Err(early);
                }
                round => round?,
            };
            self.stages.came_to(&model);
            self.done.extend(round);
            return Ok(model);
        }
        let Stage { model, denoised } = make(&mut self.stages)?;
        self.stages.came_to(&model);
        ranks.on_first(|| {
            if self.sfbd.judge().is_some() {
                let count = self.sfbd.settings.method.judge.images;
                self.stages.note(&format!("drawing {count} samples to measure"));
            }
            let round = self.measured(k, &model, denoised.as_ref())?;
            Record::write(&round, &Trace::of(&model, &self.sfbd.identity, self.sfbd.judge())?, &directory)?;
            round::tidy(&directory)?;
            self.say(&round);
            self.done.push(round);
            if k > 0 {
                self.stages.place().write_json("metrics.json", &self.done)?;
                self.report(End::Finished)?;
            }
            Ok(())
        })?;
        Ok(model)
    }

    /// Adds a stage that was made in another way.
    pub fn add(&mut self, round: Round) {
        self.done.push(round);
    }

    fn say(&mut self, round: &Round) {
        if let (Some(generated), Some(judge)) = (&round.generated, self.sfbd.judge()) {
            self.stages.note(&format!("round {}: {} on {}", round.round, generated.brief(), judge.features()));
        }
    }

    /// What a stage's model and the images that it was trained on measure.
    pub fn measured(&self, k: u32, model: &Model, denoised: Option<&Denoised>) -> Result<Round> {
        let Sfbd { data, given, .. } = self.sfbd;
        let judge = self.sfbd.judge();
        let rms_error = match (denoised, &data.originals) {
            (Some(denoised), Some(originals)) => Some(denoised.rms_error(originals)?),
            _ => None,
        };
        let denoised = denoised.map(Denoised::done).transpose()?.filter(|set| set.len() >= 10).zip(judge);
        let pre_trained = k == 0 && given.is_some();
        Ok(Round {
            round: k,
            images: if pre_trained { 0 } else { self.sfbd.stage_settings(k)?.train.images },
            generated: judge.map(|judge| judge.model(model)).transpose()?,
            denoised: denoised.map(|(set, judge)| judge.images(&set)).transpose()?,
            rms_error,
        })
    }

    /// Writes no page: the build is without the feature `report`.
    #[cfg(not(feature = "report"))]
    fn report(&self, _: End) -> Result<()> {
        Ok(())
    }

    #[cfg(feature = "report")]
    fn report(&self, end: End) -> Result<()> {
        let place = self.stages.place();
        let page = page::page(&self.sfbd.settings, self.sfbd.data, place, end, &self.done)?;
        place.write("report.html", page.as_bytes()).map(|_| ())
    }

    /// Writes what there is at the end, if `result` is a way to end a run.
    pub fn end(self, result: Result<()>) -> Result<SfbdOutcome> {
        let end = self.stages.end(result)?.end;
        let (place, model) = (self.stages.place(), self.stages.latest().cloned());
        if self.measuring_again || !place.is_writer() {
            return Ok(SfbdOutcome { end, model, rounds: self.done });
        }
        place.write_json("metrics.json", &self.done)?;
        if let Some(model) = &model {
            stop::shielded(|| model.save(place.path().join(MODEL)))?;
        }
        self.report(end)?;
        Ok(SfbdOutcome { end, model, rounds: self.done })
    }
}
