//! The whole of a fine-tuning: measure, train, measure again.

use serde::{Deserialize, Serialize};

use super::CscSettings;
use crate::data::DataSet;
use crate::diffusion::Model;
use crate::error::{Error, Result};
use crate::methods::judge::Judge;
use crate::methods::{fine_tune, pages};
use crate::train::evaluate::Comparison;
use crate::train::{End, Observer, Outcome, Prepared, RunDir, RunOptions, With};

/// How far a model is from the data when it is sampled with so many steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Steps of the deployed solver.
    pub steps: usize,
    /// Whether it was before the fine-tuning or after.
    pub when: String,
    /// The distances.
    pub comparison: Comparison,
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

impl<'a> FineTuning<'a> {
    /// Loads the model and checks everything that can be checked. Errors without a model, and where [`fine_tune::pretrained`] does.
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
        fine_tuning.prepared()?;
        Ok(fine_tuning)
    }

    /// The model as it is before.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn prepared(&self) -> Result<Prepared<'a>> {
        let With { run, method } = &self.settings;
        let prepared = Prepared::new(run, self.data)?.from_weights(&self.model.weights)?;
        let prepared = prepared.with_document(self.settings.document()?, <CscSettings as crate::train::Sections>::FREE);
        Ok(match method.csc.method.as_str() {
            "csc" => prepared.with_objective(method.contrastive(run, &self.model)?),
            "cdm" => prepared.with_objective(method.cdm(run)?),
            _ => prepared,
        })
    }

    /// Measures the model, trains, and measures again, with a report. What an earlier session measured is not measured again.
    pub fn run(
        &self,
        place: &RunDir,
        options: RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<(Outcome, Vec<Measured>)> {
        let path = place.path().join(METRICS);
        let mut measured: Vec<Measured> = match options.resume {
            true => pages::read_json(&path)?.unwrap_or_default(),
            false => Vec::new(),
        };
        self.measure("before", &self.model, &mut measured, place, observer)?;
        let outcome = self.prepared()?.run(place, options, observer)?;
        if outcome.end == End::Finished {
            self.measure("after", &outcome.model, &mut measured, place, observer)?;
        }
        let rows: Vec<(String, &Comparison)> =
            measured.iter().map(|m| (format!("{}, {} steps", m.when, m.steps), &m.comparison)).collect();
        let about = format!(
            "{} {} of {} for {} images, deployed with {} steps of {}.",
            pages::state(outcome.end),
            self.settings.method.csc.method.to_uppercase(),
            self.settings.method.csc.model,
            self.settings.run.train.images,
            self.settings.method.csc.steps,
            self.settings.method.csc.solver
        );
        let title = format!("Fine-tuned for a coarse solver: {}", self.data.name);
        let page = pages::single(&title, &about, &self.data.account(), place, &rows, &self.settings.document()?)?;
        place.write("report.html", page.as_bytes())?;
        Ok((outcome, measured))
    }

    fn measure(
        &self,
        when: &str,
        model: &Model,
        measured: &mut Vec<Measured>,
        place: &RunDir,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let With { run, method } = &self.settings;
        let real = self.data.test.as_ref().unwrap_or(&self.data.train);
        for &steps in &method.csc.measured_steps {
            if measured.iter().any(|m| m.steps == steps && m.when == when) || observer.stop() {
                continue;
            }
            let Some(judge) = Judge::new(&method.judge, real, method.sampler(run, steps)?)? else { return Ok(()) };
            let comparison = judge.model(model)?;
            observer.note(&format!(
                "{when}, {steps} steps: Fréchet distance {:.4}, KID {:.5}",
                comparison.frechet_distance, comparison.kid
            ));
            measured.push(Measured { steps, when: when.into(), comparison });
            place.write_json(METRICS, measured)?;
        }
        Ok(())
    }
}
