//! A run before it starts.

use std::path::Path;

use super::checkpoint::{self, Checkpoint};
use super::config::RunConfig;
use super::run::{Observer, Outcome, Run, RunOptions};
use super::run_dir::RunDir;
use super::task::{Objective, Source};
use super::trainer::TrainOptions;
use crate::data::DataSet;
use crate::diffusion::{AugmentPipe, Model};
use crate::error::Result;
use crate::nn::Weights;
use crate::tensor::Device;

/// What settings and data make before anything is written: to find out early what is wrong with them.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub(super) config: RunConfig,
    pub(super) data: &'a DataSet,
    pub(super) fingerprint: String,
    pub(super) document: String,
    /// Settings besides the usual ones that may differ from a checkpoint's.
    pub(super) free: &'static [&'static str],
    pub(super) model: Model,
    pub(super) objective: Box<dyn Objective + 'a>,
    pub(super) source: Option<Box<dyn Source + 'a>>,
    pub(super) start: Option<Checkpoint>,
    pub(super) pipe: Option<AugmentPipe>,
    pub(super) options: TrainOptions,
}

impl<'a> Prepared<'a> {
    /// Builds the model and checks everything that can be checked.
    pub fn new(config: &RunConfig, data: &'a DataSet) -> Result<Self> {
        config.check()?;
        let config = config.completed(&data.train)?;
        let device = Device::named(&config.train.device)?;
        let mut model = Model::new(&config.model_config(&data.train)?, config.train.seed, &device)?;
        if !config.train.init.is_empty() {
            let path = Path::new(&config.train.init);
            let from = Model::load(path, &device)?;
            checkpoint::same_architecture(path, &from, &model)?;
            from.check_classes(&data.class_names)?;
            model = from;
        }
        // Data without labels to learn have no use for names.
        if data.class_names.len() == model.denoiser().label_dim() {
            model = model.with_class_names(&data.class_names)?;
        }
        let options = config.train_options()?;
        let (objective, pipe) = (Box::new(config.loss.loss()?), config.pipe()?);
        let (fingerprint, document) = (data.train.fingerprint(), config.document()?);
        Ok(Prepared {
            config,
            data,
            fingerprint,
            document,
            free: &[],
            model,
            objective,
            source: None,
            start: None,
            pipe,
            options,
        })
    }

    /// Minimises something else than the loss of the settings.
    #[must_use]
    pub fn with_objective(self, objective: impl Objective + 'a) -> Self {
        Prepared { objective: Box::new(objective), ..self }
    }

    /// Trains on samples that change meanwhile. The data that the run was prepared with give their number, and names and pictures to
    /// compare with.
    #[must_use]
    pub fn with_source(self, source: impl Source + 'a) -> Self {
        Prepared { source: Some(Box::new(source)), ..self }
    }

    /// Writes these settings into the run's directory and its checkpoints instead of the training's alone: a method's, with sections of
    /// its own. A checkpoint of other settings is refused, but for those that start as one of `free` does.
    #[must_use]
    pub fn with_document(self, document: String, free: &'static [&'static str]) -> Self {
        Prepared { document, free, ..self }
    }

    /// Starts from these weights, the average too: fine-tuning with a fresh optimiser. Errors if their number differs.
    pub fn from_weights(mut self, weights: &Weights) -> Result<Self> {
        let flat = weights.flat().to_device(&self.model.weights.device())?;
        self.model = self.model.with_flat_weights(flat)?;
        Ok(self)
    }

    /// Goes on from the end of another run, with its optimiser, averages and count of steps: fine-tuning with a kept optimiser.
    #[must_use]
    pub fn from_checkpoint(self, checkpoint: Checkpoint) -> Self {
        Prepared { start: Some(checkpoint), ..self }
    }

    /// The settings, complete.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The model, with its first weights.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The run itself; see [`run`](super::run()).
    pub fn run(self, place: &RunDir, options: RunOptions, observer: &mut dyn Observer) -> Result<Outcome> {
        let mut run = Run::start(self, place, options, observer)?;
        let end = run.train(observer)?;
        run.finish(end, observer)
    }
}
