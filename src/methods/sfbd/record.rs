//! `round.json`: that a stage is over, what it measured, and what a later session knows its files by.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Sfbd;
use super::round::{self, Round};
use super::settings::RoundOptimizer;
use crate::checksum;
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::methods::judge::Judge;
use crate::tensor::Device;
use crate::train::{CHECKPOINTS, MODEL, RunDir, Stages, checkpoint};

const RECORD: &str = "round.json";
/// A record is a kilobyte or two.
const MAX_BYTES: u64 = 1 << 20;
/// The field that holds the [`Trace`].
const TRACE: &str = "trace";

/// What a finished stage was made from, with what, and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trace {
    /// [`Weights::fingerprint`](crate::nn::Weights::fingerprint) of its model.
    pub weights: String,
    /// Fingerprint of the images that the whole run learns from.
    pub data: String,
    /// [`checkpoint::arithmetic`].
    pub arithmetic: String,
    /// [`Judge::identity`] of what measured it; `None` where nothing did, and in records of earlier versions.
    #[serde(default)]
    pub judge: Option<String>,
}

impl Trace {
    pub fn of(model: &Model, data: &str, judge: Option<&Judge>) -> Result<Self> {
        let arithmetic = checkpoint::arithmetic(&model.weights.device());
        let judge = judge.map(|judge| judge.identity().into());
        Ok(Trace { weights: model.weights.fingerprint()?, data: data.into(), arithmetic, judge })
    }
}

/// A stage that is over.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// What it measured.
    pub round: Round,
    /// How its files are known; `None` in records of earlier versions, which had no checksum either.
    pub trace: Option<Trace>,
}

impl Record {
    /// What the stage in `directory` wrote when it was over; `None` if it is not. Errors on a record that is not as it
    /// was written.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(RECORD);
        let (mut value, sealed) = match checksum::read_json(&path, MAX_BYTES, "record of a stage") {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let bad = |what: &dyn std::fmt::Display| Error::format(&path, what.to_string());
        let trace = value.as_object_mut().and_then(|fields| fields.remove(TRACE));
        if trace.is_some() != sealed {
            return Err(bad(&"its checksum is not there: torn or changed"));
        }
        let trace = trace.map(serde_json::from_value).transpose().map_err(|e| bad(&e))?;
        Ok(Some(Record { round: serde_json::from_value(value).map_err(|e| bad(&e))?, trace }))
    }

    /// Says that the stage in `directory` is over.
    pub fn write(round: &Round, trace: &Trace, directory: &Path) -> Result<()> {
        let json = |e: serde_json::Error| Error::argument("record", e.to_string());
        let mut value = serde_json::to_value(round).map_err(json)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert(TRACE.into(), serde_json::to_value(trace).map_err(json)?);
        }
        std::fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
        checksum::write_json(&directory.join(RECORD), &value)
    }

    /// The model in the file of the stage. Errors if it is not the one that the stage came to.
    pub fn model(&self, directory: &Path, device: &Device) -> Result<Model> {
        let path = directory.join(MODEL);
        let model = Model::load(&path, device)?;
        match &self.trace {
            Some(trace) if trace.weights != model.weights.fingerprint()? => {
                Err(Error::format(path, format!("another model than {RECORD} says")))
            }
            _ => Ok(model),
        }
    }

    /// Errors unless the stage learned from these images.
    pub fn check_data(&self, place: &RunDir, data: &str) -> Result<()> {
        match &self.trace {
            Some(trace) if trace.data != data => {
                let (stage, there) = (round::directory(place, self.round.round), &trace.data);
                Err(Error::Config(format!("{}: is of other data: {there} there, {data} here", stage.display())))
            }
            _ => Ok(()),
        }
    }
}

impl Round {
    /// What the stage wrote when it was over; `None` if it is not. Errors on a record that is not as it was written.
    pub fn read(place: &RunDir, k: u32) -> Result<Option<Self>> {
        Ok(Record::read(&round::directory(place, k))?.map(|record| record.round))
    }
}

