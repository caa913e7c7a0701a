//! The whole of a fine-tuning: measure, train, measure again.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::{CscSettings, FineTuningKind};
use crate::checksum;
use crate::data::{DataSet, Images};
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::evaluate::Comparison;
use crate::methods::fine_tune;
use crate::methods::judge::Judge;
#[cfg(feature = "report")]
use crate::methods::pages;
use crate::train::{End, Ended, MethodSettings, Observer, Prepared, RunDir, RunOptions, Stages, With, at_fault};

/// How far a model is from the data when it is sampled with so many steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Steps of the deployed solver.
    pub steps: usize,
    /// Whether it was before the fine-tuning or after.
    pub when: When,
    /// The distances.
    pub comparison: Comparison,
}

/// A side of a fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// The model that is given.
    Before,
    /// What it has become.
    After,
}

impl Display for When {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.pad(match self {
            When::Before => "before",
            When::After => "after",
        })
    }
}

/// A fine-tuning, ready to start.
#[derive(Debug)]
pub struct FineTuning<'a> {
    settings: With<CscSettings>,
    data: &'a DataSet,
    model: Model,
}

/// The measurements of a run.
const METRICS: &str = "metrics.json";
/// The same, with a checksum and what they are of: for a session that goes on.
const MEASURED: &str = "measured.json";
/// A measurement is half a kilobyte.
const MAX_BYTES: u64 = 1 << 22;

/// `measured.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// What was measured by what: the model's weights, the data, and the judge's settings.
    of: String,
    /// The weights of the model that was measured afterwards: a run that goes on further comes to another.
    after: Option<String>,
    measured: Vec<Measured>,
}

impl<'a> FineTuning<'a> {
    /// Loads the model, checks everything that can be checked and [rehearses](Prepared::rehearse) the run. Errors
    /// without a model, and where [`fine_tune::pretrained`] does.
    pub fn new(settings: &With<CscSettings>, data: &'a DataSet) -> Result<Self> {
        settings.check()?;
        let mut settings = settings.clone();
        if settings.method.csc.model.is_empty() {
            return Err(Error::Config(
                "no model to fine-tune: give the file of a trained one with --model FILE".into(),
            ));
        }
        let (model, run) = fine_tune::pretrained(&settings.method.csc.model, &settings.run, &data.train)?;
        if model.denoiser().label_dim() > 0 {
            model.check_classes(&data.class_names)?;
        }
        settings.run = run;
        let fine_tuning = FineTuning { settings, data, model };
        fine_tuning.rehearse()?;
        Ok(fine_tuning)
    }

    /// The model as it is before.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What [`run`](Self::run) does, in small.
    fn rehearse(&self) -> Result<()> {
        let With { run, method } = &self.settings;
        self.prepared()?.rehearse()?;
        for &steps in &method.csc.measured_steps {
            method.sampler(run, steps)?.rehearse(&self.model, None).map_err(|e| {
                let solver = &method.csc.solver;
                at_fault(&format!("csc.measured_steps names {steps}, in which {solver} draws no samples"), e)
            })?;
        }
        Judge::new(&method.judge, self.real(), method.sampler(run, method.csc.steps)?).map(drop)
    }

