//! The settings of fine-tuning for coarse solvers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ContrastiveChain, Coupling, Negatives, Similarity, Width};
use crate::diffusion::{Model, Sampler, solvers};
use crate::error::{Error, Result};
use crate::evaluate::ImageClassifier;
use crate::methods::Cdm;
use crate::methods::ambient::one_of;
use crate::methods::judge::JudgeSection;
use crate::tensor::Device;
use crate::train::config::About;
use crate::train::{RunConfig, Sections, at_fault};

/// `[csc]`: which fine-tuning, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CscSection {
    /// `csc`, `cdm` or `plain`.
    pub method: String,
    /// The model that is fine-tuned.
    pub model: String,
    /// The deployed solver.
    pub solver: String,
    /// Steps of the deployed grid.
    pub steps: usize,
    /// Steps of a chain.
    pub chain: usize,
    /// Whether chains may end at 0.
    pub to_zero: bool,
    /// lambda of the contrastive loss.
    pub weight: f64,
    /// T.
    pub temperature: f64,
    /// Last calls that carry gradients.
    pub gradients: usize,
    /// `pixels`, or the file of a classifier.
    pub similarity: String,
    /// `fitted` or `level`.
    pub width: String,
    /// `data`, `chain` or `both`.
    pub negatives: String,
    /// `shared` or `forward`.
    pub coupling: String,
    /// CDM: lambda of the consistency.
    pub cdm_weight: f64,
    /// CDM: most that a continuation goes down by.
    pub cdm_range: f64,
    /// CDM: Euler steps of a continuation.
    pub cdm_steps: usize,
    /// Steps that the model is sampled with before and after.
    pub measured_steps: Vec<usize>,
}

/// The sections of `veridical csc`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CscSettings {
    /// The fine-tuning.
    pub csc: CscSection,
    /// What it is judged by.
    pub judge: JudgeSection,
}

impl Default for CscSection {
    fn default() -> Self {
        CscSection {
            method: "csc".into(),
            model: String::new(),
            solver: "heun".into(),
            steps: 13,
            chain: 2,
            to_zero: true,
            weight: 1.0,
            temperature: 1.0,
            gradients: 1,
            similarity: "pixels".into(),
            width: "fitted".into(),
            negatives: "data".into(),
            coupling: "shared".into(),
            cdm_weight: 10.0,
            cdm_range: 0.05,
            cdm_steps: 5,
            measured_steps: vec![3, 5, 7, 9, 13, 18],
        }
    }
}

