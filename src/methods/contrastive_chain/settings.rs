//! The settings of fine-tuning for coarse solvers.

use std::sync::Arc;

use super::{ContrastiveChain, Coupling, Negatives, Similarity, Width};
use crate::diffusion::{Model, Sampler, solvers};
use crate::error::{Error, Result};
use crate::evaluate::ImageClassifier;
use crate::methods::Cdm;
use crate::methods::judge::JudgeSection;
use crate::settings::{Above, AtLeast};
use crate::tensor::Device;
use crate::train::{MethodSettings, RunConfig, at_fault};

crate::choice! {
    /// How a model is fine-tuned.
    pub enum FineTuningKind {
        /// Contrastive sampling chains.
        Csc = "csc",
        /// Consistency.
        Cdm = "cdm",
        /// The loss alone, to compare with.
        Plain = "plain",
    }
}

crate::settings! {
    /// Fine-tuning a trained model for the coarse solver that it is sampled with.
    pub struct CscSection {
        /// How.
        method: FineTuningKind = FineTuningKind::Csc;
        /// The trained model; its architecture takes the place of `[model]`.
        model: String = String::new();
        /// The deployed solver, by its name in veridical sample.
        solver: String = "heun".into();
        /// Steps of the deployed grid, over the range of `[sampling]`.
        steps: usize = 13, in 1..=10_000;
        /// csc: steps of a chain.
        chain: usize = 2, in 1..=10_000;
        /// csc: whether chains may end at noise level 0.
        to_zero: bool = true;
        /// csc: lambda of the contrastive loss (some nats, beside a denoising loss summed over pixels).
        weight: f64 = 1.0, in AtLeast(0.0);
        /// csc: T, which the kernel's width is multiplied by.
        temperature: f64 = 1.0, in Above(0.0);
        /// csc: last denoiser calls of the chain through which gradients flow.
        gradients: usize = 1, in 1..=1000;
        /// csc: pixels, or the file of a classifier whose features are compared.
        similarity: String = "pixels".into();
        /// csc: width of the kernel.
        width: Width = Width::Fitted;
        /// csc: what is told from the true state.
        negatives: Negatives = Negatives::Data;
        /// csc: how the start and the true state share their noise.
        coupling: Coupling = Coupling::Shared;
        /// cdm: lambda of the consistency; 10 in its authors' train.py, 2 in their loss class alone.
        cdm_weight: f64 = 10.0, in AtLeast(0.0);
        /// cdm: most that a continuation's noise level goes down by.
        cdm_range: f64 = 0.05, in Above(0.0);
        /// cdm: Euler steps of a continuation by the reverse SDE; 5 join the 6 levels of its authors' code.
        cdm_steps: usize = 5, in 1..=254;
        /// Steps that the model is sampled with before and after; Heun makes 2 n - 1 calls in n.
        measured_steps: Vec<usize> = vec![3, 5, 7, 9, 13, 18], in 1..=10_000;
    }
}

crate::sections! {
    /// The sections of `veridical csc`.
    #[derive(Default)]
    pub struct CscSettings {
        /// The fine-tuning.
        csc: CscSection,
        /// What it is judged by.
        judge: JudgeSection,
    }
}

impl MethodSettings for CscSettings {
    const FREE: &'static [&'static str] = &[
        "judge.",
        "csc.measured_steps",
        "csc.model",
        // They say which images are compared with each other.
        "!train.slots",
        "!train.micro_batch",
    ];

    fn check(&self, run: &RunConfig) -> Result<()> {
        let csc = &self.csc;
        if csc.chain > csc.steps {
            return Err(Error::Config(format!("csc.chain = {}, expected 1 to csc.steps = {}", csc.chain, csc.steps)));
        }
        if csc.method == FineTuningKind::Cdm && csc.weight != CscSection::default().weight {
            let what = format!("csc.weight = {} is of method csc; the lambda of cdm is csc.cdm_weight", csc.weight);
            return Err(Error::Config(what));
        }
        if csc.method == FineTuningKind::Csc && run.train.smallest_part() < 2 {
            return Err(Error::Config(format!(
                "csc compares images of a batch: train.batch = {} in train.slots = {}, in parts of train.micro_batch = {}, \
                 leaves a part of one",
                run.train.batch, run.train.slots, run.train.micro_batch
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
            width: csc.width,
            negatives: csc.negatives,
            coupling: csc.coupling,
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