    /// What samples are compared with.
    fn real(&self) -> &'a Images {
        self.data.test.as_ref().unwrap_or(&self.data.train)
    }

    fn prepared(&self) -> Result<Prepared<'a>> {
        let With { run, method } = &self.settings;
        let prepared = Prepared::new(run, self.data)?.from_weights(&self.model.weights)?;
        let prepared = prepared.with_document(self.settings.document()?, CscSettings::FREE);
        Ok(match method.csc.method {
            FineTuningKind::Csc => prepared.with_objective(method.contrastive(run, &self.model)?),
            FineTuningKind::Cdm => prepared.with_objective(method.cdm(run)?),
            FineTuningKind::Plain => prepared,
        })
    }

    /// Measures the model, trains, and measures again, with a report. What an earlier session measured is not measured
    /// again.
    pub fn run(
        &self,
        place: &RunDir,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<(Ended, Vec<Measured>)> {
        // Before what is measured first, so that there is a run to go on with from there.
        self.settings.begin(place, options.resume)?;
        let mut kept = Kept { of: self.identity()?, after: None, measured: Vec::new() };
        if options.resume && place.is_writer() {
            match self.kept(place, &kept.of) {
                Ok(known) => kept = known.unwrap_or(kept),
                Err(problem) => observer.note(&format!("measured again: {problem}")),
            }
        }
        let mut stages = Stages::new(place, options, observer);
        let result = self.stages(&mut stages, &mut kept);
        let ended = stages.end(result)?;
        if ended.end == End::Stopped && stages.latest().is_none() {
            return Err(Error::Stopped); // before there was anything new to show
        }
        if place.is_writer() {
            self.report(place, ended.end, &kept.measured)?;
        }
        Ok((ended, kept.measured))
    }

    /// Measures, trains, measures.
    fn stages(&self, stages: &mut Stages, kept: &mut Kept) -> Result<()> {
        self.measure(When::Before, &self.model, kept, stages)?;
        let trained = stages.train_here(self.prepared()?);
        // Also where it ended early: the figures of an earlier session are of another model then.
        if let Some(model) = stages.latest() {
            let after = Some(model.weights.fingerprint()?);
            if kept.after != after {
                kept.measured.retain(|m| m.when != When::After);
                kept.after = after;
            }
        }
        self.measure(When::After, &trained?, kept, stages)
    }

    /// Writes no page: the build is without the feature `report`.
    #[cfg(not(feature = "report"))]
    fn report(&self, _: &RunDir, _: End, _: &[Measured]) -> Result<()> {
        Ok(())
    }

    #[cfg(feature = "report")]
    fn report(&self, place: &RunDir, end: End, measured: &[Measured]) -> Result<()> {
        let rows: Vec<(String, &Comparison)> =
            measured.iter().map(|m| (format!("{}, {} steps", m.when, m.steps), &m.comparison)).collect();
        let about = format!(
            "{} {} of {} for {} images, deployed with {} steps of {}.",
            pages::state(end),
            self.settings.method.csc.method.name().to_uppercase(),
            self.settings.method.csc.model,
            self.settings.run.train.images,
            self.settings.method.csc.steps,
            self.settings.method.csc.solver
        );
        let title = format!("Fine-tuned for a coarse solver: {}", self.data.name);
        let page = pages::single(&title, &about, &self.data.account(), place, &rows, &self.settings.document()?)?;
        place.write("report.html", page.as_bytes()).map(|_| ())
    }

    /// What the measurements of a run hang on, in words that differ where one of these does.
    fn identity(&self) -> Result<String> {
        let data = self.data.test.as_ref().unwrap_or(&self.data.train).fingerprint();
        let With { run, method } = &self.settings;
        let judge = Judge::new(&method.judge, self.real(), method.sampler(run, method.csc.steps)?)?;
        let judge = judge.as_ref().map_or("nothing", |judge| judge.identity());
        Ok(format!("{} {data} {judge} {:?}", self.model.weights.fingerprint()?, run.sampling))
    }

    /// What an earlier session measured, if it did. Errors if the file is not as it was written, or of something else.
    fn kept(&self, place: &RunDir, of: &str) -> Result<Option<Kept>> {
        let path = place.path().join(MEASURED);
        if !path.exists() {
            return Ok(None);
        }
        let (value, sealed) = checksum::read_json(&path, MAX_BYTES, "list of measurements")?;
        let kept: Kept = serde_json::from_value(value).map_err(|e| Error::format(&path, e.to_string()))?;
        match (sealed, kept.of == of) {
            (false, _) => Err(Error::format(path, "its checksum is not there: torn or changed")),
            (true, false) => Err(Error::format(path, "of another model, other data or another judge")),
            (true, true) => Ok(Some(kept)),
        }
    }

    /// The first rank measures; the others wait for it.
    fn measure(&self, when: When, model: &Model, kept: &mut Kept, stages: &mut Stages) -> Result<()> {
        let ranks = stages.place().ranks().clone();
        ranks.on_first(|| self.measure_here(when, model, kept, stages)).map(|_| ())
    }

    fn measure_here(&self, when: When, model: &Model, kept: &mut Kept, stages: &mut Stages) -> Result<()> {
        let With { run, method } = &self.settings;
        for &steps in &method.csc.measured_steps {
            if kept.measured.iter().any(|m| m.steps == steps && m.when == when) {
                continue;
            }
            if stages.observer().stop() {
                return Err(Error::Stopped);
            }
            let Some(judge) = Judge::new(&method.judge, self.real(), method.sampler(run, steps)?)? else {
                return Ok(());
            };
            stages.note(&format!("drawing {} samples in {steps} steps to measure", method.judge.images));
            let comparison = judge.model(model)?;
            stages.note(&format!("{when}, {steps} steps: {}", comparison.brief()));
            kept.measured.push(Measured { steps, when, comparison });
            stages.place().write_json(METRICS, &kept.measured)?;
            checksum::write_json(&stages.place().path().join(MEASURED), kept)?;
        }
        Ok(())
    }
}