impl Sections for CscSettings {
    const ABOUT: &'static [About] = &[
        (
            "csc",
            "Fine-tuning a trained model for the coarse solver that it is sampled with.",
            &[
                (
                    "method",
                    "csc (contrastive sampling chains), cdm (consistency), or plain (the loss alone, to compare with).",
                ),
                ("model", "The trained model; its architecture takes the place of [model]."),
                ("solver", "The deployed solver, by its name in veridical sample."),
                ("steps", "Steps of the deployed grid, over the range of [sampling]."),
                ("chain", "csc: steps of a chain."),
                ("to_zero", "csc: whether chains may end at noise level 0."),
                (
                    "weight",
                    "csc: lambda of the contrastive loss (some nats, beside a denoising loss summed over pixels).",
                ),
                ("temperature", "csc: T, which the kernel's width is multiplied by."),
                ("gradients", "csc: last denoiser calls of the chain through which gradients flow."),
                ("similarity", "csc: pixels, or the file of a classifier whose features are compared."),
                ("width", "csc: fitted (mean squared distance of the positives) or level (the noise level's square)."),
                ("negatives", "csc: data (true states of other images), chain (its states), or both."),
                ("coupling", "csc: shared (one noise for both levels) or forward (the forward process)."),
                (
                    "cdm_weight",
                    "cdm: lambda of the consistency; 10 in its authors' train.py, 2 in their loss class alone.",
                ),
                ("cdm_range", "cdm: most that a continuation's noise level goes down by."),
                (
                    "cdm_steps",
                    "cdm: Euler steps of a continuation by the reverse SDE; 5 join the 6 levels of its authors' code.",
                ),
                (
                    "measured_steps",
                    "Steps that the model is sampled with before and after; Heun makes 2 n - 1 calls in n.",
                ),
            ],
        ),
        JudgeSection::ABOUT,
    ];
    const FREE: &'static [&'static str] = &["judge.", "csc.measured_steps", "csc.model"];

    fn check(&self, run: &RunConfig) -> Result<()> {
        let csc = &self.csc;
        self.judge.check()?;
        one_of("csc.method", &csc.method, &["csc", "cdm", "plain"])?;
        one_of("csc.width", &csc.width, &["fitted", "level"])?;
        one_of("csc.negatives", &csc.negatives, &["data", "chain", "both"])?;
        one_of("csc.coupling", &csc.coupling, &["shared", "forward"])?;
        for (name, value, most) in [
            ("steps", csc.steps, 10_000),
            ("chain", csc.chain, csc.steps),
            ("gradients", csc.gradients, 1000),
            ("cdm_steps", csc.cdm_steps, 254),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Error::Config(format!("csc.{name} = {value}, expected 1 to {most}")));
            }
        }
        for (name, value, sound) in [
            ("weight", csc.weight, csc.weight >= 0.0),
            ("cdm_weight", csc.cdm_weight, csc.cdm_weight >= 0.0),
            ("temperature", csc.temperature, csc.temperature > 0.0),
            ("cdm_range", csc.cdm_range, csc.cdm_range > 0.0),
        ] {
            if !sound || !value.is_finite() {
                return Err(Error::Config(format!("csc.{name} = {value} is out of range")));
            }
        }
        if let Some(bad) = csc.measured_steps.iter().find(|steps| !(1..=10_000).contains(*steps)) {
            return Err(Error::Config(format!("csc.measured_steps names {bad}, expected 1 to 10000")));
        }
        if csc.method == "cdm" && csc.weight != CscSection::default().weight {
            let what = format!("csc.weight = {} is of method csc; the lambda of cdm is csc.cdm_weight", csc.weight);
            return Err(Error::Config(what));
        }
        if csc.method == "csc" && run.train.smallest_part() < 2 {
            return Err(Error::Config(format!(
                "csc compares images of a batch: train.batch = {} in parts of train.micro_batch = {} leaves a part of one",
                run.train.batch, run.train.micro_batch
            )));
        }
        self.sampler(run, csc.steps).map(|_| ())
    }
}

impl CscSettings {
    /// The deployed sampler, with `steps` steps.
    pub fn sampler(&self, run: &RunConfig, steps: usize) -> Result<Sampler> {
        let solver = solvers::named(&self.csc.solver, &Default::default())?;
        Ok(Sampler { solver, steps, ..run.sampling.sampler() })
    }

    /// The contrastive objective for a model. Errors if the chain does not fit the grid, and on a classifier that
    /// cannot be read.
    pub fn contrastive(&self, run: &RunConfig, model: &Model) -> Result<ContrastiveChain> {
        let csc = &self.csc;
        let sampler = self.sampler(run, csc.steps)?;
        let similarity = match csc.similarity.as_str() {
            "pixels" => Similarity::Pixels,
            file => Similarity::Features(Arc::new(ImageClassifier::load(file, &Device::named(&run.train.device)?)?)),
        };
        let objective = ContrastiveChain {
            loss: run.loss.loss()?,
            sigmas: sampler.sigmas(model, None).map_err(|e| {
                let (steps, rho) = (csc.steps, run.sampling.rho);
                at_fault(&format!("no grid of csc.steps = {steps} with sampling.rho = {rho:?}"), e)
            })?,
            solver: sampler.solver,
            length: csc.chain,
            to_zero: csc.to_zero,
            weight: csc.weight,
            temperature: csc.temperature,
            gradients: csc.gradients,
            similarity,
            width: if csc.width == "level" { Width::Level } else { Width::Fitted },
            negatives: match csc.negatives.as_str() {
                "chain" => Negatives::Chain,
                "both" => Negatives::Both,
                _ => Negatives::Data,
            },
            coupling: if csc.coupling == "forward" { Coupling::Forward } else { Coupling::Shared },
        };
        objective.check()?;
        Ok(objective)
    }

    /// CDM's objective.
    pub fn cdm(&self, run: &RunConfig) -> Result<Cdm> {
        let CscSection { cdm_weight: weight, cdm_range: range, cdm_steps: steps, .. } = self.csc;
        Ok(Cdm { loss: run.loss.loss()?, weight, range, steps })
    }
}