impl Sfbd<'_> {
    /// The model of a stage that an earlier session finished, and what it measured. A stage whose files are not what
    /// they were is done again from its last checkpoint, which comes to the same bits, with a note. Errors where the
    /// files say nothing of the stage: without memory, and where they cannot be read.
    pub(super) fn finished(&self, k: u32, device: &Device, stages: &mut Stages) -> Result<Option<(Model, Record)>> {
        let place = stages.place();
        let directory = round::directory(place, k);
        if let (0, Some(given)) = (k, &self.given) {
            return self.of_given(given, stages);
        }
        let sound = || -> Result<Option<(Model, Record)>> {
            let Some(record) = Record::read(&directory)? else { return Ok(None) };
            // The next stage starts from the optimiser that this one ended with, unless it is over, too.
            let next = Record::read(&round::directory(place, k + 1));
            if self.settings.method.sfbd.optimizer == RoundOptimizer::Kept && !matches!(next, Ok(Some(_))) {
                last_checkpoint(&directory, self.stage_settings(k)?.train.steps())?;
            }
            Ok(Some((record.model(&directory, device)?, record)))
        };
        match sound() {
            Ok(None) => Ok(None),
            Ok(Some((model, record))) => {
                record.check_data(place, &self.identity)?;
                if record.trace.is_none() {
                    stages.note(&format!(
                        "stage {k}: an earlier version wrote its record without a checksum: taken as it is"
                    ));
                }
                if place.is_writer() {
                    round::tidy(&directory)?; // which the session that finished it may not have come to
                }
                Ok(Some((model, record)))
            }
            Err(problem) => match &problem {
                Error::Io { source, .. } if source.kind() != ErrorKind::NotFound => Err(problem),
                Error::Io { .. } | Error::Format { .. } => {
                    stages.note(&format!("stage {k} is done again: {problem}"));
                    Ok(None)
                }
                _ => Err(problem),
            },
        }
    }

    /// The record of a model that was given in place of a pre-trained one, if an earlier session measured it. Errors if
    /// that was given another.
    fn of_given(&self, given: &Model, stages: &mut Stages) -> Result<Option<(Model, Record)>> {
        let directory = round::directory(stages.place(), 0);
        let known = Record::read(&directory).or_else(|problem| match problem {
            Error::Format { .. } => {
                stages.note(&format!("the model is measured again: {problem}"));
                Ok(None)
            }
            other => Err(other),
        })?;
        let Some(known) = known else { return Ok(None) };
        known.check_data(stages.place(), &self.identity)?;
        let weights = given.weights.fingerprint()?;
        if known.trace.as_ref().is_some_and(|known| known.weights != weights) {
            let path = &self.settings.method.sfbd.model;
            return Err(Error::Config(format!("{path}: another model than the one that this run started from")));
        }
        Ok(Some((given.clone(), known)))
    }

    /// What a finished stage measured, by the judge that measures the later ones: figures of two judges are not to
    /// stand in one table. What it trained on is gone by now, so the distances of that are left out where the judge is
    /// another.
    pub(super) fn by_this_judge(
        &self,
        model: &Model,
        Record { round, trace }: Record,
        stages: &mut Stages,
    ) -> Result<Round> {
        let Some(judge) = &self.judge else { return Ok(round) };
        let by = trace.as_ref().and_then(|trace| trace.judge.as_deref());
        if by == Some(judge.identity()) {
            return Ok(round);
        }
        let why = match (by, &round.generated) {
            (Some(_), _) => "with another judge",
            (None, Some(_)) => "by an earlier version, which did not record its judge",
            (None, None) => "without a judge",
        };
        stages.check_here()?;
        stages.note(&format!("stage {} was made {why}: measured again", round.round));
        let round = Round { generated: Some(judge.model(model)?), denoised: None, ..round };
        let trace = match trace {
            Some(trace) => Trace { judge: Some(judge.identity().into()), ..trace },
            None => Trace::of(model, &self.identity, Some(judge))?,
        };
        Record::write(&round, &trace, &round::directory(stages.place(), round.round))?;
        Ok(round)
    }

    /// Says so if stage `k` was computed with something else than what computes `model`'s next stage.
    pub(super) fn say_other_arithmetic(&self, k: u32, model: &Model, stages: &mut Stages) -> Result<()> {
        let there = Record::read(&round::directory(stages.place(), k))?.and_then(|record| record.trace);
        let there = there.as_ref().map(|trace| trace.arithmetic.as_str());
        checkpoint::other_arithmetic(there, &model.weights.device()).iter().for_each(|text| stages.note(text));
        Ok(())
    }
}

/// Errors unless the newest checkpoint of the stage in `directory` is whole and of step `steps`, its last: what a stage
/// with a kept optimiser goes on from.
pub(super) fn last_checkpoint(directory: &Path, steps: u64) -> Result<checkpoint::Checkpoint> {
    let checkpoints = directory.join(CHECKPOINTS);
    let (newest, problems) = checkpoint::latest(&checkpoints)?;
    newest.filter(|newest| newest.state.step == steps).ok_or_else(|| {
        let why: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let what = format!("there is no whole checkpoint of step {steps} to keep the optimiser of; {}", why.join("; "));
        Error::format(checkpoints, what.trim_end_matches("; "))
    })
}
